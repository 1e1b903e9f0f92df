"""Who knocks: a browser and a token of every level and role, and those who have no business here at all."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.db import connection, transaction
from django.forms import BaseForm
from django.test import Client

from cpaas.models import CpaasPlatform
from portal.models import AuditEntry, EndUser, Group, PortalAccount, Reseller, StaffToken, SystemProvider
from portal.outside import TransactionOpen
from portal.tests.tenants import LEVELS, ROLES
from tests.isolation.world import ACME, BRINK, CORVANE, DUNMORE, UUID, ZENITH, Party, Rows, World

# What is made anew for every answer and says nothing: form tokens, nonces.
_RANDOM = re.compile(rb'((?:csrfmiddlewaretoken" value|nonce|csrf-token" content)=")[^"]+|("X-CSRFToken": ")[^"]+')
DIRECTORY = "/api/v1/directory/"
# What a user may open of everybody in the organisation: presence, and the note on it (R42).
OF_COLLEAGUES = re.compile(rf"/api/v1/(?:presence/({UUID.pattern})|users/({UUID.pattern})/note)/")
# Where a user may name anybody in the organisation: instant messages and XMPP presence (R42).
TO_COLLEAGUES = frozenset({"POST /api/v1/im/messages/", "POST /api/v1/xmpp/subscriptions/"})
CARRIER_ASKED = 599
"""Stands for the status of a request that got as far as talking to the carrier, which no test in a transaction can."""


@dataclass(frozen=True)
class Answer:
    """What came back from `url`, after so many SQL `statements`. `plain` is the body with the ids that were sent, and
    what is random, blanked.
    """

    status: int
    body: bytes
    location: str
    sent: frozenset[bytes]
    forms: tuple[BaseForm, ...] = field(default=(), compare=False)
    url: str = field(default="", compare=False)
    statements: int = field(default=0, compare=False)

    @property
    def plain(self) -> tuple[int, bytes, str]:
        body, location = self.body, self.location.encode()
        for word in self.sent:
            body, location = body.replace(word, b"*"), location.replace(word, b"*")
        return self.status, _RANDOM.sub(rb"\1\2*", body), location.decode()


@dataclass
class Visitor:
    """One who knocks. `strangers` are the parties he may not see; `closed` are rows of the own party he may not open,
    though their names may stand on his pages. Who `is_thorough` also puts ids where a text is asked for, which is read
    the same whoever sends it.
    """

    name: str
    strangers: list[Party]
    client: Client
    headers: dict[str, str] = field(default_factory=dict)
    closed: list[Party] = field(default_factory=list)
    is_thorough: bool = False
    user: EndUser | None = None
    colleagues: frozenset[str] = frozenset()
    """Ids of strangers whom the directory shows as people of the own group, and whose presence anybody of it sees; all
    else of theirs stays closed."""
    tried: int = 0

    def ask(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        is_json: bool = True,
        sent: Collection[str] = (),
        keep: bool = True,
        **headers: str,
    ) -> Answer:
        """One request. `sent` are the values in it that an answer may repeat; without `keep` its writes are undone."""
        self.tried += 1
        how: dict[str, Any] = {"headers": {**self.headers, **headers}}
        if method != "GET" and is_json:
            how |= {"data": json.dumps(body or {}), "content_type": "application/json"}
        elif method != "GET":
            how |= {"data": body or {}}
        try:
            with transaction.atomic(), _counted() as statements:
                response = getattr(self.client, method.lower())(url, **how)
                if not keep:
                    transaction.set_rollback(True)
        except TransactionOpen:
            return Answer(CARRIER_ASKED, b"", "", frozenset(), url=url, statements=len(statements))
        words = frozenset(word.encode() for word in sent)
        forms = tuple(_forms_of(response.context))
        location = response.headers.get("Location", "")
        body = self._without_colleagues(url, response.getvalue())  # also of an answer that streams
        return Answer(response.status_code, body, location, words, forms, url, len(statements))

    def may_open(self, url: str) -> bool:
        """Whether the address is one that a stranger's being a colleague opens."""
        found = OF_COLLEAGUES.fullmatch(url)
        return found is not None and (found[1] or found[2]) in self.colleagues

    def may_name(self, what: str, key: object) -> bool:
        """Whether this request may name the row because it is a colleague."""
        return what in TO_COLLEAGUES and str(key) in self.colleagues

    def _without_colleagues(self, url: str, body: bytes) -> bytes:
        """A page of the directory without the entries that the organisation may see."""
        if not self.colleagues or urlsplit(url).path != DIRECTORY or not body.startswith(b'{"results"'):
            return body
        page = json.loads(body)
        page["results"] = [row for row in page["results"] if row["user"] not in self.colleagues]
        return json.dumps(page).encode()

    def seen(self, answer: Answer) -> list[str]:
        """What of the strangers the answer names, beside what was sent."""
        low, found = answer.body.lower(), []
        for party in self.strangers:
            found += [word.decode() for word in party.words if word in low and not _is_only_sent(word, low, answer)]
        ids = {match.decode() for match in _UUID.findall(low)}
        if ids:
            sent = {word.decode() for word in answer.sent}
            found += sorted(key for party in self.strangers for key in (ids & party.ids) - sent)
        return found


