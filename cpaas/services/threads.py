"""Conversations as writers meet them: found or made by own number and remote party, the next place taken (S1.20)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from cpaas.models.conversations import NO_PLATFORM
from portal.ids import new_id
from portal.sql import as_uuid, execute

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
