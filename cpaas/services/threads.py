"""Conversations as writers meet them: found or made by own number and remote party, the next place taken (S1.20)."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cpaas.models import CpaasNumber
from cpaas.models.conversations import NO_PLATFORM
from portal.ids import new_id
from portal.sql import as_uuid, execute, execute_planned, table_of

# One statement finds or makes the conversation, takes the next position under its row lock, and rolls up what the
# list shows, so two writers at once get two positions and one conversation. `source` gives the columns in order, with
# the number of messages as `last_position`: the positions up to the one that is returned are theirs.
UPSERT = """
    INSERT INTO cpaas_conversation AS c (
        id, created_at, number_id, remote, user_id, last_message_at, last_received_at,
        last_position, read_position, new_count, message_count, outbox_at, outbox_platform
    ) {source}
    ON CONFLICT (number_id, remote) DO UPDATE SET
        last_message_at = COALESCE(excluded.last_message_at, c.last_message_at),
        last_received_at = COALESCE(excluded.last_received_at, c.last_received_at),
        last_position = c.last_position + excluded.last_position,
        new_count = c.new_count + excluded.new_count,
        message_count = c.message_count + excluded.message_count,
        outbox_at = COALESCE(c.outbox_at, excluded.outbox_at),
        outbox_platform = CASE WHEN excluded.outbox_at IS NULL THEN c.outbox_platform ELSE excluded.outbox_platform END
    RETURNING id, last_position, number_id, remote, user_id
"""
_VALUES = "VALUES (%s, %s, %s, %s, %s, %s, %s, 1, 0, %s, 1, %s, %s)"
_NEW = {
    "id": "uuid",
    "number_id": "uuid",
    "remote": "text",
    "user_id": "uuid",
    "at": "timestamptz",
    "texts": "integer",
    "platform_id": "uuid",
}
# Conversations that are there in the order of their keys, as everybody locks them, then new ones.
_OUTBOUND = UPSERT.format(
    source="""
    SELECT rows.id, rows.at, rows.number_id, rows.remote, rows.user_id, rows.at, NULL, rows.texts, 0, 0, rows.texts,
           rows.at, rows.platform_id
    FROM rows WHERE true ORDER BY (
        SELECT old.id FROM cpaas_conversation old WHERE old.number_id = rows.number_id AND old.remote = rows.remote
    ) NULLS LAST, rows.number_id, rows.remote
    """
)


@dataclass(frozen=True)
class Place:
    """Where a message stands: its conversation, whose that is now, and its position in it."""

    conversation_id: uuid.UUID
    position: int
    user_id: uuid.UUID | None


def take_place(
    *,
    number_id: uuid.UUID,
    user_id: uuid.UUID | None,
    remote: str,
    at: datetime,
    visible: bool,
    send_through: uuid.UUID | None = None,
) -> Place:
    """The next place in the conversation of `number_id` and `remote`, made if there is none.

    `visible` False: a held, suppressed or blocked text, which the user's list must not show. An outbound text says
    which platform to `send_through`, which puts the conversation up for dispatch. Must run inside a transaction that
    already holds the number's share lock.
    """
    inbound = send_through is None
    seen_at = at if visible else None
    rows = execute(
        UPSERT.format(source=_VALUES),
        [
            new_id(),
            at,
            number_id,
            remote,
            user_id,
            seen_at,
            seen_at if inbound else None,
            1 if inbound and visible else 0,
            None if inbound else at,
            send_through or NO_PLATFORM,
        ],
    )
    conversation_id, position, _, _, now_of = rows[0]
    return Place(as_uuid(conversation_id), position, as_uuid(now_of) if now_of else None)


def take_outbound_places(texts: Sequence[tuple[CpaasNumber, str]], at: datetime) -> list[Place]:
    """A place for each text from a number to a remote party, in their order; the conversations are put up for dispatch.
    Must run inside a transaction that already holds the numbers locked or shared."""
    numbers = {number.pk: number for number, _ in texts}
    counts = Counter((number.pk, remote) for number, remote in texts)
    rows = [
        (new_id(), key, remote, numbers[key].user_id, at, count, numbers[key].platform_id)
        for (key, remote), count in counts.items()
    ]
    table, values = table_of("rows", _NEW, rows)
    found = execute_planned(f"WITH {table} {_OUTBOUND}", values)
    ends = {(as_uuid(key), remote): (as_uuid(row_id), last, user) for row_id, last, key, remote, user in found}
    places = []
    for number, remote in texts:
        pair = (number.pk, remote)
        conversation_id, last, user_id = ends[pair]
        counts[pair] -= 1  # how many are still to come in it
        places.append(Place(conversation_id, last - counts[pair], as_uuid(user_id) if user_id else None))
    return places
