"""A portal with as many rows as wanted, made by PostgreSQL itself: 5 million texts and their kin in about a minute.

The shape is the same at every size: a tenth as many numbers and users as texts, five texts a conversation, half of the
conversations brief and half lasting all the time, five providers of which the first has 80 % of everything, and one
busy user with more than a page of conversations and, in the first of them, more than a page of texts. Each conversation
is also in a queue, and in that of the busy user there is more than a page. Columns that are not named here are copied
from a row of the factories.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, models
from django.utils import timezone

from cpaas.models import (
    Attachment,
    Attempt,
    BlockedParty,
    Conversation,
    CpaasNumber,
    CpaasPlatform,
    MediaStream,
    Message,
    NumberImport,
    NumberImportLine,
    OptInEvidence,
    QueueEntry,
    Stop,
    StopEvidence,
    WebhookEvent,
)
from cpaas.tests.factories import (
    AttemptFactory,
    BlockedPartyFactory,
    CpaasNumberFactory,
    CpaasPlatformFactory,
    MediaStreamFactory,
    MessageFactory,
    OptInEvidenceFactory,
    QueueEntryFactory,
    StopEvidenceFactory,
    StopFactory,
)
from portal.directory.models import Contact, Directory
from portal.directory.tests.factories import DirectoryFactory, make_contact
from portal.models import AuditEntry, EndUser, Group, PortalAccount, Reseller, SystemProvider
from portal.services import audit
from portal.tests.factories import EndUserFactory, GroupFactory, PortalAccountFactory
from xmpp.models import ImConversation, ImMessage, ImpAccount, ImParticipant, Subscription
from xmpp.tests.factories import ImpAccountFactory, SubscriptionFactory, lease_shards

PROVIDERS = 5
TEXTS_A_CONVERSATION = 5
BUSY_CONVERSATIONS = BUSY_TEXTS = 300
DAYS = 120
_KINDS = [SystemProvider, Reseller, Group, EndUser, PortalAccount, CpaasPlatform, CpaasNumber, MediaStream]
_KINDS += [Conversation, Message, Attempt, OptInEvidence, AuditEntry, WebhookEvent, QueueEntry, Directory, Contact]
_KINDS += [NumberImport, NumberImportLine, Attachment]
_KINDS += [BlockedParty, Stop, StopEvidence]
_KINDS += [ImConversation, ImParticipant, ImMessage, ImpAccount, Subscription]
# Ids sort by creation, as UUIDv7 do: milliseconds, the kind of row, its number.
_ID_FUNCTION = """
    CREATE OR REPLACE FUNCTION row_id(kind int, n bigint, ms bigint DEFAULT 0) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
        SELECT (lpad(to_hex(CASE ms WHEN 0 THEN 1700000000000 + n ELSE ms END), 12, '0') || '7' ||
                lpad(to_hex(kind), 3, '0') || '8000' || lpad(to_hex(n), 12, '0'))::uuid
    $$
"""
_NAMES = "(ARRAY['Anna','Ben','Chloe','Dan','Eva','Finn','Grace','Henry','Iris','Jack'])[n % 10 + 1]"


@dataclass(frozen=True)
class Size:
    """How many rows of each kind there are."""

    messages: int
    users_a_group: int = 50

    @property
    def conversations(self) -> int:
        return self.messages // TEXTS_A_CONVERSATION

    @property
    def users(self) -> int:
        return self.messages // 10

    @property
    def groups(self) -> int:
        return max(self.users // self.users_a_group, 20)

    @property
    def resellers(self) -> int:
        return max(self.groups // 20, 10)


def populate(messages: int, **shape: int) -> Size:
    """Fill the database at hand and gather its statistics."""
    size = Size(messages, **shape)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # the rows fit together by how they are made
        cursor.execute(_ID_FUNCTION)
    with _without_indexes() if messages > 100_000 else _plainly():
        _tenants(size)
        _numbers(size)
        _directories(size)
        _texts(size)
        _trails(size)
        _queues(size)
        _wishes(size)
        _instant_messages(size)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute("ANALYZE")
    return size


def row_id(model: type[models.Model], n: str, ms: str = "0") -> str:
    """The SQL of the id of a model's row number `n`."""
    return f"row_id({_KINDS.index(model)}, {n}, {ms})"


