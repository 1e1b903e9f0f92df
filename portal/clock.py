"""What time it is by the database's clock, so that machines need not agree.

Each process hears the time from the database now and then, and between goes on by a clock that nobody sets. A machine
whose own clock is wrong, or jumps, so expires, purges and schedules nothing too early or too late. SQLite lies on the
machine itself, whose clock is then the only one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, overload

import psycopg
from django.db import Error as DatabaseError
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver
from django.utils import timezone

HEARD_FOR_S = 60
# Also goes on while the machine sleeps; where there is none such, the next best.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True)
class _Heard:
    """What the database said, and the steady clock's seconds then."""

    time: datetime
    at: float


_heard: _Heard | None = None


def now() -> datetime:
    """Use it for everything that is stored, or compared with what is stored. Not on an event loop's thread.

    With the database away it goes on from what was heard last; before that there is only the machine's own clock.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    try:
        if _heard is None:
            connection.ensure_connection()
        elif time.clock_gettime(_STEADY) - _heard.at > HEARD_FOR_S:
            _hear(connection)
    except (DatabaseError, psycopg.Error):
        pass  # whoever asks for the time is about to find out
    if _heard is None:
        return timezone.now()
    return _heard.time + timedelta(seconds=time.clock_gettime(_STEADY) - _heard.at)


@receiver(connection_created)
def _hear_from_new(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if connection.vendor == "postgresql":
        _hear(connection)


def _hear(source: BaseDatabaseWrapper) -> None:
    """Past Django's cursor: this is no query of whoever is counted or logged."""
    global _heard
    if source.connection is None:
        return
    at = time.clock_gettime(_STEADY)
    [seconds] = source.connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
    _heard = _Heard(datetime.fromtimestamp(float(seconds), UTC), at)


@overload
def iso(at: datetime) -> str: ...
@overload
def iso(at: None) -> None: ...
def iso(at: datetime | None) -> str | None:
    """A time as the API and its events write it: UTC, whole seconds, `Z`."""
    return f"{at.astimezone(UTC).isoformat(timespec='seconds')[:19]}Z" if at else None
