"""Plain inbound calls, one text without files to one number each, any number of them in one PostgreSQL statement.

It keeps the calls, finds their numbers, takes the places in the conversations, stores the messages, numbers and writes
the events, all or nothing. Each step feeds the next, which also fixes the order of locks: numbers, conversations,
streams, several of a kind by their keys. SQLite has no such statement; there, and for anything less plain,
webhook_intake.py goes step by step.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from cpaas.carriers.base import InboundText
from cpaas.keywords import keyword_of
from cpaas.models import Message
from cpaas.models.conversations import NO_PLATFORM
from cpaas.services.inbound import ENDPOINT, MESSAGE_COLUMNS, message_values
from cpaas.services.queueing import enqueue
from cpaas.services.threads import UPSERT
from portal.events import wake
from portal.ids import new_id
from portal.sql import execute_prepared

# Rows are looked up one by one, by subqueries that PostgreSQL cannot turn into a join, which a plan made while the
# tables were small would read them whole for.
# What the statement takes of each call, and its type. All calls come as one JSON value: nineteen arrays took psycopg
# longer to write than PostgreSQL takes for a whole call.
_TYPES = {
    "call_id": "uuid",
    "at": "timestamptz",
    "platform_id": "uuid",
    "nonce": "text",
    "digest": "text",
    "body": "text",
    "content_type": "text",
    "call_sid": "text",
    "recipient": "text",
    "conversation_id": "uuid",
    "message_id": "uuid",
    "kind": "text",
    "remote": "text",
    "text": "text",
    "encoding": "text",
    "segments": "int2",
    "characters": "int4",
    "media_urls": "text",
    "sid": "text",
}
_COLUMNS = ", ".join(f"{name} {type}" for name, type in _TYPES.items())
_ENDPOINT = ENDPOINT.format(sid="i.sid", recipient="i.recipient", platform_id="i.platform_id", sender="i.remote")
# Conversations that are there in the order of their keys, as everybody locks them, then new ones.
_CONVERSATIONS = UPSERT.format(
    source=f"""
    SELECT first.conversation_id, first.at, first.number_id, first.remote, first.user_id,
           CASE WHEN first.status = 'received' THEN first.last_at END,
           CASE WHEN first.status = 'received' THEN first.last_at END,
           first.texts, 0, CASE WHEN first.status = 'received' THEN first.texts ELSE 0 END, first.texts, NULL,
           '{NO_PLATFORM}'::uuid
    FROM fresh first WHERE first.place = 1 ORDER BY (
        SELECT old.id FROM cpaas_conversation old WHERE old.number_id = first.number_id AND old.remote = first.remote
    ) NULLS LAST, first.number_id, first.remote
    """  # noqa: S608 - made of constants
)
_STATEMENT = f"""
    WITH incoming AS (
        SELECT * FROM ROWS FROM (json_to_recordset($1) AS ({_COLUMNS}))
            WITH ORDINALITY AS i ({", ".join(_TYPES)}, n)
    ), endpoint AS (
        SELECT i.call_id, found.* FROM (SELECT * FROM incoming ORDER BY recipient) i,
            LATERAL ({_ENDPOINT} FOR KEY SHARE OF n) AS found
    ), kept AS (
        INSERT INTO cpaas_webhookevent (
            id, created_at, platform_id, nonce, body_digest, body, content_type, sid, state, sender, recipient, text
        ) SELECT i.call_id, i.at, i.platform_id, i.nonce, i.digest, decode(i.body, 'hex'), i.content_type, i.call_sid,
            CASE e.seen_before WHEN false THEN 'applied' WHEN true THEN 'duplicate' ELSE 'unassigned' END,
            CASE WHEN e.id IS NULL THEN i.remote ELSE '' END, CASE WHEN e.id IS NULL THEN i.recipient ELSE '' END,
            CASE WHEN e.id IS NULL THEN i.text ELSE '' END
        FROM incoming i LEFT JOIN endpoint e USING (call_id) ORDER BY i.platform_id, i.nonce, i.n
        ON CONFLICT (platform_id, nonce) DO NOTHING RETURNING id
    ), fresh AS (
        SELECT i.*, e.id AS number_id, e.user_id, e.media_stream_id, e.status,
               e.system_provider_id, e.reseller_id, e.group_id,
               row_number() OVER (PARTITION BY e.id, i.remote ORDER BY i.n) AS place,
               count(*) OVER same AS texts, max(i.at) OVER same AS last_at
        FROM kept JOIN incoming i ON i.call_id = kept.id JOIN endpoint e USING (call_id)
        WHERE NOT e.seen_before WINDOW same AS (PARTITION BY e.id, i.remote)
    ), conversation AS (
        {_CONVERSATIONS}
    ), stored AS (
        INSERT INTO cpaas_message ({MESSAGE_COLUMNS})
        SELECT f.message_id, f.at, c.id, f.number_id, c.user_id, c.last_position - f.texts + f.place, f.status,
               'in', f.kind, f.remote, f.text, f.encoding, f.segments, f.characters, f.media_urls::jsonb, f.sid, '', '',
               f.system_provider_id, f.reseller_id, f.group_id
        FROM fresh f JOIN conversation c USING (number_id, remote) ORDER BY f.n
        RETURNING id, created_at, conversation_id, user_id, status
    ), news AS (
        SELECT user_id, created_at, type, object_id,
               row_number() OVER (PARTITION BY user_id ORDER BY id DESC, type) AS back
        FROM stored, LATERAL (
            VALUES ('message.created', id), ('conversation.updated', conversation_id)
        ) AS told (type, object_id)
        WHERE status = 'received' AND user_id IS NOT NULL
    ), numbered AS (
        INSERT INTO portal_eventstream AS s (user_id, last_id)
        SELECT user_id, count(*) FROM news GROUP BY user_id ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET last_id = s.last_id + excluded.last_id RETURNING user_id, last_id
    ), told AS (
        INSERT INTO portal_event (user_id, number, type, object_id, at)
        SELECT user_id, numbered.last_id + 1 - news.back, news.type, news.object_id, news.created_at
        FROM news JOIN numbered USING (user_id) ORDER BY user_id, news.back DESC
    )
    SELECT kept.id, CASE WHEN NOT e.seen_before THEN e.status END, e.id, e.user_id, e.media_stream_id
    FROM kept LEFT JOIN endpoint e ON e.call_id = kept.id