def multiply(row: models.Model, count: int, /, source: str = "", ms: str = "0", **columns: str) -> None:
    """`count` rows like `row` but for `columns` (SQL in which `n` is the row's number, from 0)."""
    fields = row._meta.concrete_fields
    columns = {"id": row_id(type(row), "n", ms)} | columns
    chosen = ", ".join(columns.get(field.column, f't."{field.column}"') for field in fields)
    names = ", ".join(f'"{field.column}"' for field in fields)
    table = row._meta.db_table
    source = source or f"generate_series(0, {count - 1}) n"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {chosen} FROM {table} t, {source} "
            f"WHERE t.{row._meta.pk.column} = '{row.pk}'"
        )


def _levels(size: Size, group: str) -> dict[str, str]:
    """The columns of the levels above a row of group number `group`."""
    reseller = f"({group}) % {size.resellers}"
    return {
        "group_id": row_id(Group, group),
        "reseller_id": row_id(Reseller, reseller),
        "system_provider_id": row_id(SystemProvider, _provider(size, reseller)),
    }


def _provider(size: Size, reseller: str) -> str:
    small = f"1 + ({reseller}) % {PROVIDERS - 1}"
    return f"(CASE WHEN ({reseller}) < {size.resellers * 8 // 10} THEN 0 ELSE {small} END)"


def _tenants(size: Size) -> None:
    group = GroupFactory()
    multiply(group.system_provider, PROVIDERS, name="'Provider ' || n")
    above = row_id(SystemProvider, _provider(size, "n"))
    multiply(group.reseller, size.resellers, name="'Reseller ' || n", system_provider_id=above)
    levels = _levels(size, "n")
    own = {name: sql for name, sql in levels.items() if name != "group_id"}
    multiply(group, size.groups, name=f"{_NAMES} || ' Works ' || n", **own)
    multiply(
        EndUserFactory(group=group),
        size.users,
        login="'user' || n || '@example.net'",
        name=f"{_NAMES} || ' ' || n",
        licence="CASE WHEN n % 1000 = 2 THEN 'none' WHEN n % 50 = 1 THEN 'agent' ELSE 'desktop' END",
        is_active="n % 1000 <> 3",
        **_levels(size, f"n % {size.groups}"),
    )
    account = PortalAccountFactory(scope=group)
    role = "CASE WHEN n % 100 = 1 THEN 'read_only' ELSE 'administrator' END"
    more = {"username": "'account' || n", "role": role, "send_alerts": "n % 50 = 2", "is_active": "n % 100 <> 3"}
    multiply(account, size.groups, **more, **levels)


def _numbers(size: Size) -> None:
    number = CpaasNumberFactory()
    CpaasPlatformFactory.create_batch(2)
    multiply(number.platform, PROVIDERS, name="'Platform ' || n", system_provider_id=row_id(SystemProvider, "n"))
    levels = _levels(size, f"n % {size.groups}")
    provider = _provider(size, f"(n % {size.groups}) % {size.resellers}")
    multiply(
        number,
        size.users,
        number="'+1201' || 2000000 + n",
        user_id=row_id(EndUser, "n"),
        platform_id=row_id(CpaasPlatform, provider),
        status="CASE n % 1000 WHEN 7 THEN 'failed' WHEN 8 THEN 'removing' WHEN 9 THEN 'provisioning' "
        "ELSE 'enabled' END",
        opt_in_state="CASE WHEN n % 500 = 3 THEN 'declined' WHEN n % 500 = 5 THEN 'postponed' "
        "WHEN n % 10 = 4 THEN 'pending' ELSE 'accepted' END",
        **levels,
    )
    stream = MediaStreamFactory()
    media_type = "CASE WHEN n % 20 = 1 THEN 'web_chat' ELSE 'sms' END"
    own = _levels(size, "n")
    job = NumberImport.objects.create(account_id=stream.pk, total=1)
    multiply(job, size.groups, **own)
    line = NumberImportLine.objects.create(job=job, line=0)
    status = "CASE WHEN n % 50 = 3 THEN 'refused' ELSE 'taken' END"
    multiply(line, size.groups, job_id=row_id(NumberImport, "n"), status=status)
    newest = row_id(NumberImport, str(size.groups - 1))
    source = f"generate_series({size.groups}, {2 * size.groups}) n"
    multiply(line, 0, source=source, job_id=newest, line=f"n - {size.groups} + 1", status=status)
    multiply(stream, size.groups, name=f"{_NAMES} || ' queue ' || n", media_type=media_type, **own)


