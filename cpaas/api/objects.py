"""Messaging objects as the end-user API and the event stream show them (contracts section 4)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from django.db.models import OuterRef

from cpaas.models import Attachment, Attempt, BlockedParty, Conversation, CpaasNumber, Message
from cpaas.services.attachments import files_of
from cpaas.services.conversations import standings
from cpaas.services.opt_in import prompt_of
from cpaas.states import OUTBOUND, RESENDABLE
from portal.clock import iso
from portal.directory.services.names import Known, known_names
from portal.events import Viewer
from portal.phone_numbers import is_short_code, national_digits, number_kind

# Held, suppressed and blocked texts are not in this API until they become received (contracts, message).
SHOWN_STATUSES = (*OUTBOUND, "received")


class MessageRow(Protocol):
    """What is shown of a message: the model, or a row of `MESSAGE_COLUMNS`."""

    id: Any
    conversation_id: Any
    number_id: Any
    direction: Any
    kind: Any
    status: Any
    remote: Any
    text: Any
    encoding: Any
    segments: Any
    characters: Any
    file_count: Any
    error_code: Any
    error_text: Any
    created_at: Any
    sent_at: Any
    delivered_at: Any


MESSAGE_COLUMNS = tuple(MessageRow.__annotations__)


def number_object(number: CpaasNumber) -> dict[str, Any]:
    """One of `session.numbers[]`. The number comes with platform, system provider and user loaded."""
    return {
        "id": str(number.pk),
        "number": number.number,
        "national": number.national,
        "friendly_name": number.friendly_name or number.national,
        "display": number.display,
        "carrier": number.platform.carrier,
        "messaging_type": number.messaging_type,
        "can_block": number.can_block_effective,
        "status": number.status,
        "opt_in": {
            "state": number.opt_in_state,
            "at": iso(number.opt_in_at),
            "prompt": prompt_of(number),
        },
        "usable": number.is_usable,
    }


def message_objects(
    messages: Iterable[MessageRow], numbers: Mapping[uuid.UUID, str] | None = None
) -> list[dict[str, Any]]:
    """Messages with their attempts and files, in the given order; three queries however many, one if all are plain
    texts that came in, and one less when the caller knows their `numbers` by id."""
    rows = list(messages)
    if numbers is None:
        number_ids = {row.number_id for row in rows}
        numbers = dict(CpaasNumber.objects.filter(pk__among=number_ids).values_list("pk", "number"))
    attempts: dict[uuid.UUID, list[Attempt]] = defaultdict(list)
    sent = [row.id for row in rows if row.direction == "out"]
    for attempt in Attempt.objects.filter(message_id__among=sent).order_by("n"):
        attempts[attempt.message_id].append(attempt)
    files = files_of(row.id for row in rows if row.file_count)
    return [_message(row, numbers[row.number_id], attempts[row.id], files[row.id]) for row in rows]


def attachment_object(row: Attachment, way: str = "") -> dict[str, Any]:
    """One of `message.attachments`. `way` stands for how it goes while no message has taken it."""
    return {
        "id": str(row.pk),
        "name": row.name,
        "content_type": row.content_type,
        "size": row.size,
        "url": row.url,
        "thumbnail_url": row.thumbnail_url,
        "as": row.sent_as or way,
    }


def conversation_objects(seen: Iterable[tuple[Viewer, Conversation]]) -> list[dict[str, Any]]:
    """Conversations as these users see them, with their last message and the name of the remote party, in the given
    order; as many queries for many as for one."""
    pairs = list(seen)
    rows = [row for _, row in pairs]
    numbers = CpaasNumber.objects.in_bulk({row.number_id for row in rows})
    names = known_names((user, row.remote) for user, row in pairs)
    last = _last_messages(rows, {key: number.number for key, number in numbers.items()})
    standing = standings(rows, numbers)
    return [
        {
            **_conversation(row, numbers[row.number_id], names.get((user.pk, row.remote)), last.get(row.pk)),
            **standing[row.pk]._asdict(),
        }
        for user, row in pairs
    ]


def blocked_objects(user: Viewer, rows: Sequence[BlockedParty]) -> list[dict[str, Any]]:
    """Blocked parties as their user sees them, with the names that directories know."""
    names = known_names((user, row.remote) for row in rows)
    remotes = [remote_object(row.remote, names.get((user.pk, row.remote))) for row in rows]
    return [
        {
            "id": str(row.pk),
            "number": str(row.number_id),
            "remote": row.remote,
            "national": remote["national"],
            "name": remote["name"],
            "at": iso(row.created_at),
        }
        for row, remote in zip(rows, remotes, strict=True)
    ]


def remote_object(remote: str, known: Known | None) -> dict[str, Any]:
    """The remote party: a number or, inbound only, a short code or a name."""
    return {
        "number": remote,
        "national": national_digits(remote) if remote.startswith("+") else remote,
        "name": known.name if known else None,
        "kind": _remote_kind(remote, known),
        "source": known.source if known else None,
    }


def _remote_kind(remote: str, known: Known | None) -> str:
    """By the numbering plan; where that does not tell mobiles apart, by the directory."""
    kind = number_kind(remote)
    return "mobile" if kind == "unknown" and known and known.type == "mobile" else kind


def _message(row: MessageRow, own_number: str, attempts: list[Attempt], files: list[Attachment]) -> dict[str, Any]:
    outbound = row.direction == "out"
    return {
        "id": str(row.id),
        "conversation": str(row.conversation_id),
        "direction": row.direction,
        "kind": row.kind,
        "status": row.status,
        "from": own_number if outbound else row.remote,
        "to": row.remote if outbound else own_number,
        "text": row.text,
        "encoding": row.encoding,
        "segments": row.segments,
        "characters": row.characters,
        "attachments": [attachment_object(file) for file in files if file.state == "stored"],
        "media_waiting": sum(file.state == "waiting" for file in files),
        "media_failed": sum(file.state == "failed" for file in files),
        "error": _error(row.error_code, row.error_text),
        "attempts": [
            {
                "n": attempt.n,
                "sid": attempt.sid or None,
                "status": attempt.status,
                "at": iso(attempt.changed_at or attempt.created_at),
                "error": _error(attempt.error_code, attempt.error_text),
            }
            for attempt in attempts
        ],
        "resendable": outbound and row.status in RESENDABLE,
        "at": iso(row.created_at),
        "sent_at": iso(row.sent_at),
        "delivered_at": iso(row.delivered_at),
    }


def _error(code: str, text: str) -> dict[str, str] | None:
    return {"code": code, "text": text} if code or text else None


def _conversation(
    row: Conversation, number: CpaasNumber, known: Known | None, last: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "number": {"id": str(number.pk), "number": number.number, "display": number.display},
        "remote": remote_object(row.remote, known),
        "last_message_at": iso(row.last_message_at),
        "last_received_at": iso(row.last_received_at),
        "last_message": last,
        "new_count": row.new_count,
        "reserved_by": str(row.user_id) if number.media_stream_id and row.user_id else None,
        # A name as sender ("ACME") cannot be answered (facts 4.5).
        "can_reply": row.remote.startswith("+") or is_short_code(row.remote),
    }


def _last_messages(
    conversations: list[Conversation], numbers: Mapping[uuid.UUID, str]
) -> dict[uuid.UUID, dict[str, Any]]:
    """The newest message of each conversation that the user may see: the end of an index range each, however long."""
    newest = Message.objects.filter(conversation=OuterRef("pk"), status__in=SHOWN_STATUSES).order_by("-position")
    ids = Conversation.objects.filter(pk__in=[row.pk for row in conversations]).values(last=newest.values("pk")[:1])
    rows = Message.objects.filter(pk__in=ids)
    return {uuid.UUID(found["conversation"]): found for found in message_objects(rows, numbers)}
