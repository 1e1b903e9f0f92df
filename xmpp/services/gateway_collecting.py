"""What the SMS gateway has to pass on to XMPP clients.

A received text becomes rows to send in a look at the conversation's positions: from where the last look ended, in the
order of acceptance. Positions are given under the conversation's lock, so nothing is committed behind the look. The
look is made at a wake-up, and for everybody every half a minute: a lost wake-up costs latency, never a text.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, OuterRef, Subquery, Value, Window
from django.db.models.functions import Coalesce, RowNumber

from cpaas.models import Conversation, Message
from cpaas.models.attachments import AttachmentState
from cpaas.states import MessageStatus
from portal import clock
from portal.ids import new_id
from portal.sql import execute_planned, table_of
from xmpp.models import GatewayMember, GatewayThread
from xmpp.services.gateway_outbox import Text, Turn, files_of

# A file is fetched from the carrier after its text came; what takes longer is passed on without.
_FILES_WAIT = timedelta(minutes=2)
# Conversations looked through in one transaction, and messages of each.
_TOGETHER = 100
_EACH = 50
_TO_XMPP = {
    "id": "uuid",
    "created_at": "timestamptz",
    "account_id": "uuid",
    "conversation_id": "uuid",
    "message_id": "uuid",
    "part": "smallint",
}
_INSERT = f"""
    WITH {{rows}}
    INSERT INTO xmpp_texttoxmpp ({", ".join(_TO_XMPP)}, state, epoch, tries, error)
    SELECT {", ".join(_TO_XMPP)}, 'queued', 0, 0, '' FROM rows WHERE true
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - made of constants
_INSERT_THREADS = """
    WITH {rows}
    INSERT INTO xmpp_gatewaythread (conversation_id, member_id, position, hinted)
    SELECT conversation_id, member_id, 0, false FROM rows WHERE true
    ON CONFLICT DO NOTHING
"""
_MOVE = """
    WITH {rows}
    UPDATE xmpp_gatewaythread AS t SET position = rows.position FROM rows
    WHERE t.conversation_id = rows.conversation_id
"""
# What a user wrote is not passed on to the user: with nothing before it that is, the look need not be made for it. A
# thread that a look has at this moment is left to it.
_MOVE_OVER = """
    WITH {rows}
    UPDATE xmpp_gatewaythread AS t SET position = rows.newest FROM rows
    WHERE t.conversation_id = rows.conversation_id AND t.position >= rows.oldest - 1 AND t.position < rows.newest {free}
"""
_FREE = """
    AND t.conversation_id IN (
        SELECT f.conversation_id FROM xmpp_gatewaythread f
        WHERE f.conversation_id IN (SELECT conversation_id FROM rows) FOR NO KEY UPDATE SKIP LOCKED
    )
"""
_BEGIN = """
    WITH {rows}
    INSERT INTO xmpp_gatewaythread (conversation_id, member_id, position, hinted)
    SELECT conversation_id, member_id, newest, false FROM rows
    WHERE EXISTS (SELECT 1 FROM xmpp_gatewaymember m WHERE m.account_id = rows.member_id)
    ON CONFLICT DO NOTHING
"""
_WRITTEN = {"conversation_id": "uuid", "member_id": "uuid", "oldest": "integer", "newest": "integer"}


@dataclass(frozen=True)
class Page:
    """How many rows a look has made, and what to give as `after` for the next one."""

    made: int
    after: uuid.UUID | None


def collect(turn: Turn, user_ids: Collection[uuid.UUID], after: uuid.UUID | None = None) -> Page | None:
    """Make rows of what these members received since the last look, a page of conversations at a time; None when there
    was nothing after `after`."""
    passed_on = GatewayThread.objects.filter(pk=OuterRef("pk")).values("position")
    conversations = Conversation.objects.filter(user__among=list(user_ids), number__user_id=F("user_id"))
    news = conversations.alias(passed_on=Coalesce(Subquery(passed_on), Value(0))).filter(
        last_position__gt=F("passed_on")
    )
    page = news.filter(pk__gt=after) if after else news
    # Read before the messages: all up to that position are committed. Not every position has one.
    rows = list(page.order_by("pk").values_list("pk", "user_id", "last_position")[:_TOGETHER])
    if not rows:
        return None
    made, has_more = _collect(turn, {key: (user, last) for key, user, last in rows})
    return Page(made, after if has_more else rows[-1][0])


