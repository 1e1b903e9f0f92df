"""Writing events: numbered per user in the transaction of the change, woken after its commit."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping

from django.db import transaction

from portal import clock
from portal.events.wake import wake
from portal.sql import as_uuid, execute, execute_planned, table_of

# The number is taken by an UPDATE that locks the user's stream until commit: numbers come in commit order without
# holes, which ids taken at INSERT do not (a reader that saw 2 would never see a 1 committed later).
_TAKE_NUMBERS = """
    INSERT INTO portal_eventstream (user_id, last_id) VALUES {rows}
    ON CONFLICT (user_id) DO UPDATE SET last_id = portal_eventstream.last_id + excluded.last_id
    RETURNING user_id, last_id
"""

_WRITE = """
    WITH {rows} INSERT INTO portal_event (user_id, number, type, object_id, at)
    SELECT user_id, number, type, object_id, at FROM rows
"""
_COLUMNS = {"user_id": "uuid", "number": "bigint", "type": "text", "object_id": "uuid", "at": "timestamptz"}
# So many events, and as many users: far below the parameters either database takes in one statement.
_BATCH = 1000
_USERS = 1000


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
        users = sorted(self._entries)
        last: dict[uuid.UUID, int] = {}
        for start in range(0, len(users), _USERS):
            last |= _take_numbers({user: len(self._entries[user]) for user in users[start : start + _USERS]})
        at, rows = clock.now(), []
        for user_id in users:
            entries = self._entries[user_id]
            for number, (type, object_id) in enumerate(entries, last[user_id] + 1 - len(entries)):
                rows.append((user_id, number, type, object_id, at))
        for start in range(0, len(rows), _BATCH):
            table, values = table_of("rows", _COLUMNS, rows[start : start + _BATCH])
            execute_planned(_WRITE.format(rows=table), values)
        topics = [f"user:{user_id}" for user_id in self._entries]
        transaction.on_commit(lambda: wake(*topics), robust=True)


def publish(user_id: uuid.UUID | None, type: str, object_id: uuid.UUID) -> None:
    """One event for one user. Must run inside the transaction of the change, as its last write."""
    news = News()
    news.add(user_id, type, object_id)
    news.write()


def _take_numbers(counts: Mapping[uuid.UUID, int]) -> dict[uuid.UUID, int]:
    """So many new event numbers for each user, locked in the order given; returns the last of each."""
    rows = ", ".join(["(%s, %s)"] * len(counts))
    values = [value for pair in counts.items() for value in pair]
    return {as_uuid(user_id): last for user_id, last in execute(_TAKE_NUMBERS.format(rows=rows), values)}
