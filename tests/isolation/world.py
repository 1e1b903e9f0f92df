"""Who lives in the world of the walk: parties that are strangers to each other, each with a row of every kind.

Every text, login, secret and number of a party bears its mark, so that a byte which names it is found wherever it
turns up. ACME lets its staff and a user walk. BRINK is the other branch of the same system provider, DUNMORE another
group of the same reseller, CORVANE a colleague in the user's own group, ZENITH another tenant.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import models
from django.utils import timezone

from cpaas.models import (
    Conversation,
    CpaasPlatform,
    Message,
    NumberAssignment,
    NumberImport,
    NumberImportLine,
    ParkedReceipt,
    QueueOffer,
)
from cpaas.models.numbers import NumberPace
from cpaas.services.assignments import begin_assignment
from cpaas.states import INBOUND, MessageStatus
from cpaas.tests.factories import (
    AttachmentFactory,
    AttemptFactory,
    BlockedPartyFactory,
    ConversationFactory,
    CpaasNumberFactory,
    CpaasPlatformFactory,
    DeadLetterFactory,
    MediaStreamFactory,
    MessageFactory,
    OptInEvidenceFactory,
    QueueEntryFactory,
    StopEvidenceFactory,
    StopFactory,
    TicketFactory,
)
from portal.directory.models import DirectoryKind
from portal.directory.tests.factories import DirectoryFactory, make_contact
from portal.encryption import encrypt
from portal.events import publish
from portal.models import (
    AuditEntry,
    Device,
    EndUser,
    Group,
    IdempotencyKey,
    OutgoingMail,
    PortalAccount,
    Reseller,
    Service,
    StaffToken,
    SystemProvider,
)
from portal.services import audit
from portal.tests.factories import (
    EndUserFactory,
    GroupFactory,
    PortalAccountFactory,
    ResellerFactory,
    SystemProviderFactory,
    device_token,
    staff_token,
)
from portal.tests.tenants import ROLES
from tests.isolation.imp import add_accounts, add_connection
from tests.isolation.making import make_row, own_models
from xmpp.models import BroadworksConnection, SmsGateway

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
ACME, BRINK, CORVANE, DUNMORE, ZENITH = "Acmeon", "Brinkel", "Corvane", "Dunmore", "Zenithar"
AREAS = {ACME: "201", BRINK: "415", CORVANE: "617", DUNMORE: "503", ZENITH: "312"}
# Nothing listens there: a test that gets so far is told at once.
AWAY = {"services_url": "http://127.0.0.1:9/services", "broker_url": "http://127.0.0.1:9/broker"}
_SHARED: dict[str, set[type[models.Model]]] = {
    BRINK: {SystemProvider, CpaasPlatform, BroadworksConnection, SmsGateway},
    DUNMORE: {SystemProvider, CpaasPlatform, BroadworksConnection, SmsGateway, Reseller},
    CORVANE: {SystemProvider, CpaasPlatform, BroadworksConnection, SmsGateway, Reseller, Group},
}
Rows = dict[type[models.Model], list[Any]]


@dataclass
class Party:
    """The rows of one party by model, and the tokens of its people in plain."""

    mark: str
    rows: Rows = field(default_factory=dict)
    accounts: dict[tuple[str, str], PortalAccount] = field(default_factory=dict)
    staff_tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    device_token: str = ""
    expired: dict[str, str] = field(default_factory=dict)

    def add(self, row: Any) -> Any:
        self.rows.setdefault(type(row), []).append(row)
        return row

    def of(self, model: type[models.Model]) -> Any:
        """The party's first row of `model`, made when there is none yet."""
        if not self.rows.get(model):
            self.rows[model] = [make_row(model, self.mark, self.of)]
        return self.rows[model][0]

    def number(self, n: int, exchange: str = "944") -> str:
        """The n-th telephone number of the party's own block."""
        return f"+1{AREAS[self.mark]}{exchange}{n:04d}"

    @property
    def user(self) -> EndUser:
        return self.rows[EndUser][0]  # type: ignore[no-any-return]

    @property
    def ids(self) -> set[str]:
        """The id of every row that has one nobody can guess; numbers like 7 name nobody."""
        return {str(row.pk) for rows in self.rows.values() for row in rows if UUID.fullmatch(str(row.pk))}

    @property
    def words(self) -> list[bytes]:
        """What names the party in an answer, in lower case: its mark and its telephone numbers."""
        return [self.mark.lower().encode(), f"{AREAS[self.mark]}944".encode(), f"{AREAS[self.mark]}945".encode()]


