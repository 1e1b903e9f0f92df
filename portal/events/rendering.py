"""What an event looks like: read when the event is, through `visible_to`, so that a deleted text is gone here too."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from portal.models import EndUser, Event

# (user, ids) -> {id: the whole object as the API shows it}; an id that is missing is gone or no longer visible.
Renderer = Callable[[EndUser, Sequence[uuid.UUID]], Mapping[uuid.UUID, dict[str, Any]]]

_renderers: dict[str, Renderer] = {}


def register_renderer(type: str, renderer: Renderer) -> None:
    _renderers[type] = renderer


def render(user: EndUser, events: Iterable[Event]) -> list[dict[str, Any]]:
    """The `data` lines of events, in their order (contracts, Events). What is gone is `{"id": …, "gone": true}`."""
    events = list(events)
    wanted: dict[str, list[uuid.UUID]] = defaultdict(list)
    for event in events:
        wanted[event.type].append(event.object_id)
    objects = {type: _renderers[type](user, ids) if type in _renderers else {} for type, ids in wanted.items()}
    return [
        {
            "id": event.number,
            "type": event.type,
            "at": event.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "data": objects[event.type].get(event.object_id, {"id": str(event.object_id), "gone": True}),
        }
        for event in events
    ]