"""  # noqa: S608 - made of constants


@dataclass(frozen=True)
class PlainCall:
    """One call to take in. `kept` is what webhook_intake keeps of the call itself."""

    platform_id: uuid.UUID
    kept: Mapping[str, Any]
    text: InboundText
    at: datetime
    message_id: uuid.UUID = field(default_factory=new_id)


@dataclass(frozen=True)
class Taken:
    """What became of a call: `new` False when its nonce was seen before, `held_for` the number that holds its text."""

    new: bool
    held_for: uuid.UUID | None = None


def is_possible(events: Any) -> bool:
    """Whether `receive` can take this call in: PostgreSQL, and one text without files to one number that is no word
    like STOP."""
    return (
        connection.vendor == "postgresql"
        and len(events) == 1
        and isinstance(events[0], InboundText)
        and len(events[0].recipients) == 1
        and not events[0].media_urls
        and not events[0].renamed_when_repeated
        and keyword_of(events[0].text) is None
    )


def receive(calls: Sequence[PlainCall]) -> list[Taken]:
    """Take the calls in, all or none. Raises IntegrityError when two of them, or a parallel one, are the same text."""
    found = execute_prepared(_STATEMENT, [json.dumps([_values(call) for call in calls])])
    kept = {row[0]: row[1:] for row in found}
    users: set[uuid.UUID] = set()
    of_streams: dict[uuid.UUID, uuid.UUID] = {}
    for call in calls:
        status, _, user_id, stream_id = kept.get(call.kept["call_id"], (None,) * 4)
        if status == "received" and stream_id:
            of_streams[call.message_id] = stream_id
        elif status == "received" and user_id:
            users.add(user_id)
    if of_streams:
        users |= _enqueue(of_streams)
    topics = [f"user:{user_id}" for user_id in users]
    transaction.on_commit(lambda: wake(*topics), robust=True)
    return [_taken(kept, call.kept["call_id"]) for call in calls]


def _enqueue(stream_of: Mapping[uuid.UUID, uuid.UUID]) -> set[uuid.UUID]:
    """Let texts of media streams that no agent has wait for one (S4.3); returns the agents who have the others.

    Apart from the statement, which all the others would pay for, and after its commit: what a crash in between leaves
    is found by `enqueue_overlooked`.
    """
    agents = set()
    stored = Message.objects.filter(pk__in=stream_of).values_list("pk", "conversation_id", "user_id", "created_at")
    for message_id, conversation_id, agent_id, since in stored:
        if agent_id:
            agents.add(agent_id)
        else:
            enqueue(media_stream_id=stream_of[message_id], conversation_id=conversation_id, since=since)
    return agents


def _taken(kept: Mapping[uuid.UUID, tuple[Any, ...]], call_id: uuid.UUID) -> Taken:
    if call_id not in kept:
        return Taken(new=False)
    status, number_id, *_ = kept[call_id]
    return Taken(new=True, held_for=number_id if status == "held" else None)


def _values(call: PlainCall) -> dict[str, str | int]:
    """The call as JSON has it: ids and times as text, its body in hexadecimal, since it can hold any byte."""
    return {
        **call.kept,
        **message_values(call.text),
        "call_id": str(call.kept["call_id"]),
        "platform_id": str(call.platform_id),
        "body": call.kept["body"].hex(),
        "recipient": call.text.recipients[0],
        "at": call.at.isoformat(),
        "conversation_id": str(new_id()),
        "message_id": str(call.message_id),
    }
