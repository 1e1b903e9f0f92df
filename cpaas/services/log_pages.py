"""The ids of one page of the message log: ordered index ranges, each read no further than the page needs, merged.

PostgreSQL would rather read all rows of several ranges and sort them; LATERAL makes it stop in each. SQLite, which
keeps little, filters plainly.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Q

from cpaas.models import Message, WebhookEvent
from portal.ids import first_id_at
from portal.sql import execute


@dataclass(frozen=True)
class Branch:
    """The messages whose `column` is one of `keys` and whose status one of `statuses`; of everybody when it is "".

    `by_text`: what the text holds finds them.
    """

    column: str
    keys: Sequence[uuid.UUID]
    statuses: tuple[str, ...]
    by_text: bool = False


@dataclass(frozen=True)
class Unassigned:
    """The calls with a text to no number of ours: of the platforms of all these providers (none: of everybody), with
    such a `sender` and `recipient`, LIKE patterns, "" for any."""

    parties: Mapping[str, str]
    providers: Set[uuid.UUID]


@dataclass(frozen=True)
class Window:
    """Which part of the log: the span of time, what the text holds, and the place of the page in it."""

    after: datetime | None
    before: datetime | None
    text: str
    beyond: uuid.UUID | None
    backward: bool
    count: int


# Of a level or number one range for each status, in the order of its index; of a conversation one whatever the status.
_BY_STATUS = """
    SELECT found.id FROM unnest(%(keys{n})s::uuid[]) AS owner (key), unnest(%(words{n})s::text[]) AS state (word),
    LATERAL (
        SELECT m.id FROM cpaas_message m WHERE m.{column} = owner.key AND m.status = state.word{where}
        ORDER BY m.id {way} LIMIT %(count)s
    ) AS found
"""
_BY_CONVERSATION = """
    SELECT found.id FROM unnest(%(keys{n})s::uuid[]) AS owner (key),
    LATERAL (
        SELECT m.id FROM cpaas_message m WHERE m.conversation_id = owner.key AND m.status = ANY(%(words{n})s){where}
        ORDER BY m.position {way} LIMIT %(count)s
    ) AS found
"""
_ALL = "(SELECT m.id FROM cpaas_message m WHERE true{where} ORDER BY m.id {way} LIMIT %(count)s)"
# A search in texts: found by their trigrams, or, where most texts have the words, in the order of time; PostgreSQL
# knows which is less. The states are those of the index (migration message_text): a text that is on its way changes its
# state too often to be in it, so `_BY_STATUS` looks through those.
_BY_TEXT = """(
    SELECT m.id FROM cpaas_message m
    WHERE m.status IN ('sent', 'undelivered', 'failed', 'delivered', 'received', 'held', 'blocked')
      AND m.status = ANY(%(words{n})s) AND m.system_provider_id = ANY(%(keys{n})s::uuid[]){where}
    ORDER BY m.id {way} LIMIT %(count)s
)"""
_SETTLED = frozenset({"sent", "undelivered", "failed", "delivered", "received", "held", "blocked"})
# Of a provider the platforms' ranges merged, of nobody in particular one range.
_UNASSIGNED = """
    SELECT found.id FROM cpaas_cpaasplatform p, LATERAL (
        SELECT m.id FROM cpaas_webhookevent m
        WHERE m.platform_id = p.id AND m.state = 'unassigned'{where} ORDER BY m.id {way} LIMIT %(count)s
    ) AS found WHERE p.system_provider_id = ALL(%(providers)s::uuid[])
"""
_ALL_UNASSIGNED = """(
    SELECT m.id FROM cpaas_webhookevent m WHERE m.state = 'unassigned'{where} ORDER BY m.id {way} LIMIT %(count)s
)"""
_INDEXED = ("system_provider_id", "reseller_id", "group_id", "number_id")


def page_ids(branches: Sequence[Branch | Unassigned], window: Window) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
    """The ids of the first messages and of the first calls of all branches together, in the window's direction."""
    branches = [branch for branch in branches if isinstance(branch, Unassigned) or branch.keys or not branch.column]
    if not branches:
        return [], []
    if connection.vendor != "postgresql":
        return _plainly(branches, window)
    where, values = _conditions(window)
    parts = []
    if window.text:
        branches = [part for branch in branches for part in _searched(branch)]
    for n, branch in enumerate(branches):
        if isinstance(branch, Unassigned):
            part = _unassigned(branch, where, values)
        else:
            part = _messages(branch, n, where, values, window)
        is_call = isinstance(branch, Unassigned)
        parts.append(f"SELECT id, {is_call} AS is_call FROM ({part.replace('{way}', _way(window))}) part{n}")  # noqa: S608
    way = _way(window)
    statement = f"SELECT id, is_call FROM ({' UNION ALL '.join(parts)}) log ORDER BY id {way} LIMIT %(count)s"  # noqa: S608
    rows = execute(statement, values)
    return [key for key, is_call in rows if not is_call], [key for key, is_call in rows if is_call]


