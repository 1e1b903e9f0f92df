"""The queues of media streams on the event streams of their agents: `queue.updated` and `queue.offered` (S4.3)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from cpaas.api.queue_objects import QueueRow, gone_object, queue_objects, queue_rows
from cpaas.models import MediaStream, QueueEntry
from cpaas.services.agents import agents_among, note_agents
from portal.events import LiveNews, Viewer
from portal.events.live import LiveState

# Of each stream the oldest so many are told; whoever wants more asks for the list.
MOST_TOLD = 500
_Rows = Mapping[uuid.UUID, QueueRow]


class LiveQueue:
    """An open event stream is also an agent's sign of life."""

    def listening(self, user_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        found = agents_among(user_ids)
        if found:
            note_agents(found)
        return found

    def news(self, wanted: Sequence[tuple[Viewer, LiveState]]) -> list[LiveNews]:
        now = _queues_of({viewer.pk for viewer, _ in wanted})
        found = [LiveNews(dict(now[viewer.pk])) for viewer, _ in wanted]
        changed = [
            (at, viewer, row)
            for at, (viewer, told) in enumerate(wanted)
            for key, row in now[viewer.pk].items()
            if told.get(key) != row
        ]
        shown = queue_objects([(viewer, row) for _, viewer, row in changed])
        for (at, viewer, row), data in zip(changed, shown, strict=True):
            found[at].events.append(("queue.updated", data))
            if _is_offered_anew(viewer, row, wanted[at][1].get(row.id)):
                found[at].events.append(("queue.offered", data))
        for at, (viewer, told) in enumerate(wanted):
            gone = [row for key, row in told.items() if key not in now[viewer.pk]]
            found[at].events += [("queue.updated", dict(gone_object(row))) for row in gone]
        return found


def _queues_of(agent_ids: Collection[uuid.UUID]) -> defaultdict[uuid.UUID, dict[uuid.UUID, QueueRow]]:
    """The rows each agent sees, by their ids; each stream is read once, however many agents listen."""
    members = MediaStream.agents.through.objects.filter(enduser_id__among=list(agent_ids))
    streams_of: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for agent_id, stream_id in members.values_list("enduser_id", "mediastream_id"):
        streams_of[agent_id].append(stream_id)
    queues = {key: _queue(key) for key in {key for keys in streams_of.values() for key in keys}}
    found: defaultdict[uuid.UUID, dict[uuid.UUID, QueueRow]] = defaultdict(dict)
    for agent_id, stream_ids in streams_of.items():
        for stream_id in stream_ids:
            found[agent_id] |= queues[stream_id]
    return found


def _queue(media_stream_id: uuid.UUID) -> _Rows:
    entries = QueueEntry.objects.filter(media_stream=media_stream_id).select_related("conversation", "media_stream")
    return {row.id: row for row in queue_rows(entries.order_by("waiting_since", "id")[:MOST_TOLD])}


def _is_offered_anew(viewer: Viewer, row: QueueRow, before: QueueRow | None) -> bool:
    if viewer.pk not in row.offered_to:
        return False
    return before is None or viewer.pk not in before.offered_to or before.offered_until != row.offered_until
