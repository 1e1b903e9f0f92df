"""What streams show as it is now, and then whenever it changes: queues, later presence. Nothing of it is stored, so
these events have no number, and a client that (re)connects is told the whole state after `hello` (contracts, Events).

A source is asked when a stream looks for news. It gets what that stream was told last, and says what is different by
now: a lost wake-up so costs latency, never an event. Streams of users that no source has anything for ask no further.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from portal.events.rendering import Viewer

# What a stream was told, in the words of the source; empty when it was told nothing.
LiveState = dict[Any, Any]


@dataclass
class LiveNews:
    """What is different by now: events as (type, data), and what the stream has been told with them."""

    told: LiveState
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class LiveSource(Protocol):
    def listening(self, user_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """These users listen now; returns those the source has something for. Called every few seconds."""

    def news(self, wanted: Sequence[tuple[Viewer, LiveState]]) -> list[LiveNews]:
        """What is different for each of these streams, in their order."""


_sources: list[LiveSource] = []


def register_live_source(source: LiveSource) -> None:
    _sources.append(source)


def listening(user_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """The users of open streams; returns those whose streams have something live."""
    return set().union(*(source.listening(user_ids) for source in _sources)) if user_ids else set()


def news(wanted: Sequence[tuple[Viewer, LiveState]]) -> list[LiveNews]:
    """What all sources have for each of these streams."""
    found = [LiveNews({}) for _ in wanted]
    for n, source in enumerate(_sources):
        asked = [(viewer, told.get(n, {})) for viewer, told in wanted]
        for mine, all_news in zip(source.news(asked), found, strict=True):
            if mine.told:
                all_news.told[n] = mine.told
            all_news.events += mine.events
    return found