def _directories(size: Size) -> None:
    """A phone list of each provider and group, and what the busy user knows: each with as many contacts as there are
    groups, of which one in ten has the same name."""
    directory = DirectoryFactory(kind="csv")
    levels = _levels(size, "n")
    multiply(directory, size.groups, name=f"{_NAMES} || ' list ' || n", **levels)
    of_provider = {
        "system_provider_id": row_id(SystemProvider, "n - 1000000"),
        "group_id": "NULL",
        "reseller_id": "NULL",
    }
    providers = f"generate_series(1000000, {1000000 + PROVIDERS - 1}) n"
    multiply(directory, 0, source=providers, name=f"{_NAMES} || ' list'", **of_provider)
    _contacts(make_contact(directory, "Mona", "+12025550101"), size.groups, 0, row_id(Directory, "1000000"))
    _contacts(make_contact(directory, "Mona", "+12025550101"), size.groups, 1, row_id(Directory, "0"))
    user = make_contact(EndUserFactory(), "Mona", "+12025550101")
    _contacts(user, size.groups, 2, row_id(EndUser, "0"))


def _contacts(contact: Contact, count: int, part: int, owner: str) -> None:
    """Contacts of `owner`, with the numbers and words of `contact` but their own names."""
    first = part * 10_000_000
    source = f"generate_series({first}, {first + count - 1}) n"
    owned = {"user_id" if contact.user_id else "directory_id": owner, "book": owner}
    multiply(contact, 0, source=source, name=f"{_NAMES} || ' ' || n / 10", **owned)
    key, mine = row_id(Contact, "n"), f"t.contact_id = '{contact.pk}'"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO portal_contactnumber (contact_id, book, number, type) SELECT "
            f"{key}, {owner}, '+1202' || 2000000 + n % 10000000, t.type "
            f"FROM portal_contactnumber t, {source} WHERE {mine}"
        )
        cursor.execute(
            f"INSERT INTO portal_contactword (contact_id, book, source, word) "
            f"SELECT {key}, {owner}, '{contact.source}', upper({_NAMES}) "
            f"FROM {source}"
        )


def _texts(size: Size) -> None:
    received = MessageFactory(direction="in")
    outbound = AttemptFactory(message__conversation=received.conversation).message
    start = timezone.now() - timedelta(days=DAYS)
    step = timedelta(days=DAYS) / size.messages
    at = f"timestamptz '{start.isoformat()}' + interval '{step.total_seconds():.9f} s' * "
    # Text n of all is number n % C of round n / C. The first half of each round are the brief conversations, whose
    # five texts follow each other; each of the others has one text in every round.
    c, half, texts = size.conversations, size.conversations // 2, TEXTS_A_CONVERSATION
    brief = f"(n / {c}) * {half} + n % {c}"
    of = f"(CASE WHEN n % {c} < {half} THEN ({brief}) / {texts} ELSE n % {c} END)"
    position = f"(CASE WHEN n % {c} < {half} THEN ({brief}) % {texts} ELSE n / {c} END + 1)"
    last = f"({texts} * n + {texts - 1})"
    ends = f"(CASE WHEN n < {half} THEN {last} / {half} * {c} + {last} % {half} ELSE {c * (texts - 1)} + n END)"
    users = f"n % {size.users}"
    conversation: dict[str, str] = {
        "number_id": row_id(CpaasNumber, users),
        "user_id": row_id(EndUser, users),
        "remote": "'+1732' || 2000000 + n",
        "last_message_at": f"{at} {ends}",
        "last_received_at": f"{at} {ends}",
        "last_position": str(TEXTS_A_CONVERSATION),
        "message_count": str(TEXTS_A_CONVERSATION),
        "new_count": "CASE WHEN n % 10 = 0 THEN 1 ELSE 0 END",
        "read_position": f"CASE WHEN n % 10 = 0 THEN {TEXTS_A_CONVERSATION - 1} ELSE {TEXTS_A_CONVERSATION} END",
    }
    multiply(received.conversation, size.conversations, **conversation)
    text: dict[str, str] = {
        "conversation_id": row_id(Conversation, of),
        "number_id": row_id(CpaasNumber, f"{of} % {size.users}"),
        "user_id": row_id(EndUser, f"{of} % {size.users}"),
        "remote": f"'+1732' || 2000000 + {of}",
        "position": position,
        "created_at": f"{at} n",
        "text": "repeat('Shall we meet at the harbour? ', n::int % 5 + 1)",
        "sid": "'text-' || n",
        **_levels(size, f"{of} % {size.users} % {size.groups}"),
    }
    ms = f"(extract(epoch FROM {at} n) * 1000)::bigint"
    for row, remainder in ((received, 1), (outbound, 0)):
        wanted = f"generate_series(0, {size.messages - 1}) n"
        source = f"(SELECT n FROM {wanted} WHERE {position} % 2 = {remainder}) s"
        multiply(row, 0, source=source, ms=ms, **text)
    _busy_user(received, size, conversation, text, ms)
    _attempts(outbound)


