"""The texts a dispatcher has ready for the places that become free next: reserved, not yet begun (claiming.py)."""

from __future__ import annotations

import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from cpaas.services.claiming import RESERVATION, Claimed

# A text with the time, on this process's clock, before it was asked for.
Ready = tuple[Claimed, float]


class ReadyTexts:
    """In the order they were reserved. `in_flight` counts by platform what a dispatcher has begun."""

    def __init__(self) -> None:
        self._texts: deque[Ready] = deque()

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, texts: Iterable[Claimed], asked_at: float) -> None:
        self._texts.extend((text, asked_at) for text in texts)

    def take(self, room: int, in_flight: Mapping[uuid.UUID, int]) -> list[Ready]:
        """As many as there is room for, first of platforms with less in flight. What lay too long is left: others look
        at it again by now."""
        oldest = time.monotonic() - RESERVATION.total_seconds()
        while self._texts and self._texts[0][1] < oldest:
            self._texts.popleft()
        if not room or room >= len(self._texts) or not self._are_mixed():
            return [self._texts.popleft() for _ in range(min(room, len(self._texts)))]
        chosen = sorted(self._texts, key=lambda ready: in_flight.get(ready[0].platform_id, 0))[:room]
        self._drop(chosen)
        return chosen

    def take_guests(self, most: int, in_flight: Mapping[uuid.UUID, int], below: int) -> list[Ready]:
        """At most so many, of platforms with fewer than `below` in flight."""
        counts = Counter(in_flight)
        guests: list[Ready] = []
        for ready in self._texts:
            key = ready[0].platform_id
            if len(guests) < most and counts[key] < below:
                counts[key] += 1
                guests.append(ready)
        self._drop(guests)
        return guests

    def give_up(self, platform_id: uuid.UUID) -> None:
        """What is ready for a platform that takes no texts now; others look at it again later."""
        self._texts = deque(ready for ready in self._texts if ready[0].platform_id != platform_id)

    def take_all(self) -> list[Claimed]:
        left, self._texts = self._texts, deque()
        return [text for text, _ in left]

    def _are_mixed(self) -> bool:
        """Whether they go through several platforms."""
        first = self._texts[0][0].platform_id
        return any(text.platform_id != first for text, _ in self._texts)

    def _drop(self, taken: Sequence[Ready]) -> None:
        if taken:
            keys = {text.attempt_id for text, _ in taken}
            self._texts = deque(ready for ready in self._texts if ready[0].attempt_id not in keys)