def pass_over(written: Mapping[tuple[uuid.UUID, uuid.UUID], Sequence[int]]) -> None:
    """Members wrote these texts: positions by conversation and member, which follow one another since the caller's
    transaction has locked the conversations."""
    rows = [(*key, min(positions), max(positions)) for key, positions in sorted(written.items())]
    new = [row for row in rows if row[2] == 1]
    _execute(_BEGIN, _WRITTEN, new)
    free = _FREE if connection.vendor == "postgresql" else ""
    _execute(_MOVE_OVER.replace("{free}", free), _WRITTEN, [row for row in rows if row[2] > 1])


def _collect(turn: Turn, found: Mapping[uuid.UUID, tuple[uuid.UUID, int]]) -> tuple[int, bool]:
    """`found`: user and last position by conversation. Returns how many rows, and whether one has more than fits."""
    rows: list[tuple[Any, ...]] = []
    moved: list[tuple[uuid.UUID, int]] = []
    has_more = False
    with transaction.atomic():
        threads = _locked_threads(turn, found)
        messages = _messages_after(threads)
        for thread in threads:
            mine = messages.get(thread.pk, [])
            position, is_through = _pass_on(thread, mine, rows)
            if is_through and len(mine) < _EACH:
                position = max(position, found[thread.pk][1])
            if position > thread.position:
                has_more = has_more or len(mine) == _EACH
                moved.append((thread.pk, position))
        _execute(_INSERT, _TO_XMPP, rows)
        _execute(_MOVE, {"conversation_id": "uuid", "position": "integer"}, moved)
    return len(rows), has_more


def _execute(statement: str, columns: Mapping[str, str], rows: Sequence[tuple[Any, ...]]) -> None:
    """A statement about all these rows; they go as one value, since a placeholder for each takes ten times as long."""
    if rows:
        table, values = table_of("rows", columns, rows)
        execute_planned(statement.format(rows=table), values)


def _locked_threads(turn: Turn, found: Mapping[uuid.UUID, tuple[uuid.UUID, int]]) -> list[GatewayThread]:
    """Of those conversations whose users are members while the turn is ours; made where they are new."""
    users = {user for user, _ in found.values()}
    members = set(GatewayMember.objects.filter(turn.holds(), pk__among=list(users)).values_list("pk", flat=True))
    theirs = [(key, user) for key, (user, _) in sorted(found.items()) if user in members]
    _execute(_INSERT_THREADS, {"conversation_id": "uuid", "member_id": "uuid"}, theirs)
    rows = GatewayThread.objects.filter(pk__among=[key for key, _ in theirs], member__among=list(members))
    return list(rows.select_for_update().order_by("pk")) if theirs else []


def _messages_after(threads: Sequence[GatewayThread]) -> dict[uuid.UUID, list[Text]]:
    """The next few messages of each of these, in order."""
    position = GatewayThread.objects.filter(pk=OuterRef("conversation_id")).values("position")
    messages = Message.objects.filter(conversation_id__among=[thread.pk for thread in threads])
    place = Window(RowNumber(), partition_by=[F("conversation_id")], order_by=F("position").asc())
    after = messages.alias(passed_on=Subquery(position)).filter(position__gt=F("passed_on"))
    next_few = after.annotate(place=place).filter(place__lte=_EACH).order_by("conversation_id", "position")
    found: dict[uuid.UUID, list[Text]] = {}
    for conversation_id, *rest in next_few.values_list("conversation_id", *Text._fields):
        found.setdefault(conversation_id, []).append(Text(*rest))
    return found


def _pass_on(thread: GatewayThread, messages: Sequence[Text], rows: list[tuple[Any, ...]]) -> tuple[int, bool]:
    """Add the rows of a conversation; returns the position that the look reached, and whether it saw all of them.

    It stops before a held text, which may be delivered later and then comes first (R8), and before one whose files are
    still being fetched.
    """
    passed = thread.position
    for message in messages:
        parts = _parts(message) if message.status == MessageStatus.RECEIVED else []
        if message.status == MessageStatus.HELD or parts is None:
            return passed, False
        passed = message.position
        rows += [(new_id(), clock.now(), thread.member_id, thread.pk, message.pk, part) for part in parts]
    return passed, True


def _parts(message: Text) -> list[int] | None:
    """The stanzas of a message: 0 for its text, 1 and on for its files; None while a file is being fetched."""
    files = list(files_of(message.pk)) if message.file_count else []
    is_young = clock.now() - message.created_at < _FILES_WAIT
    if is_young and any(file.state == AttachmentState.WAITING for file in files):
        return None
    stored = [file.position + 1 for file in files if file.state == AttachmentState.STORED]
    has_text = bool(message.text.strip()) or len(stored) < max(len(files), 1)
    return [0] * has_text + stored
