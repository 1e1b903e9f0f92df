"""Queue rows as the end-user API and the event stream show them (contracts section 4)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cpaas.api.objects import remote_object
from cpaas.models import QueueEntry, QueueOffer
from cpaas.models.queue import OfferState
from portal.clock import iso
from portal.directory.services.names import known_names
from portal.events import Viewer


@dataclass(frozen=True, slots=True)
class QueueRow:
    """What is shown of an entry, whoever looks. Two that are equal look alike."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    media_stream_id: uuid.UUID
    media_stream: str
    remote: str
    state: str
    waiting_since: datetime
    reserved_by: uuid.UUID | None
    offered_to: tuple[uuid.UUID, ...]
    offered_until: datetime | None


def queue_rows(entries: Iterable[QueueEntry]) -> list[QueueRow]:
    """The rows of entries that come with conversation and media stream loaded; one query for their offers."""
    found = list(entries)
    offers: dict[uuid.UUID, list[QueueOffer]] = defaultdict(list)
    offered = [entry.pk for entry in found if entry.state == "offered"]
    for offer in QueueOffer.objects.filter(entry_id__among=offered, state=OfferState.OPEN).order_by("agent_id"):
        offers[offer.entry_id].append(offer)
    return [_row(entry, offers[entry.pk]) for entry in found]


def queue_objects(seen: Collection[tuple[Viewer, QueueRow]]) -> list[dict[str, Any]]:
    """Rows as these agents see them, in the given order."""
    names = known_names((viewer, row.remote) for viewer, row in seen)
    return [_object(row, names.get((viewer.pk, row.remote))) for viewer, row in seen]


def gone_object(row: QueueRow) -> Mapping[str, Any]:
    """What is said of a row that has left the queue."""
    return {"id": str(row.id), "conversation": str(row.conversation_id), "gone": True}


def _row(entry: QueueEntry, offers: list[QueueOffer]) -> QueueRow:
    return QueueRow(
        id=entry.pk,
        conversation_id=entry.conversation_id,
        media_stream_id=entry.media_stream_id,
        media_stream=entry.media_stream.name,
        remote=entry.conversation.remote,
        state=entry.state,
        waiting_since=entry.waiting_since,
        reserved_by=entry.reserved_by_id,
        offered_to=tuple(offer.agent_id for offer in offers),
        offered_until=max((offer.expires_at for offer in offers), default=None),
    )


def _object(row: QueueRow, known: Any) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "conversation": str(row.conversation_id),
        "media_stream": {"id": str(row.media_stream_id), "name": row.media_stream},
        "remote": remote_object(row.remote, known),
        "waiting_since": iso(row.waiting_since),
        "offered_to": [str(key) for key in row.offered_to],
        "offered_until": iso(row.offered_until),
        "state": row.state,
        "reserved_by": str(row.reserved_by) if row.reserved_by else None,
    }
