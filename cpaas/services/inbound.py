"""Inbound texts: stored in one transaction and answered at once (S4.1, S1.22, R8).

Written in SQL, since every text of every tenant comes through here. On PostgreSQL the plain case is one statement made
of the same pieces (inbound_statement.py); here is the general one, and SQLite's.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from cpaas.carriers.base import InboundText
from cpaas.keywords import keyword_of
from cpaas.models import Conversation, Message
from cpaas.segments import count_segments
from cpaas.services.attempts import lock_conversations
from cpaas.services.held import look_again
from cpaas.services.keyword_obeying import obey_keyword
from cpaas.services.media import MOST_FILES, expect_media
from cpaas.services.queueing import enqueue
from cpaas.services.threads import take_place
from cpaas.states import MessageStatus
from portal.events import News
from portal.ids import new_id_at
from portal.sql import as_uuid, execute, share_lock

# Nobody writes the same again so soon; the network repeats what it thinks was not taken.
SAME_TEXT = timedelta(seconds=4)
# Delivered, held until the number may be used, suppressed after a *No* (R8), or blocked by the user (R19). The platform
# is looked at only for a party that is blocked.
STATUS = """
    CASE WHEN n.opt_in_state = 'declined' THEN 'suppressed'
         WHEN EXISTS (SELECT 1 FROM cpaas_blockedparty b WHERE b.number_id = n.id AND b.remote = {sender}) AND (
              CASE n.can_block WHEN 'inherit'
                   THEN (SELECT p.user_can_block FROM cpaas_cpaasplatform p WHERE p.id = n.platform_id)
                   ELSE n.can_block = 'on' END
         ) THEN 'blocked'
         WHEN n.status = 'enabled' AND n.opt_in_state IN ('accepted', 'not_required')
              AND (n.user_id IS NULL OR (u.licence <> 'none' AND u.is_active)) THEN 'received'
         ELSE 'held' END
"""
# The lock on the number keeps deletion out until we commit, and is taken before any conversation (attempts.py).
ENDPOINT = f"""
    SELECT n.id, n.user_id, n.media_stream_id, {STATUS} AS status, COALESCE((
        SELECT true FROM cpaas_message m WHERE m.number_id = n.id AND m.sid = {{sid}} AND m.direction = 'in' LIMIT 1
    ), false) AS seen_before, n.system_provider_id, n.reseller_id, n.group_id
    FROM cpaas_cpaasnumber n LEFT JOIN portal_enduser u ON u.id = n.user_id
    WHERE n.number = {{recipient}} AND n.platform_id = {{platform_id}} AND n.status <> 'removing'
"""  # noqa: S608 - made of constants
_ENDPOINT = ENDPOINT.format(
    recipient="%(recipient)s", platform_id="%(platform_id)s", sid="%(sid)s", sender="%(sender)s"
)
MESSAGE_COLUMNS = """
    id, created_at, conversation_id, number_id, user_id, position, status, direction, kind, remote, text, encoding,
    segments, characters, media_urls, sid, error_code, error_text, system_provider_id, reseller_id, group_id
"""
_MESSAGE = f"""
    INSERT INTO cpaas_message ({MESSAGE_COLUMNS}, file_count) VALUES (
        %(id)s, %(at)s, %(conversation_id)s, %(number_id)s, %(user_id)s, %(position)s, %(status)s,
        'in', %(kind)s, %(remote)s, %(text)s, %(encoding)s, %(segments)s, %(characters)s, %(media_urls)s, %(sid)s,
        '', '', %(system_provider_id)s, %(reseller_id)s, %(group_id)s, %(file_count)s
    )