@dataclass
class World:
    operator: PortalAccount
    operator_token: str
    parties: dict[str, Party]

    def __getitem__(self, mark: str) -> Party:
        return self.parties[mark]

    def __iter__(self) -> Iterator[Party]:
        return iter(self.parties.values())


def make_world() -> World:
    """The strangers' rows are the newest, so that a list which is cut off after ten shows theirs first."""
    operator = PortalAccountFactory(username="operator")
    world = World(operator, staff_token(operator), {mark: Party(mark) for mark in AREAS})
    acme, brink, corvane, dunmore, zenith = world
    _top(acme)
    _branch(acme)
    _below(acme, brink, _branch)
    _below(acme, dunmore, _group)
    _below(acme, corvane, _person)
    _top(zenith)
    _branch(zenith)
    for party in (brink, dunmore, corvane, zenith, acme):
        _complete(party, {row for other in world if other is not party for rows in other.rows.values() for row in rows})
    for party in world:
        for model in _SHARED.get(party.mark, ()):
            del party.rows[model]
    return world


def _below(owner: Party, party: Party, make: Callable[[Party], None]) -> None:
    """`party` hangs on rows that are not its own."""
    party.rows = {model: owner.rows[model] for model in _SHARED[party.mark]}
    make(party)


def _complete(party: Party, of_others: set[Any]) -> None:
    """Rows that came about by themselves, and a row of every model that hangs on the party's, also of those models that
    came after this was written."""
    for model in own_models():
        owners = [relation for relation in model._meta.concrete_fields if relation.related_model in _own_kinds(party)]
        for owner in owners:
            keys = [row.pk for row in party.rows[owner.related_model]]
            known = party.rows.setdefault(model, [])
            found = model._default_manager.filter(**{f"{owner.name}__in": keys})
            known += [row for row in found if row not in known and row not in of_others]
        if owners and not party.rows[model]:
            party.rows[model] = [make_row(model, party.mark, party.of)]
    trail = AuditEntry.objects.filter(object_id__in=party.ids)
    party.rows[AuditEntry] = list(trail)


def _own_kinds(party: Party) -> set[type[models.Model]]:
    """The models whose rows are the party's alone."""
    return set(party.rows) - _SHARED.get(party.mark, set())


def _top(party: Party) -> None:
    """What a system provider has beside its branches."""
    mark = party.mark
    provider = party.add(SystemProviderFactory(name=f"{mark} Telecom"))
    for state in ("connected", "failed"):
        party.add(
            CpaasPlatformFactory(
                system_provider=provider,
                name=f"{mark} {state} carrier",
                mms=True,
                options=AWAY,
                state=state,
                state_detail=f"{mark} says {state}",
                webhook_secret=f"{mark}-hook-secret-{state}",
                credentials={
                    name: f"{mark}-{name}-{state}"
                    for name in ("api_key", "api_secret", "outbound_api_key", "inbound_api_key")
                },
            )
        )
    platform = party.rows[CpaasPlatform][0]
    for n, state in enumerate(("unassigned", "unreadable")):
        party.add(
            DeadLetterFactory(
                platform=platform,
                nonce=f"{mark} {n}",
                body=mark.encode(),
                sid=f"{mark} {n}",
                state=state,
                sender=party.number(1, "945"),
                recipient=party.number(2, "945"),
                text=f"{mark} is lost",
            )
        )
    party.add(ParkedReceipt.objects.create(platform=platform, sid=f"{mark} parked", status="sent"))
    for kind in DirectoryKind.values:
        _directory(party, kind, group=None, system_provider=provider)
    party.add(Service.objects.create(name="merge", system_provider=provider, detail=f"{mark} merge"))
    add_connection(party)
    _staff(party, "system_provider", provider)


def _branch(party: Party) -> None:
    """A reseller with its staff and groups, and a second one."""
    mark, provider = party.mark, party.rows[SystemProvider][0]
    reseller = party.add(ResellerFactory(system_provider=provider, name=f"{mark} Partners"))
    second = party.add(ResellerFactory(system_provider=provider, name=f"{mark} Resale"))
    _staff(party, "reseller", reseller)
    _group(party)
    party.add(GroupFactory(reseller=second, name=f"{mark} Shop"))


