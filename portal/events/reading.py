"""What streams read from the database: events after a cursor, rendered, and whether the device may still listen.

Runs in the hub's few threads, for many streams at a time.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any

from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from portal import clock
from portal.events.departures import why_gone
from portal.events.rendering import render
from portal.logs import get_logger
from portal.models import Device, EndUser, Event, EventStream
from portal.services import tokens

BATCH = 200
# Whoever is further behind starts anew: fetching the lists is cheaper than replaying this much.
MAX_BACKLOG = 10_000
logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a stream asks: the events of its user after number `after`."""

    device_id: uuid.UUID
    user_id: uuid.UUID
    after: int


@dataclass(frozen=True, slots=True)
class Line:
    """One event as it goes out: its number (None: not stored), type, and `data` as one line of JSON."""

    number: int | None
    type: str
    json: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What a stream is told. `last` is its new cursor; `bye` and `failed` end it; `reset` is the reason of one."""

    last: int
    lines: list[Line] = field(default_factory=list)
    more: bool = False
    reset: str | None = None
    bye: str | None = None
    failed: bool = False


def stamp(at: datetime | None = None) -> str:
    return (at or timezone.now()).strftime("%Y-%m-%dT%H:%M:%SZ")


def line(type: str, data: dict[str, Any], number: int | None = None) -> Line:
    """An event that is not a stored one, such as `bye`."""
    return _line({"id": number, "type": type, "at": stamp(), "data": data})


def open_device(plain: str) -> tuple[uuid.UUID, uuid.UUID, int]:
    """Device, user and newest event number behind a token. Raises Problem (401)."""
    device = tokens.device_of_token(plain)
    newest = EventStream.objects.filter(pk=device.user_id).values_list("last_id", flat=True).first()
    return device.pk, device.user_id, newest or 0


def read(wanted: Sequence[Wanted]) -> list[Reading]:
    """What each of `wanted` gets, in its order."""
    devices = _devices({item.device_id for item in wanted})
    heads = newest_of({item.user_id for item in wanted})
    events = _events_after({(item.user_id, item.after) for item in wanted if heads.get(item.user_id, 0) > item.after})
    rendered: dict[tuple[uuid.UUID, int], Reading] = {}
    readings = []
    for item in wanted:
        device = devices.get(item.device_id)
        if isinstance(device, str):
            readings.append(Reading(item.after, bye=device))
            continue
        key = item.user_id, item.after
        if key not in rendered:
            assert device is not None
            rendered[key] = _reading(device, item.after, heads.get(item.user_id, 0), events.get(key, []))
        readings.append(rendered[key])
    return readings


def newest_of(user_ids: set[uuid.UUID]) -> dict[uuid.UUID, int]:
    """The newest event number of each user; one without events is left out."""
    return dict(EventStream.objects.filter(pk__in=user_ids).values_list("user_id", "last_id"))


def gone_devices(device_ids: set[uuid.UUID]) -> set[uuid.UUID]:
    """Those that may not listen any more."""
    alive = Device.objects.filter(pk__in=device_ids, expires_at__gt=clock.now(), user__is_active=True)
    return device_ids - set(alive.values_list("pk", flat=True))


def _devices(device_ids: set[uuid.UUID]) -> dict[uuid.UUID, EndUser | str]:
    """The user of each device, or the reason why it may not listen any more."""
    now = clock.now()
    found: dict[uuid.UUID, EndUser | str] = {}
    for device in Device.objects.filter(pk__in=device_ids).select_related("user__system_provider"):
        if not device.user.is_active:
            found[device.pk] = "revoked"
        else:
            found[device.pk] = device.user if device.expires_at > now else "expired"
    return found | {key: why_gone(key) for key in device_ids - found.keys()}


def _events_after(cursors: set[tuple[uuid.UUID, int]]) -> dict[tuple[uuid.UUID, int], list[Event]]:
    """At most BATCH events after each cursor, all in one query: numbers have no holes, so a range is a limit."""
    if not cursors:
        return {}
    ranges = [Q(user_id=user_id, number__gt=after, number__lte=after + BATCH) for user_id, after in cursors]
    rows = list(Event.objects.filter(reduce(or_, ranges)).order_by("user_id", "number"))
    of_user: dict[uuid.UUID, list[Event]] = {}
    for row in rows:
        of_user.setdefault(row.user_id, []).append(row)
    return {
        (user_id, after): [row for row in of_user.get(user_id, []) if after < row.number <= after + BATCH]
        for user_id, after in cursors
    }


def _reading(user: EndUser, after: int, newest: int, events: list[Event]) -> Reading:
    if after > newest:
        return Reading(newest, reset="ahead")
    if after == newest:
        return Reading(after)
    if not events or events[0].number != after + 1:
        return Reading(newest, reset="too_old")
    if newest - after > MAX_BACKLOG:
        return Reading(newest, reset="overflow")
    try:
        lines = [_line(entry) for entry in render(user, events)]
    except DatabaseError:
        raise
    except Exception:
        # One user's event that cannot be shown must not silence the others in this batch.
        logger.exception("event_not_rendered", user=str(user.pk), after=after)
        return Reading(after, failed=True)
    last = events[-1].number
    return Reading(last, lines, more=newest > last)


def _line(entry: dict[str, Any]) -> Line:
    return Line(entry["id"], entry["type"], json.dumps(entry, ensure_ascii=False, separators=(",", ":")))
