"""The rows that outbound texts become, written for a whole batch by one statement each: a placeholder for every value
would take longer than all the rules of sending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from cpaas.models import Attempt, CpaasNumber, Message
from cpaas.segments import count_segments
from cpaas.services.attachments import Parcel
from cpaas.services.threads import Place, take_outbound_places
from cpaas.states import MessageStatus
from portal import clock
from portal.events import wake
from portal.sql import execute_planned, table_of

_MESSAGE = {
    "id": "uuid",
    "created_at": "timestamptz",
    "conversation_id": "uuid",
    "number_id": "uuid",
    "user_id": "uuid",
    "position": "integer",
    "direction": "text",
    "status": "text",
    "kind": "text",
    "remote": "text",
    "text": "text",
    "encoding": "text",
    "segments": "smallint",
    "characters": "integer",
    "file_count": "smallint",
    "system_provider_id": "uuid",
    "reseller_id": "uuid",
    "group_id": "uuid",
}
_ATTEMPT = {
    "id": "uuid",
    "created_at": "timestamptz",
    "message_id": "uuid",
    "conversation_id": "uuid",
    "platform_id": "uuid",
    "n": "smallint",
    "position": "integer",
    "status": "text",
    "expires_at": "timestamptz",
}
# What nobody knows yet of a text that waits.
_INSERT_MESSAGES = f"""
    WITH {{rows}}
    INSERT INTO cpaas_message ({", ".join(_MESSAGE)}, media_urls, sid, error_code, error_text)
    SELECT {", ".join(_MESSAGE)}, '[]', '', '', '' FROM rows
"""  # noqa: S608 - made of constants
_INSERT_ATTEMPTS = f"""
    WITH {{rows}}
    INSERT INTO cpaas_attempt ({", ".join(_ATTEMPT)}, sid, part_count, error_code, error_text, tries, checks)
    SELECT {", ".join(_ATTEMPT)}, '', 1, '', '', 0, 0 FROM rows
"""  # noqa: S608 - made of constants


@dataclass(frozen=True)
class Draft:
    """A text that may be sent, as it is going to be stored."""

    number: CpaasNumber
    remote: str
    parcel: Parcel


def queue_drafts(drafts: Sequence[Draft]) -> list[Message]:
    """Store texts as queued. Runs in the caller's transaction, which holds the numbers locked or shared, and wakes the
    dispatcher when it is over."""
    now = clock.now()
    places = take_outbound_places([(draft.number, draft.remote) for draft in drafts], now)
    messages = [_message_of(draft, place, now) for draft, place in zip(drafts, places, strict=True)]
    _insert_messages(messages)
    insert_attempts([attempt_of(message, message.number, n=1, position=message.position) for message in messages])
    transaction.on_commit(lambda: wake("dispatch"), robust=True)
    return messages


def attempt_of(message: Message, number: CpaasNumber, *, n: int, position: int) -> Attempt:
    """The `n`th try of a text, at that place in its conversation's queue."""
    now = clock.now()
    return Attempt(
        created_at=now,
        message_id=message.pk,
        conversation_id=message.conversation_id,
        platform_id=number.platform_id,
        n=n,
        position=position,
        status=MessageStatus.QUEUED,
        expires_at=now + timedelta(seconds=number.platform.option("queue_ttl_s")),
    )


def insert_attempts(attempts: Sequence[Attempt]) -> None:
    """Store attempts that nobody has in hand yet."""
    rows = [tuple(getattr(attempt, name) for name in _ATTEMPT) for attempt in attempts]
    table, values = table_of("rows", _ATTEMPT, rows)
    execute_planned(_INSERT_ATTEMPTS.format(rows=table), values)


def _insert_messages(messages: Sequence[Message]) -> None:
    rows = [tuple(getattr(message, name) for name in _MESSAGE) for message in messages]
    table, values = table_of("rows", _MESSAGE, rows)
    execute_planned(_INSERT_MESSAGES.format(rows=table), values)
    for message in messages:
        message._state.adding = False


def _message_of(draft: Draft, place: Place, at: datetime) -> Message:
    number, counted = draft.number, count_segments(draft.parcel.text)
    return Message(
        created_at=at,
        conversation_id=place.conversation_id,
        number=number,
        user_id=place.user_id,
        position=place.position,
        direction="out",
        status=MessageStatus.QUEUED,
        kind=draft.parcel.kind,
        remote=draft.remote,
        text=draft.parcel.text,
        file_count=len(draft.parcel.files),
        encoding=counted.encoding,
        segments=counted.segments,
        characters=counted.characters,
        system_provider_id=number.system_provider_id,
        reseller_id=number.reseller_id,
        group_id=number.group_id,
    )
