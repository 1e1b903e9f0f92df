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
    """The `data` lines of events, in their order (contracts, Events). What is gone is `{"id": …, "gone": true}`.

    Each object is read once, whatever types of events tell of it: read one after the other, `created` could show a
    later state than the `updated` behind it.
    """
    events = list(events)
    wanted: dict[Renderer, dict[uuid.UUID, None]] = defaultdict(dict)
    for event in events:
        if event.type in _renderers:
            wanted[_renderers[event.type]][event.object_id] = None
    read = {renderer: renderer(user, list(ids)) for renderer, ids in wanted.items()}
    objects = {type: read.get(renderer, {}) for type, renderer in _renderers.items()}
    return [
        {
            "id": event.number,
            "type": event.type,
            "at": event.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "data": objects.get(event.type, {}).get(event.object_id, {"id": str(event.object_id), "gone": True}),
        }
        for event in events
    ]