def _busy_user(received: Message, size: Size, conversation: dict[str, str], text: dict[str, str], ms: str) -> None:
    """More than a page of conversations, each with a text; more than a page of texts in the last of them."""
    number, user = row_id(CpaasNumber, "0"), row_id(EndUser, "0")
    start, first = size.conversations, size.messages
    own = {"number_id": number, "user_id": user, "last_position": "1", "message_count": "1"}
    counts = {
        "new_count": "CASE WHEN n % 4 = 0 THEN 1 ELSE 0 END",
        "read_position": "CASE WHEN n % 4 = 0 THEN 0 ELSE 1 END",
    }
    now = f"now() - interval '1 second' * ({start + BUSY_CONVERSATIONS} - n)"
    times = {"last_message_at": now, "last_received_at": now}
    rows = f"generate_series({start}, {start + BUSY_CONVERSATIONS - 1}) n"
    multiply(received.conversation, 0, source=rows, **(conversation | own | counts | times))
    places = {"conversation_id": row_id(Conversation, f"n - {first} + {start}"), "position": "1", "created_at": "now()"}
    texts = f"generate_series({first}, {first + BUSY_CONVERSATIONS - 1}) n"
    mine = {"number_id": number, "user_id": user, **_levels(size, "0")}
    multiply(received, 0, source=texts, ms=ms, **(text | mine | places))
    places |= {"conversation_id": row_id(Conversation, str(start)), "position": f"n - {first + BUSY_CONVERSATIONS} + 2"}
    texts = f"generate_series({first + BUSY_CONVERSATIONS}, {first + BUSY_CONVERSATIONS + BUSY_TEXTS - 1}) n"
    multiply(received, 0, source=texts, ms=ms, **(text | mine | places))
    busiest = Conversation.objects.filter(remote=f"+1732{2000000 + start}")
    busiest.update(last_position=1 + BUSY_TEXTS, message_count=1 + BUSY_TEXTS)


def _attempts(outbound: Message) -> None:
    """One for every outbound text."""
    attempt = outbound.attempts.get()
    source = (
        "(SELECT m.id AS message, m.conversation_id AS conversation, m.sid AS carrier_sid, m.position AS place, "
        "row_number() OVER () AS n, m.created_at AS at, num.platform_id AS platform FROM cpaas_message m "
        "JOIN cpaas_cpaasnumber num ON num.id = m.number_id WHERE m.direction = 'out' AND m.sid LIKE 'text-%') s"
    )
    multiply(
        attempt,
        0,
        source=source,
        id=row_id(Attempt, "s.n"),
        message_id="s.message",
        conversation_id="s.conversation",
        platform_id="s.platform",
        sid="s.carrier_sid",
        position="s.place",
        created_at="s.at",
    )


def _trails(size: Size) -> None:
    evidence = OptInEvidenceFactory()
    levels = _levels(size, f"n % {size.groups}")
    answer = "CASE WHEN n % 500 = 3 THEN 'no' WHEN n % 500 = 5 THEN 'cancel' ELSE 'yes' END"
    own = {"number_id": row_id(CpaasNumber, "n"), "tn": "'+1201' || 2000000 + n", "user_id": row_id(EndUser, "n")}
    multiply(evidence, size.users, answer=answer, **own, **levels)
    audit.record(None, "create", evidence, after={"name": "made"})
    entry = AuditEntry.objects.latest("id")
    multiply(
        entry,
        size.conversations,
        actor_kind="CASE WHEN n % 500 = 1 THEN 'system' WHEN n % 3 = 0 THEN 'user' ELSE 'staff' END",
        actor_id=row_id(PortalAccount, f"n % {size.groups}"),
        actor_name=f"'account' || n % {size.groups}",
        action="CASE WHEN n % 1000 = 3 THEN 'delete' WHEN n % 3 = 0 THEN 'create' ELSE 'update' END",
        object_id=row_id(CpaasNumber, f"n % {size.users}"),
        **levels,
    )


