"""What an event looks like: read when the event is, as its user may see it, so that a deleted text is gone here too."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from portal.clock import iso
from portal.scoping import Actor


class Viewer(Actor, Protocol):
    """The end user an event is rendered for: the model, or just what the stream read of it."""

    @property
    def group_id(self) -> uuid.UUID: ...

    @property
    def system_provider_id(self) -> uuid.UUID: ...


class Told(Protocol):
    """An event as it is stored: the model, or a row of it."""

    @property
    def number(self) -> Any: ...

    @property
    def type(self) -> Any: ...

    @property
    def object_id(self) -> Any: ...

    @property
    def at(self) -> datetime: ...


# What each user is told of → the whole object as the API shows it to that user, by the ids of both. An object that is
# missing is gone, or is not that user's to see. Many users at a time, in as many queries as for one.
Wanted = Mapping[Viewer, Sequence[uuid.UUID]]
Rendered = Mapping[tuple[uuid.UUID, uuid.UUID], dict[str, Any]]
Renderer = Callable[[Wanted], Rendered]

_renderers: dict[str, Renderer] = {}


def register_renderer(type: str, renderer: Renderer) -> None:
    _renderers[type] = renderer


def render(events: Mapping[Viewer, Sequence[Told]]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """User's id → the `data` lines of that user's events, in their order (contracts, Events). What is gone is
    `{"id": …, "gone": true}`.

    Each object is read once, whatever types of events tell of it: read one after the other, `created` could show a
    later state than the `updated` behind it.
    """
    wanted: dict[Renderer, dict[Viewer, dict[uuid.UUID, None]]] = defaultdict(lambda: defaultdict(dict))
    for user, told in events.items():
        for event in told:
            if event.type in _renderers:
                wanted[_renderers[event.type]][user][event.object_id] = None
    read = {
        renderer: renderer({user: list(ids) for user, ids in of_user.items()}) for renderer, of_user in wanted.items()
    }
    objects = {type: read.get(renderer, {}) for type, renderer in _renderers.items()}
    return {user.pk: [_entry(user, event, objects) for event in told] for user, told in events.items()}


def _entry(user: Viewer, event: Told, objects: Mapping[str, Rendered]) -> dict[str, Any]:
    gone = {"id": str(event.object_id), "gone": True}
    return {
        "id": event.number,
        "type": event.type,
        "at": iso(event.at),
        "data": objects.get(event.type, {}).get((user.pk, event.object_id), gone),
    }
