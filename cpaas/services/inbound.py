"""Inbound texts: stored in one transaction and answered at once (S4.1, S1.22, R8).

Written in SQL, since every text of every tenant comes through here: seven statements, no row read twice.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime

from cpaas.carriers.base import InboundText
from cpaas.segments import count_segments
from cpaas.services.threads import Place, take_place
from cpaas.states import OPT_IN_USABLE, MessageStatus, NumberStatus, OptInState
from portal.events import News
from portal.ids import new_id
from portal.sql import as_uuid, execute, share_lock

# The share lock on the number keeps deletion out until we commit, and is taken before any conversation (attempts.py).
_NUMBER = """
    SELECT n.id, n.user_id, n.status, n.opt_in_state, u.licence, u.is_active,
           EXISTS (SELECT 1 FROM cpaas_message m WHERE m.number_id = n.id AND m.sid = %s AND m.direction = 'in')
    FROM cpaas_cpaasnumber n LEFT JOIN portal_enduser u ON u.id = n.user_id
    WHERE n.number = %s AND n.platform_id = %s AND n.status <> 'removing'
"""
_MESSAGE = """
    INSERT INTO cpaas_message (
        id, created_at, conversation_id, number_id, user_id, position, direction, status, kind, remote, text, encoding,
        segments, characters, media_urls, sid, error_code, error_text
    ) VALUES (%s, %s, %s, %s, %s, %s, 'in', %s, %s, %s, %s, %s, %s, %s, %s, %s, '', '')
"""


@dataclass(frozen=True)
class _Endpoint:
    """The own number a text came to, as far as storing it needs to know."""

    id: uuid.UUID
    user_id: uuid.UUID | None
    status: str
    opt_in_state: str
    licensed: bool
    seen_before: bool


def receive_text(*, platform_id: uuid.UUID, text: InboundText, news: News, at: datetime) -> str:
    """Store a text for each own number it came to; returns `applied`, `duplicate` or `unassigned`.

    Runs in the caller's transaction. (number, sid) is unique, so a parallel replay raises IntegrityError; the caller
    starts its transaction again and then finds the text there.
    """
    outcomes = {_receive_for(platform_id, recipient, text, news, at) for recipient in dict.fromkeys(text.recipients)}
    for outcome in ("applied", "duplicate"):
        if outcome in outcomes:
            return outcome
    return "unassigned"


def _receive_for(platform_id: uuid.UUID, recipient: str, text: InboundText, news: News, at: datetime) -> str:
    endpoint = _find(platform_id, recipient, text.sid)
    if endpoint is None:
        return "unassigned"
    if endpoint.seen_before:
        return "duplicate"
    _store(endpoint, text, news, at)
    return "applied"


def _find(platform_id: uuid.UUID, number: str, sid: str) -> _Endpoint | None:
    lock = share_lock().replace("SHARE", "SHARE OF n") if share_lock() else ""
    rows = execute(_NUMBER + lock, [sid, number, platform_id])
    if not rows:
        return None
    number_id, user_id, status, opt_in_state, licence, is_active, seen = rows[0]
    licensed = user_id is None or (licence != "none" and bool(is_active))
    return _Endpoint(
        as_uuid(number_id), as_uuid(user_id) if user_id else None, status, opt_in_state, licensed, bool(seen)
    )


def _status_for(endpoint: _Endpoint) -> str:
    """Delivered, held until the number may be used, or suppressed after a *No* (R8)."""
    if endpoint.opt_in_state == OptInState.DECLINED:
        return MessageStatus.SUPPRESSED
    usable = endpoint.status == NumberStatus.ENABLED and endpoint.opt_in_state in OPT_IN_USABLE
    return MessageStatus.RECEIVED if usable and endpoint.licensed else MessageStatus.HELD


def _store(endpoint: _Endpoint, text: InboundText, news: News, at: datetime) -> None:
    status = _status_for(endpoint)
    place = take_place(
        number_id=endpoint.id,
        user_id=endpoint.user_id,
        remote=text.sender,
        at=at,
        inbound=True,
        visible=status == MessageStatus.RECEIVED,
    )
    message_id = _insert(endpoint, place, text, status, at)
    if status == MessageStatus.RECEIVED:
        news.add(endpoint.user_id, "message.created", message_id)
        news.add(endpoint.user_id, "conversation.updated", place.conversation_id)


def _insert(endpoint: _Endpoint, place: Place, text: InboundText, status: str, at: datetime) -> uuid.UUID:
    counted = count_segments(text.text)
    message_id = new_id()
    execute(
        _MESSAGE,
        [
            message_id,
            at,
            place.conversation_id,
            endpoint.id,
            endpoint.user_id,
            place.position,
            status,
            "mms" if text.media_urls else "sms",
            text.sender,
            text.text,
            counted.encoding,
            counted.segments,
            counted.characters,
            json.dumps(list(text.media_urls)),
            text.sid,
        ],
    )
    return message_id
