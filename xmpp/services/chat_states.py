"""Who is writing at the moment (XEP-0085): what the sessions of accounts hear of peers, and what clients of ours say.

Nothing depends on it: a word that is lost is followed by a message, or by nothing. A message ends the writing without
a word of its own, so where messages are stored nothing is done for it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from portal import clock
from portal.events import wake, wake_live
from portal.models import EndUser
from portal.problems import not_found
from portal.scoping import parse_id
from portal.sql import as_uuid, execute_for, execute_planned, table_of
from xmpp.models import ImChatState, ImParticipant
from xmpp.services.conversations import Party, pair_key
from xmpp.services.jids import users_of_jids
from xmpp.services.ownership import HELD_SQL, held_values
from xmpp.services.routing import Route, route_by_name, route_to_jid
from xmpp.stanzas import ChatState
from xmpp.states import ChatStateName

# The topic the bridge listens to for what it has to say; messages wake it far more often.
CHAT_STATES_TOPIC = "xmpp-chat-states"
# Clients say `paused` sooner (XEP-0085 §5.1); one that is gone says nothing.
COMPOSING_FOR = timedelta(seconds=30)
# The same again within so long is not written.
REPEATED_AFTER = timedelta(seconds=10)
# What no bridge has said by then is not said any more.
DUE_FOR = timedelta(seconds=10)
# Machines hear the database's time now and then (portal.clock).
_AHEAD = timedelta(seconds=5)

# The other of the two who have the conversation, and what is known of them. Changes of the row itself are all there is:
# what says nothing new is not written, nor what our own session said for a user, which has the conversation's id.
_NOTE_HEARD = f"""
    WITH {{rows}}
    INSERT INTO xmpp_imchatstate (participant_id, composing_at, state, to_jid, is_due)
    SELECT w.id, CASE WHEN rows.is_composing THEN %(now)s END, 'active', '', false
    FROM rows
    JOIN xmpp_impaccount a ON a.user_id = rows.account_id
    JOIN xmpp_imconversation c ON c.key = rows.key AND (rows.stanza_id IS NULL OR rows.stanza_id <> c.id)
    JOIN xmpp_imparticipant v ON v.conversation_id = c.id AND v.user_id = rows.account_id
    JOIN xmpp_imparticipant w ON w.conversation_id = c.id AND w.id <> v.id
    LEFT JOIN xmpp_imchatstate s ON s.participant_id = w.id
    WHERE {HELD_SQL} AND v.last_message_at IS NOT NULL AND CASE WHEN rows.is_composing
        THEN s.composing_at IS NULL OR s.composing_at < %(repeated)s OR s.composing_at <= v.last_received_at
        ELSE s.composing_at IS NOT NULL END
    ON CONFLICT (participant_id) DO UPDATE SET composing_at = excluded.composing_at
    RETURNING (
        SELECT v.user_id FROM xmpp_imparticipant w
        JOIN xmpp_imparticipant v ON v.conversation_id = w.conversation_id AND v.id <> w.id
        WHERE w.id = participant_id
    )
"""  # noqa: S608 - made of constants
# Both ends of the range are named, for a plan that knows no values: few rows lie in it.
_WRITERS = """
    SELECT v.user_id, w.conversation_id, w.user_id, w.jid
    FROM xmpp_imchatstate s
    JOIN xmpp_imparticipant w ON w.id = s.participant_id
    JOIN xmpp_imparticipant v ON v.conversation_id = w.conversation_id AND v.id <> w.id
    WHERE s.composing_at > %(since)s AND s.composing_at < %(until)s AND v.user_id {among}
        AND v.last_message_at IS NOT NULL AND (v.last_received_at IS NULL OR v.last_received_at < s.composing_at)
"""
# After a message of theirs, or to them, it would come too late.
_CLAIM_DUE = f"""
    UPDATE xmpp_imchatstate SET is_due = false WHERE participant_id IN (
        SELECT s.participant_id FROM xmpp_imchatstate s
        JOIN xmpp_imparticipant p ON p.id = s.participant_id
        JOIN xmpp_impaccount a ON a.user_id = p.user_id
        WHERE s.is_due AND s.said_at > %(since)s AND s.said_at < %(until)s AND p.last_message_at < s.said_at
            AND {HELD_SQL}
    )
    RETURNING (SELECT p.user_id FROM xmpp_imparticipant p WHERE p.id = participant_id),
        (SELECT p.conversation_id FROM xmpp_imparticipant p WHERE p.id = participant_id), to_jid, state