"""  # noqa: S608 - made of constants


@dataclass(frozen=True)
class _Endpoint:
    """The own number a text came to, and what becomes of a text that comes to it now."""

    id: uuid.UUID
    user_id: uuid.UUID | None
    media_stream_id: uuid.UUID | None
    status: str
    seen_before: bool
    levels: dict[str, uuid.UUID]


def receive_text(*, platform_id: uuid.UUID, text: InboundText, news: News, at: datetime) -> str:
    """Store a text for each own number it came to; returns `applied`, `duplicate` or `unassigned`.

    Runs in the caller's transaction. (number, sid) is unique, so a parallel replay raises IntegrityError; the caller
    starts its transaction again and then finds the text there.
    """
    found = [_find(platform_id, recipient, text) for recipient in sorted(set(text.recipients))]
    endpoints = [endpoint for endpoint in found if endpoint is not None]
    fresh = [each for each in endpoints if not each.seen_before and not _was_just_there(each, text, at)]
    if len(fresh) > 1:
        # As everybody locks several: those that are there by their keys, then new ones by their number's.
        numbers = [endpoint.id for endpoint in fresh]
        lock_conversations(Conversation.objects.filter(number_id__in=numbers, remote=text.sender))
    for endpoint in sorted(fresh, key=lambda endpoint: endpoint.id):
        _store(endpoint, text, news, at)
    if fresh:
        return "applied"
    return "duplicate" if endpoints else "unassigned"


def _find(platform_id: uuid.UUID, number: str, text: InboundText) -> _Endpoint | None:
    values = {"platform_id": platform_id, "recipient": number, "sid": text.sid, "sender": text.sender}
    rows = execute(f"{_ENDPOINT} {_lock_of(text)}", values)
    if not rows:
        return None
    number_id, user_id, stream_id, status, seen_before, *ids = rows[0]
    user_id, stream_id = (as_uuid(key) if key else None for key in (user_id, stream_id))
    levels = dict(zip(("system_provider_id", "reseller_id", "group_id"), map(as_uuid, ids), strict=True))
    return _Endpoint(as_uuid(number_id), user_id, stream_id, status, bool(seen_before), levels)


def _lock_of(text: InboundText) -> str:
    """The number is shared, except by texts that only a look at the others tells apart: those come one by one."""
    if text.renamed_when_repeated and connection.vendor == "postgresql":
        return "FOR NO KEY UPDATE OF n"
    return share_lock("n")


def _was_just_there(endpoint: _Endpoint, text: InboundText, at: datetime) -> bool:
    """Whether it is a repetition by the network that the carrier gave a new id (facts 2.7)."""
    if not text.renamed_when_repeated:
        return False
    same = Message.objects.filter(number_id=endpoint.id, direction="in", remote=text.sender, text=text.text)
    return same.filter(created_at__gt=at - SAME_TEXT).exists()


def _store(endpoint: _Endpoint, text: InboundText, news: News, at: datetime) -> None:
    place = take_place(
        number_id=endpoint.id,
        user_id=endpoint.user_id,
        remote=text.sender,
        at=at,
        visible=endpoint.status == MessageStatus.RECEIVED,
    )
    message_id = new_id_at(at)
    # Of what nobody will be shown, no file is fetched.
    is_kept = endpoint.status in (MessageStatus.RECEIVED, MessageStatus.HELD)
    file_count = min(len(text.media_urls), MOST_FILES) if is_kept else 0
    execute(
        _MESSAGE,
        message_values(text)
        | endpoint.levels
        | {
            "id": message_id,
            "at": at,
            "conversation_id": place.conversation_id,
            "number_id": endpoint.id,
            "user_id": place.user_id,
            "position": place.position,
            "status": endpoint.status,
            "file_count": file_count,
        },
    )
    if file_count:
        expect_media(message_id=message_id, number_id=endpoint.id, user_id=place.user_id, count=file_count)
    if endpoint.status == MessageStatus.HELD:
        transaction.on_commit(lambda: look_again(endpoint.id))
    if endpoint.status == MessageStatus.RECEIVED:
        news.add(place.user_id, "message.created", message_id)
        news.add(place.user_id, "conversation.updated", place.conversation_id)
        if endpoint.media_stream_id and place.user_id is None:
            enqueue(media_stream_id=endpoint.media_stream_id, conversation_id=place.conversation_id, since=at)
    keyword = keyword_of(text.text)
    if keyword is not None:
        obey_keyword(
            number_id=endpoint.id, remote=text.sender, keyword=keyword, message_id=message_id, at=at, news=news
        )


def message_values(text: InboundText) -> dict[str, Any]:
    """What a message row holds of the text itself."""
    counted = count_segments(text.text)
    return {
        "kind": "mms" if text.media_urls else "sms",
        "remote": text.sender,
        "text": text.text,
        "encoding": counted.encoding,
        "segments": counted.segments,
        "characters": counted.characters,
        "media_urls": json.dumps(list(text.media_urls)),
        "sid": text.sid,
    }