def _group(party: Party) -> None:
    """A group with its staff, people, streams and traffic, and a second one of the same reseller."""
    mark, reseller = party.mark, party.rows[Reseller][0]
    group = party.add(GroupFactory(reseller=reseller, name=f"{mark} Works", enterprise=f"{mark} Holding"))
    party.add(GroupFactory(reseller=reseller, name=f"{mark} Office"))
    _staff(party, "group", group)
    _person(party)
    stream = party.add(MediaStreamFactory(group=group, name=f"{mark} desk"))
    party.add(MediaStreamFactory(group=group, name=f"{mark} counter", media_type="web_chat"))
    stream.agents.set(party.rows[EndUser])
    number = party.add(
        CpaasNumberFactory(
            number=party.number(9),
            media_stream=stream,
            platform=party.rows[CpaasPlatform][0],
            friendly_name=f"{mark} desk",
        )
    )
    _conversation(party, number, 9)
    _queue(party, number)
    for kind in DirectoryKind.values:
        _directory(party, kind, group=group)


def _queue(party: Party, number: Any) -> None:
    """One conversation of the media stream is reserved by the user, the other one is offered."""
    reserved, offered = Conversation.objects.filter(number=number).order_by("id")
    Conversation.objects.filter(pk=reserved.pk).update(user=party.user)
    Message.objects.filter(conversation=reserved).update(user=party.user)
    party.add(QueueEntryFactory(conversation=reserved, reserved_by=party.user))
    entry = party.add(QueueEntryFactory(conversation=offered, state="offered"))
    until = timezone.now() + timedelta(hours=1)
    party.add(QueueOffer.objects.create(entry=entry, agent=party.user, expires_at=until))


def _directory(party: Party, kind: str, **owner: Any) -> None:
    """A directory with a secret, and a contact when it is one that stores them."""
    mark = party.mark
    directory = party.add(
        DirectoryFactory(
            kind=kind,
            name=f"{mark} {kind}",
            settings={"host": f"{mark.lower()}.example"},
            secrets={"password": f"{mark}-{kind}-password"},
            state="failed",
            state_detail=f"{mark} says no",
            failed_until=timezone.now() + timedelta(days=1),  # nobody is to be asked on the walk
            **owner,
        )
    )
    if not directory.is_asked:
        party.add(make_contact(directory, f"{mark} {kind} contact", f"{party.number(310, '945')} mobile"))


def _staff(party: Party, level: str, scope: Any) -> None:
    for role in ROLES:
        account = party.add(
            PortalAccountFactory(
                scope=scope,
                role=role,
                username=f"{party.mark.lower()}-{level}-{role}",
                name=f"{party.mark} {level}",
                send_alerts=(level, role) == ("system_provider", "administrator"),
            )
        )
        party.accounts[level, role] = account
        party.staff_tokens[level, role] = staff_token(account)
        staff_token(account)
        for token in StaffToken.objects.filter(account=account):
            StaffToken.objects.filter(pk=token.pk).update(name=f"{party.mark} token")
            party.add(token)
        audit.record(account, "update", account, before={"name": f"{party.mark} before"}, after={"name": account.name})
        _remembered(party, account.pk, f"{party.mark} {level}")
    if "staff" not in party.expired and level != "system_provider":
        party.expired["staff"] = staff_token(party.accounts[level, "administrator"], days=-1)


