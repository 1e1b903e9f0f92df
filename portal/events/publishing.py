"""Writing events: numbered per user in the transaction of the change, woken after its commit."""

from __future__ import annotations

import uuid
from collections import defaultdict

from django.db import transaction

from portal import clock
from portal.events.wake import wake
from portal.sql import execute

# The number is taken by an UPDATE that locks the user's stream until commit: numbers come in commit order without
# holes, which ids taken at INSERT do not (a reader that saw 2 would never see a 1 committed later).
_TAKE_NUMBERS = """
    INSERT INTO portal_eventstream (user_id, last_id) VALUES (%s, %s)
    ON CONFLICT (user_id) DO UPDATE SET last_id = portal_eventstream.last_id + excluded.last_id
    RETURNING last_id
"""

_WRITE = "INSERT INTO portal_event (user_id, number, type, object_id, at) VALUES "
# Values of 1,000 events: far below the parameters either database takes in one statement.
_BATCH = 5 * 1000


class News:
    """What a service has to tell. Collected while it works, written last and in user-id order, so nothing deadlocks."""

    def __init__(self) -> None:
        self._entries: dict[uuid.UUID, list[tuple[str, uuid.UUID]]] = defaultdict(list)

    def add(self, user_id: uuid.UUID | None, type: str, object_id: uuid.UUID) -> None:
        """Tell `user_id` (None: nobody) that `type` happened to an object; the same twice is told once."""
        if user_id is not None and (type, object_id) not in self._entries[user_id]:
            self._entries[user_id].append((type, object_id))

    def write(self) -> None:
        """Write the events. Must run inside the transaction of the change."""
        if not self._entries:
            return
        at, values = clock.now(), []
        for user_id in sorted(self._entries):
            entries = self._entries[user_id]
            first = _take_numbers(user_id, len(entries))
            for index, (type, object_id) in enumerate(entries):
                values += [user_id, first + index, type, object_id, at]
        for start in range(0, len(values), _BATCH):
            part = values[start : start + _BATCH]
            execute(_WRITE + ", ".join(["(%s, %s, %s, %s, %s)"] * (len(part) // 5)), part)
        topics = [f"user:{user_id}" for user_id in self._entries]
        transaction.on_commit(lambda: wake(*topics), robust=True)


def publish(user_id: uuid.UUID | None, type: str, object_id: uuid.UUID) -> None:
    """One event for one user. Must run inside the transaction of the change, as its last write."""
    news = News()
    news.add(user_id, type, object_id)
    news.write()


def _take_numbers(user_id: uuid.UUID, count: int) -> int:
    """The first of `count` new event numbers of the user."""
    last: int = execute(_TAKE_NUMBERS, [user_id, count])[0][0]
    return last - count + 1
