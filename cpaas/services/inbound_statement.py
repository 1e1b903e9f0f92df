"""The plain inbound call, one text to one number, in one PostgreSQL statement and so in one round trip.

It keeps the call, finds the number, takes the place in the conversation, stores the message, numbers and writes the
events, all or nothing. Each step feeds the next, which also fixes the order of locks: number, conversation, stream.
SQLite has no such statement; there, and for anything less plain, webhook_intake.py goes step by step.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from cpaas.carriers.base import InboundText
from cpaas.services.held import look_again
from cpaas.services.inbound import ENDPOINT, MESSAGE_COLUMNS, MESSAGE_VALUES, message_values
from cpaas.services.threads import UPSERT
from portal.events import wake
from portal.ids import new_id
from portal.sql import as_uuid, execute_prepared

_CONVERSATION = UPSERT.format(
    source="""
    SELECT %(conversation_id)s, %(at)s, endpoint.id, %(remote)s, endpoint.user_id,
           CASE WHEN endpoint.status = 'received' THEN %(at)s END,
           CASE WHEN endpoint.status = 'received' THEN %(at)s END,
           1, 0, CASE WHEN endpoint.status = 'received' THEN 1 ELSE 0 END, 1, NULL
    FROM endpoint, kept WHERE NOT endpoint.seen_before
    """
)
_TYPED_VALUES = MESSAGE_VALUES.replace("%(media_urls)s", "%(media_urls)s::jsonb")
_STATEMENT = f"""
    WITH endpoint AS (
        {ENDPOINT} FOR KEY SHARE OF n
    ), kept AS (
        INSERT INTO cpaas_webhookevent (
            id, created_at, platform_id, nonce, body_digest, body, content_type, sid, state
        ) SELECT %(call_id)s, %(at)s, %(platform_id)s, %(nonce)s, %(digest)s, %(body)s, %(content_type)s, %(call_sid)s,
            CASE (SELECT seen_before FROM endpoint) WHEN false THEN 'applied' WHEN true THEN 'duplicate'
            ELSE 'unassigned' END
        ON CONFLICT (platform_id, nonce) DO NOTHING RETURNING id
    ), place AS (
        {_CONVERSATION}
    ), stored AS (
        INSERT INTO cpaas_message ({MESSAGE_COLUMNS})
        SELECT %(message_id)s, %(at)s, place.id, endpoint.id, endpoint.user_id, place.last_position, endpoint.status,
               {_TYPED_VALUES}
        FROM endpoint, place RETURNING number_id, user_id, conversation_id, status
    ), numbered AS (
        INSERT INTO portal_eventstream AS s (user_id, last_id)
        SELECT user_id, 2 FROM stored WHERE status = 'received' AND user_id IS NOT NULL
        ON CONFLICT (user_id) DO UPDATE SET last_id = s.last_id + 2 RETURNING user_id, last_id
    ), told AS (
        INSERT INTO portal_event (user_id, number, type, object_id, at)
        SELECT numbered.user_id, numbered.last_id - 1, 'message.created', %(message_id)s, %(at)s FROM numbered
        UNION ALL
        SELECT numbered.user_id, numbered.last_id, 'conversation.updated', stored.conversation_id, %(at)s
        FROM numbered, stored
    )
    SELECT (SELECT count(*) FROM kept), (SELECT user_id FROM numbered),
           (SELECT number_id FROM stored WHERE status = 'held')
"""  # noqa: S608 - made of constants


def is_possible(events: Any) -> bool:
    """Whether `receive` can take this call in: PostgreSQL, and one text to one number."""
    return (
        connection.vendor == "postgresql"
        and len(events) == 1
        and isinstance(events[0], InboundText)
        and len(events[0].recipients) == 1
    )


def receive(*, platform_id: uuid.UUID, call: Mapping[str, Any], text: InboundText, at: datetime) -> bool:
    """Take the call in; False when its nonce was seen before. Raises IntegrityError for a parallel replay."""
    values = dict(call) | message_values(text)
    values |= {
        "platform_id": platform_id,
        "recipient": text.recipients[0],
        "at": at,
        "conversation_id": new_id(),
        "message_id": new_id(),
    }
    kept, user_id, held_for = execute_prepared(_STATEMENT, values)
    if user_id is not None:
        topic = f"user:{as_uuid(user_id)}"
        transaction.on_commit(lambda: wake(topic), robust=True)
    if held_for is not None:
        transaction.on_commit(lambda: look_again(held_for))
    return bool(kept)