@contextmanager
def _counted() -> Iterator[list[str]]:
    """The SQL statements of what runs within."""
    found: list[str] = []

    def count(execute: Any, sql: str, *rest: Any) -> Any:
        found.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(count):
        yield found


_UUID = re.compile(UUID.pattern.encode())


def _is_only_sent(word: bytes, low: bytes, answer: Answer) -> bool:
    """Digits of a telephone number also turn up by chance in a row's id, and whoever sends a word may see it again."""
    rest = _UUID.sub(b"", low)
    for sent in answer.sent:
        rest = rest.replace(sent.lower(), b"")
    return word not in rest


def _forms_of(context: Any) -> list[BaseForm]:
    """The forms of a page."""
    layers = [layer for part in context or () for layer in getattr(part, "dicts", [part])]
    found = {id(value): value for layer in layers for value in layer.values() if isinstance(value, BaseForm)}
    return list(found.values())


def visitors(world: World) -> dict[str, Visitor]:
    """Everybody, by name."""
    acme, brink, corvane, dunmore, zenith = (world[mark] for mark in (ACME, BRINK, CORVANE, DUNMORE, ZENITH))
    strangers = {"system_provider": [zenith], "reseller": [zenith, brink], "group": [zenith, brink, dunmore]}
    found = [_staff("operator", world.operator, world.operator_token, [])]
    for level in LEVELS:
        for role in ROLES:
            token = acme.staff_tokens[level, role]
            visitor = _staff(f"{level} {role}", acme.accounts[level, role], token, strangers[level])
            visitor.closed = [_above_and_beside(acme, acme.accounts[level, role])]
            visitor.is_thorough = (level, role) == ("system_provider", "administrator")
            found.append(visitor)
    beside = [zenith, brink, dunmore, corvane]
    user = Visitor("end user", beside, Client(), _bearer(acme.device_token), is_thorough=True)
    user.user = acme.user
    user.colleagues = frozenset(str(row.pk) for row in corvane.rows[EndUser])
    found.append(user)
    everybody = [acme, brink, dunmore, corvane, zenith]
    found.append(Visitor("nobody", everybody, Client()))
    for kind, token in acme.expired.items():
        found.append(Visitor(f"expired {kind} token", everybody, Client(), _bearer(token)))
    return {visitor.name: visitor for visitor in found}


def _above_and_beside(party: Party, account: PortalAccount) -> Party:
    """What of the own provider is closed to `account`: the levels above its own, the resellers and groups beside it,
    and everybody else's API tokens."""
    above = LEVELS[: LEVELS.index(account.level)]
    kinds = {"system_provider": (SystemProvider, CpaasPlatform), "reseller": (Reseller,)}
    rows: Rows = {model: party.rows[model] for level in above for model in kinds[level]}
    if account.level == "reseller":
        rows[Reseller] = [row for row in party.rows[Reseller] if row != account.reseller]
        rows[Group] = [row for row in party.rows[Group] if row.reseller_id != account.reseller_id]
    if account.level == "group":
        rows[Group] = [row for row in party.rows[Group] if row != account.group]
    rows[PortalAccount] = [row for row in party.rows[PortalAccount] if row.level in above]
    rows[StaffToken] = [row for row in party.rows[StaffToken] if row.account_id != account.pk]
    rows[AuditEntry] = [
        row for row in party.rows[AuditEntry] if any(getattr(row, f"{level}_id") is None for level in _down_to(account))
    ]
    return Party(party.mark, rows)


def _down_to(account: PortalAccount) -> tuple[str, ...]:
    return LEVELS[: LEVELS.index(account.level) + 1]


def owners(world: World, party: Party) -> list[Visitor]:
    """Those to whom the rows of `party` are open."""
    account = party.accounts["system_provider", "administrator"]
    token = party.staff_tokens["system_provider", "administrator"]
    return [
        _staff(f"owner {party.mark}", account, token, []),
        Visitor(f"user of {party.mark}", [], Client(), _bearer(party.device_token)),
        _staff("operator", world.operator, world.operator_token, []),
    ]


def _staff(name: str, account: Any, token: str, strangers: list[Party]) -> Visitor:
    client = Client()
    client.force_login(account)
    return Visitor(name, strangers, client, _bearer(token))


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