"""  # noqa: S608 - made of constants


@dataclass(frozen=True)
class Writer:
    """Somebody who writes to `viewer_id` now: a user of ours, or somebody else by JID."""

    viewer_id: uuid.UUID
    conversation_id: uuid.UUID
    user_id: uuid.UUID | None
    jid: str


@dataclass(frozen=True)
class DueState:
    """A word for the session of an account to say to `to_jid`; `state` as XEP-0085 names it."""

    account_id: uuid.UUID
    conversation_id: uuid.UUID
    to_jid: str
    state: str


def note_heard(heard: Sequence[tuple[uuid.UUID, ChatState]], *, holder: str) -> None:
    """What the sessions of these accounts heard, one word of each peer, as far as `holder` acts for them. Writing alone
    begins no conversation.

    To be called when what was said before is stored: a message ends the writing.
    """
    users = users_of_jids({each.peer for _, each in heard}, {account_id for account_id, _ in heard})
    rows = []
    for account_id, each in heard:
        party: Party = users.get((account_id, each.peer), each.peer)
        rows.append((account_id, pair_key(account_id, party), each.is_composing, parse_id(each.stanza_id)))
    columns = {"account_id": "uuid", "key": "text", "is_composing": "boolean", "stanza_id": "uuid"}
    table, values = table_of("rows", columns, rows)
    held = held_values(holder)
    repeated = {"repeated": held["now"] - REPEATED_AFTER}
    changed = execute_planned(_NOTE_HEARD.format(rows=table), {**values, **held, **repeated})
    wake_live(as_uuid(key) for (key,) in changed)


def writers_to(viewer_ids: Collection[uuid.UUID]) -> list[Writer]:
    """Who writes to any of these users now, and has not sent it yet. Mostly nobody does: then it is a probe of an
    index, however many look."""
    if not viewer_ids:
        return []
    now = clock.now()
    rows = execute_for(_WRITERS, list(viewer_ids), {"since": now - COMPOSING_FOR, "until": now + _AHEAD})
    return [
        Writer(as_uuid(viewer), as_uuid(key), as_uuid(user) if user else None, jid) for viewer, key, user, jid in rows
    ]


def say_state(*, user: EndUser, row: ImParticipant, state: str) -> None:
    """Tell the other of the two that `user`, whose row of the conversation this is, is writing or not.

    Raises Problem `not_found` (404), `not_reachable` (409), as a message to them would.
    """
    now = clock.now()
    if row.conversation.is_group or _is_said(row, state, now):
        return
    other = ImParticipant.objects.filter(conversation=row.conversation_id).exclude(pk=row.pk).first()
    if other is None:
        return
    route = route_by_name(user, str(other.user_id)) if other.user_id else route_to_jid(user, other.jid)
    said = ImChatState(
        participant=row,
        composing_at=now if route.own and state == ChatStateName.COMPOSING else None,
        state=state,
        said_at=now,
        to_jid=route.jid,
        is_due=bool(route.jid),
    )
    try:
        with transaction.atomic():
            ImChatState.objects.bulk_create(
                [said],
                update_conflicts=True,
                unique_fields=["participant"],
                update_fields=["composing_at", "state", "said_at", "to_jid", "is_due"],
            )
            transaction.on_commit(lambda: _wake(route), robust=True)
    except IntegrityError:
        # The purge took the conversation away meanwhile.
        raise not_found("IM conversation") from None


def _is_said(row: ImParticipant, state: str, now: datetime) -> bool:
    """Whether the other knows: nothing was begun that could end, or it was said lately and no message came after it."""
    last = ImChatState.objects.filter(pk=row.pk).first()
    if last is None or last.said_at is None or last.state != ChatStateName.COMPOSING:
        return state != ChatStateName.COMPOSING
    if state != ChatStateName.COMPOSING:
        return False
    is_over = row.last_message_at is not None and row.last_message_at >= last.said_at
    return last.said_at > now - REPEATED_AFTER and not is_over


def _wake(route: Route) -> None:
    if route.own and isinstance(route.peer, uuid.UUID):
        wake_live([route.peer])
    if route.jid:
        wake(CHAT_STATES_TOPIC)


def claim_due(*, holder: str) -> list[DueState]:
    """What is to be said for the accounts that `holder` acts for, each once: not again, whatever becomes of it."""
    now = clock.now()
    values = {"since": now - DUE_FOR, "until": now + _AHEAD, **held_values(holder)}
    rows = execute_planned(_CLAIM_DUE, values)
    return [DueState(as_uuid(account), as_uuid(key), to_jid, state) for account, key, to_jid, state in rows]