def _searched(branch: Branch | Unassigned) -> list[Branch | Unassigned]:
    """A branch that is searched for words, as those of its texts that the index has and those it has not.

    Below a system provider the span itself holds few texts, and they are looked through in its order.
    """
    if isinstance(branch, Unassigned) or branch.column != "system_provider_id":
        return [branch]
    settled = tuple(status for status in branch.statuses if status in _SETTLED)
    moving = tuple(status for status in branch.statuses if status not in _SETTLED and status != "suppressed")
    parts = [replace(branch, statuses=settled, by_text=True), replace(branch, statuses=moving)]
    return [part for part in parts if part.statuses]


def _messages(branch: Branch, n: int, where: str, values: dict[str, Any], window: Window) -> str:
    values |= {f"keys{n}": list(branch.keys), f"words{n}": list(branch.statuses)}
    if window.text:
        where += " AND m.status <> 'suppressed'"
    template = _ALL if not branch.column else _BY_STATUS if branch.column in _INDEXED else _BY_CONVERSATION
    if branch.by_text:
        template = _BY_TEXT
    return template.format(n=n, column=branch.column, where=where, way="{way}")


def _unassigned(branch: Unassigned, where: str, values: dict[str, Any]) -> str:
    for name, pattern in branch.parties.items():
        if pattern:
            where += f" AND m.{name} LIKE %({name})s"
            values[name] = pattern
    values["providers"] = list(branch.providers)
    return (_UNASSIGNED if branch.providers else _ALL_UNASSIGNED).format(where=where, way="{way}")


def _way(window: Window) -> str:
    return "ASC" if window.backward else "DESC"


def _conditions(window: Window) -> tuple[str, dict[str, Any]]:
    """What holds in every range, in SQL, and the values for it."""
    where, values = "", dict[str, Any](count=window.count)
    bounds = {
        "m.id >= %(first)s": ("first", first_id_at(window.after) if window.after else None),
        "m.id < %(end)s": ("end", first_id_at(window.before) if window.before else None),
        f"m.id {'>' if window.backward else '<'} %(beyond)s": ("beyond", window.beyond),
        "m.text ILIKE %(text)s": ("text", f"%{like(window.text)}%" if window.text else None),
    }
    for condition, (name, value) in bounds.items():
        if value is not None:
            where += f" AND {condition}"
            values[name] = value
    return where, values


def like(text: str) -> str:
    """A text as a LIKE pattern that means just itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _plainly(branches: Sequence[Branch | Unassigned], window: Window) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
    fits = Q(pk=None)
    calls: list[uuid.UUID] = []
    for branch in branches:
        if isinstance(branch, Unassigned):
            calls = _unassigned_plainly(branch, window)
        else:
            chosen = {f"{branch.column}__in": branch.keys} if branch.column else {}
            fits |= Q(status__in=branch.statuses, **chosen)
    rows = Message.objects.filter(fits)
    if window.text:
        rows = rows.exclude(status="suppressed")
    return _cut(rows, window), calls


def _unassigned_plainly(branch: Unassigned, window: Window) -> list[uuid.UUID]:
    rows = WebhookEvent.objects.filter(state="unassigned")
    for provider in branch.providers:
        rows = rows.filter(platform__system_provider_id=provider)
    for name, pattern in branch.parties.items():
        if pattern:
            rows = rows.filter(**{f"{name}__endswith": pattern.removeprefix("%")})
    return _cut(rows, window)


def _cut(rows: Any, window: Window) -> list[uuid.UUID]:
    chosen: dict[str, Any] = {
        "pk__gte": first_id_at(window.after) if window.after else None,
        "pk__lt": first_id_at(window.before) if window.before else None,
        "text__icontains": window.text or None,
    }
    rows = rows.filter(**{name: value for name, value in chosen.items() if value is not None})
    if window.beyond:
        rows = rows.filter(pk__gt=window.beyond) if window.backward else rows.filter(pk__lt=window.beyond)
    return list(rows.order_by("id" if window.backward else "-id").values_list("pk", flat=True)[: window.count])