def _person(party: Party) -> None:
    """Users with numbers in every state, texts in every state, devices, events and evidence."""
    mark, group, platform = party.mark, party.rows[Group][0], party.rows[CpaasPlatform][0]
    for n, name in enumerate(("user", "friend")):
        party.add(
            EndUserFactory(
                group=group,
                login=f"{name}@{mark.lower()}.example",
                name=f"{mark} {name}",
                email=f"{name}@{mark.lower()}.example",
                mobile=party.number(n + 1, "945"),
                settings={"im_priority": "both"},
            )
        )
    user = party.user
    user.monitored.set(party.rows[EndUser])
    party.device_token = device_token(user, name=f"{mark} laptop")
    device_token(user, name=f"{mark} telephone")
    party.rows[Device] = list(Device.objects.filter(user=user))
    party.expired["device"] = device_token(user, name=f"{mark} old", days=-1)
    party.add(AttachmentFactory(message=None, user=user, name=f"{mark} unsent.jpg"))
    states = [("enabled", "accepted"), ("enabled", "pending"), ("enabled", "declined"), ("failed", "accepted")]
    for n, (status, opt_in) in enumerate(states):
        number = party.add(
            CpaasNumberFactory(
                number=party.number(n),
                user=user,
                platform=platform,
                friendly_name=f"{mark} line {n}",
                note=f"{mark} note",
                status=status,
                status_detail=f"{mark} {status}",
                opt_in_state=opt_in,
            )
        )
        begin_assignment(number)
        party.add(NumberAssignment.objects.get(number_id=number.pk))
        party.add(OptInEvidenceFactory(number=number, prompt_text=f"{mark} asks", answer="no"))
        party.add(OptInEvidenceFactory(number=number, prompt_text=f"{mark} asks", answer="yes"))
        party.add(BlockedPartyFactory(number=number, remote=party.number(300 + n, "945")))
        for make in (StopFactory, StopEvidenceFactory):
            party.add(make(number=number, remote=party.number(400 + n, "945")))
        party.add(NumberPace.objects.create(number_id=number.pk, arrival_at=timezone.now()))
        audit.record(user, "opt_in", number, after={"answer": f"{mark} answer"})
        publish(user.pk, "number.updated", number.pk)
        _conversation(party, number, n)
        party.add(
            TicketFactory(number=number, subject=f"{mark} asks", text=f"{mark} misses it", raised_by=f"{mark} staff")
        )
    for source in ("personal", "outlook"):
        for n in range(2):
            party.add(
                make_contact(user, f"{mark} {source} {n}", f"{party.number(300 + n, '945')} mobile", source=source)
            )
    for n in range(2):
        _import(party, n)
    _remembered(party, user.pk, f"{mark} user")
    add_accounts(party)
    for n in range(2):
        to = f"{mark.lower()}{n}@{mark.lower()}.example"
        party.add(OutgoingMail.objects.create(to=to, subject=f"{mark} declined", text=f"{mark} says no"))


def _import(party: Party, n: int) -> None:
    """A check of a file that could be imported now, but for one line."""
    mark, group = party.mark, party.rows[Group][0]
    job = party.add(
        NumberImport.objects.create(
            account_id=uuid.uuid4(),
            account_name=f"{mark} account",
            file_name=f"{mark} numbers {n}.csv",
            dry_run=True,
            state="done",
            total=2,
            good=1,
            refused=1,
            system_provider_id=group.system_provider_id,
            reseller_id=group.reseller_id,
            group_id=group.pk,
        )
    )
    for line, status in enumerate(("good", "refused"), start=2):
        text = {"number": party.number(20 + n), "login": party.user.login, "friendly_name": f"{mark} import"}
        party.add(NumberImportLine.objects.create(job=job, line=line, status=status, detail=f"{mark} no", **text))


def _conversation(party: Party, number: Any, n: int) -> None:
    """With the first number a conversation that has a text in every state, with the others one text each way."""
    for remote in range(2):
        conversation = party.add(ConversationFactory(number=number, remote=party.number(100 + 2 * n + remote, "945")))
        states = MessageStatus.values if n == remote == 0 else ["delivered", "received"]
        for status in states:
            direction = "in" if status in INBOUND else "out"
            message = party.add(
                MessageFactory(
                    conversation=conversation,
                    status=status,
                    direction=direction,
                    text=f"{party.mark} whispers",
                    sid=f"{party.mark}-{number.pk}-{remote}-{status}",
                    error_text=f"{party.mark} {status}",
                    file_count=1,
                )
            )
            party.add(AttachmentFactory(message=message, name=f"{party.mark} photo.jpg"))
            if direction == "out":
                party.add(AttemptFactory(message=message))
            if message.user_id:
                publish(message.user_id, "message.created", message.pk)


def _remembered(party: Party, owner: Any, answer: str) -> None:
    """The stored answer of an idempotent request."""
    party.add(
        IdempotencyKey.objects.create(
            owner=owner,
            path="/api/v1/messages/",
            key=f"{party.mark}-key",
            body_digest="0" * 64,
            status=201,
            answer={"sealed": encrypt(f'{{"id": "{answer}"}}')},
            created_at=timezone.now() - timedelta(minutes=1),
        )
    )