def _queues(size: Size) -> None:
    entry = QueueEntryFactory()
    busy = size.conversations + BUSY_CONVERSATIONS
    reserved = "n % 3 = 0"
    multiply(
        entry,
        busy,
        media_stream_id=row_id(MediaStream, f"CASE WHEN n < {size.conversations} THEN n % {size.groups} ELSE 0 END"),
        conversation_id=row_id(Conversation, "n"),
        state=f"CASE WHEN {reserved} THEN 'reserved' ELSE 'waiting' END",
        reserved_by_id=f"CASE WHEN {reserved} THEN {row_id(EndUser, '0')} END",
        waiting_since=f"now() - interval '1 second' * ({busy} - n)",
    )
    MediaStream.objects.earliest("id").agents.add(EndUser.objects.earliest("id"))


def _wishes(size: Size) -> None:
    """A stop of every number with its evidence, and more than a page of blocks and stops of the busy user's."""
    busy = f"CASE WHEN n < {size.users} THEN n ELSE 0 END"
    pair = {"tn": f"'+1201' || 2000000 + ({busy})", "remote": "'+1732' || 2000000 + n"}
    levels = _levels(size, f"({busy}) % {size.groups}")
    for row in (StopFactory(), StopEvidenceFactory()):
        multiply(row, size.users + BUSY_CONVERSATIONS, **pair, **levels)
    own = {"number_id": row_id(CpaasNumber, busy), "user_id": row_id(EndUser, busy), "remote": pair["remote"]}
    multiply(BlockedPartyFactory(), size.users + BUSY_CONVERSATIONS, **own)


def _instant_messages(size: Size) -> None:
    """A conversation and a subscription of each user, and more than a page of both, and of messages in the newest
    conversation, of the busy user's."""
    user = EndUser.objects.earliest("id")
    ImpAccountFactory(user=user)
    conversation = ImConversation.objects.create(key="first")
    participant = ImParticipant.objects.create(conversation=conversation, user=EndUserFactory())
    message = ImMessage.objects.create(conversation=conversation, sender_jid="peer@im.example", text="Shall we meet?")
    count = size.users + BUSY_CONVERSATIONS
    owner = row_id(EndUser, f"CASE WHEN n < {size.users} THEN n ELSE 0 END")
    multiply(conversation, count, key="'key-' || n")
    newest = f"now() - interval '1 second' * ({count} - n)"
    place = {"conversation_id": row_id(ImConversation, "n"), "user_id": owner, "last_message_at": newest}
    multiply(participant, count, **place)
    last = f"CASE WHEN n < {size.messages} THEN n % {count} ELSE {count - 1} END"
    multiply(message, size.messages + BUSY_TEXTS, conversation_id=row_id(ImConversation, last))
    multiply(
        ImpAccountFactory(user=EndUserFactory()),
        size.users - 1,
        f"generate_series(1, {size.users - 1}) n",
        user_id=row_id(EndUser, "n"),
        imp_id="'account' || n || '@im.example'",
        status="CASE WHEN n % 1000 = 7 THEN 'authentication_failed' WHEN n % 50 = 1 THEN 'offline' ELSE 'online' END",
        **{name: sql for name, sql in _levels(size, f"n % {size.groups}").items() if name != "group_id"},
    )
    lease_shards()
    multiply(SubscriptionFactory(), count, user_id=owner, jid="'peer' || n || '@im.example'")


@contextmanager
def _plainly() -> Iterator[None]:
    yield


@contextmanager
def _without_indexes() -> Iterator[None]:
    """The indexes of the tables that grow are taken away and built again at the end, which is much faster."""
    tables = [model._meta.db_table for model in _KINDS]
    with connection.cursor() as cursor:
        constraints = _rows(
            cursor,
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype IN ('u', 'f') AND conrelid::regclass::text = ANY(%s) ORDER BY contype DESC",
            tables,
        )
        for table, name, _ in reversed(constraints):
            cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        indexes = _rows(
            cursor,
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) AND indexname NOT LIKE '%%_pkey'",
            tables,
        )
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        yield
        cursor.execute("SET maintenance_work_mem = '512MB'")
        for _, definition in indexes:
            cursor.execute(definition)
        for table, name, definition in constraints:
            unchecked = f"{definition} NOT VALID" if definition.startswith("FOREIGN") else definition
            cursor.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {unchecked}')


def _rows(cursor: Any, statement: str, tables: list[str]) -> list[tuple[Any, ...]]:
    cursor.execute(statement, [tables])
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
