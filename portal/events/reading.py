"""What streams read from the database: events after a cursor, rendered, and whether the device may still listen.

Runs in the hub's few threads, for many streams at a time.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from django.db import DatabaseError, connection
from django.db.models import BooleanField, ExpressionWrapper, OuterRef, Q, Subquery
from django.utils import timezone

from portal import clock
from portal.events import live
from portal.events.departures import why_gone
from portal.events.live import LiveState
from portal.events.rendering import Told, Viewer, render
from portal.logs import get_logger
from portal.models import Device, EventStream
from portal.services import tokens
from portal.sql import as_time, as_uuid, execute, id_array

BATCH = 200
# Whoever is further behind starts anew: fetching the lists is cheaper than replaying this much.
MAX_BACKLOG = 10_000
# A user's id, and the number of the last event that was told.
Cursor = tuple[uuid.UUID, int]
logger = get_logger(__name__)
# Making its encoder anew would take longer than encoding an event.
compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a stream asks: the events of its user after number `after`, and what is live and different from what it was
    `told` (None: nothing live)."""

    device_id: uuid.UUID
    user_id: uuid.UUID
    after: int
    told: LiveState | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One event as it goes out: its number (None: not stored), type, and `data` as one line of JSON."""

    number: int | None
    type: str
    json: str


@dataclass(frozen=True)
class Reading:
    """What a stream is told. `last` is its new cursor; `bye` and `failed` end it; `reset` is the reason of one.

    `keep_alive`: nothing was read, the stream just should not fall silent. `told`: what the stream has been told of
    what is live, if it asked.
    """

    last: int
    lines: list[Line] = field(default_factory=list)
    more: bool = False
    reset: str | None = None
    bye: str | None = None
    failed: bool = False
    keep_alive: bool = False
    told: LiveState | None = None

    @cached_property
    def frames(self) -> bytes:
        """As it goes out on a stream; made once for all streams that are told the same."""
        if self.keep_alive:
            return b": keep-alive\n\n"
        if self.reset:
            return frame(line("reset", {"reason": self.reset}, number=self.last))
        if self.bye:
            return frame(line("bye", {"reason": self.bye}))
        return b"".join(map(frame, self.lines))


@dataclass(slots=True, eq=False)
class Listener:
    """What is read of the user of a device that may listen, once per reading: models would cost most of its time."""

    pk: uuid.UUID
    group_id: uuid.UUID
    system_provider_id: uuid.UUID
    newest: int
    is_active: bool = True
    actor_level: str = "user"
    may_write: bool = True

    @property
    def actor_scope_id(self) -> uuid.UUID:
        return self.pk


class _Event(NamedTuple):
    number: int
    type: str
    object_id: uuid.UUID
    at: datetime


def stamp(at: datetime | None = None) -> str:
    return clock.iso(at or timezone.now())


def line(type: str, data: dict[str, Any], number: int | None = None) -> Line:
    """An event that is not a stored one, such as `bye`."""
    return _line({"id": number, "type": type, "at": stamp(), "data": data})


def frame(line: Line) -> bytes:
    number = "" if line.number is None else f"id: {line.number}\n"
    return f"{number}event: {line.type}\ndata: {line.json}\n\n".encode()


def open_device(plain: str) -> tuple[uuid.UUID, uuid.UUID, int, bool]:
    """Device, user and newest event number behind a token, and whether its user has something live. Raises Problem
    (401)."""
    device = tokens.device_of_token(plain)
    newest = EventStream.objects.filter(pk=device.user_id).values_list("last_id", flat=True).first()
    return device.pk, device.user_id, newest or 0, bool(live.listening({device.user_id}))


def read(wanted: Sequence[Wanted]) -> list[Reading]:
    """What each of `wanted` gets, in its order, in as many queries as for one."""
    devices = _devices({item.device_id for item in wanted})
    users = {user.pk: user for user in devices.values() if isinstance(user, Listener)}
    cursors = {(item.user_id, item.after) for item in wanted if item.user_id in users}
    events = _events_after({cursor for cursor in cursors if users[cursor[0]].newest > cursor[1]})
    lines = _lines(users, events)
    readings = {cursor: _reading(cursor, users[cursor[0]].newest, events.get(cursor, []), lines) for cursor in cursors}
    found = [
        Reading(item.after, bye=device)
        if isinstance(device := devices[item.device_id], str)
        else readings[item.user_id, item.after]
        for item in wanted
    ]
    return _with_live(wanted, found, users)


def _with_live(wanted: Sequence[Wanted], readings: list[Reading], users: Mapping[uuid.UUID, Listener]) -> list[Reading]:
    """The readings with what is live added to those of streams that asked for it and go on."""
    asked = [
        n
        for n, item in enumerate(wanted)
        if item.told is not None and not (readings[n].bye or readings[n].failed or readings[n].reset)
    ]
    if asked:
        found = live.news([(users[wanted[n].user_id], wanted[n].told or {}) for n in asked])
        for n, news in zip(asked, found, strict=True):
            lines = [*readings[n].lines, *(line(type, data) for type, data in news.events)]
            readings[n] = replace(readings[n], lines=lines, told=news.told)
    return readings


def newest_of(user_ids: set[uuid.UUID]) -> dict[uuid.UUID, int]:
    """The newest event number of each user; one without events is left out."""
    return dict(EventStream.objects.filter(pk__among=user_ids).values_list("user_id", "last_id"))


def gone_devices(device_ids: set[uuid.UUID]) -> set[uuid.UUID]:
    """Those that may not listen any more."""
    alive = Device.objects.filter(pk__among=device_ids, expires_at__gt=clock.now(), user__is_active=True)
    return device_ids - set(alive.values_list("pk", flat=True))


# Its columns are in no index, so the row is changed in place.
_HEARD = """
    UPDATE portal_device SET heard_number = heard.number, heard_at = %s
    FROM (SELECT * FROM unnest(%s::uuid[], %s::bigint[])) AS heard (device_id, number)
    WHERE portal_device.id = heard.device_id AND portal_device.heard_number < heard.number
"""


def note_heard(heard: Mapping[uuid.UUID, int]) -> None:
    """Note the last event that each of these devices was sent; of two notes the later event counts."""
    now = clock.now()
    if connection.vendor == "postgresql":
        execute(_HEARD, [now, id_array(heard), list(heard.values())])
        return
    for device_id, number in heard.items():
        Device.objects.filter(pk=device_id, heard_number__lt=number).update(heard_number=number, heard_at=now)


def _devices(device_ids: set[uuid.UUID]) -> dict[uuid.UUID, Listener | str]:
    """The user of each device, or the reason why it may not listen any more."""
    found: dict[uuid.UUID, Listener | str] = {}
    users: dict[uuid.UUID, Listener] = {}
    valid = ExpressionWrapper(Q(expires_at__gt=clock.now()), BooleanField())
    newest = Subquery(EventStream.objects.filter(pk=OuterRef("user_id")).values("last_id"))
    rows = Device.objects.filter(pk__among=device_ids)
    for device_id, user_id, group_id, provider_id, is_active, is_valid, number in rows.values_list(
        "pk", "user_id", "user__group_id", "user__system_provider_id", "user__is_active", valid, newest
    ):
        if not is_active:
            found[device_id] = "revoked"
        elif not is_valid:
            found[device_id] = "expired"
        else:
            user = users.get(user_id) or Listener(user_id, group_id, provider_id, number or 0)
            found[device_id] = users.setdefault(user_id, user)
    return found | {key: why_gone(key) for key in device_ids - found.keys()}


# Numbers have no holes, so a range is a limit.
_AFTER = """
    WITH wanted (user_id, after) AS ({wanted})
    SELECT wanted.user_id, wanted.after, e.number, e.type, e.object_id, e.at
    FROM wanted JOIN portal_event e
      ON e.user_id = wanted.user_id AND e.number > wanted.after AND e.number <= wanted.after + %s
    ORDER BY e.number
"""


def _events_after(cursors: set[Cursor]) -> dict[Cursor, list[_Event]]:
    """At most BATCH events after each cursor, all in one query."""
    if not cursors:
        return {}
    if connection.vendor == "postgresql":
        wanted = "SELECT * FROM unnest(%s::uuid[], %s::bigint[])"
        user_ids, numbers = zip(*cursors, strict=True)
        values: list[Any] = [id_array(user_ids), list(numbers)]
    else:
        wanted = f"VALUES {', '.join(['(%s, %s)'] * len(cursors))}"
        values = [value for cursor in cursors for value in cursor]
    found: dict[Cursor, list[_Event]] = {}
    for user_id, after, number, type, object_id, at in execute(_AFTER.format(wanted=wanted), [*values, BATCH]):
        event = _Event(number, type, as_uuid(object_id), as_time(at))
        found.setdefault((as_uuid(user_id), after), []).append(event)
    return found


def _lines(users: Mapping[uuid.UUID, Viewer], events: Mapping[Cursor, Sequence[Told]]) -> dict[Cursor, Line]:
    """The line of each event, by user and number; missing where it cannot be shown."""
    told: dict[Viewer, dict[int, Told]] = {}
    for (user_id, _), found in events.items():
        told.setdefault(users[user_id], {}).update({event.number: event for event in found})
    of_user = {user: list(found.values()) for user, found in told.items()}
    try:
        rendered = render(of_user)
    except DatabaseError:
        raise
    except Exception:
        # One user's event that cannot be shown must not silence the others.
        rendered = _render_each(of_user)
    return {(user_id, entry["id"]): _line(entry) for user_id, entries in rendered.items() for entry in entries}


def _render_each(events: Mapping[Viewer, Sequence[Told]]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    found: dict[uuid.UUID, list[dict[str, Any]]] = {}
    for user, told in events.items():
        try:
            found |= render({user: told})
        except DatabaseError:
            raise
        except Exception:
            logger.exception("event_not_rendered", user=str(user.pk), after=told[0].number - 1)
    return found


def _reading(cursor: Cursor, newest: int, events: Sequence[Told], lines: Mapping[Cursor, Line]) -> Reading:
    user_id, after = cursor
    if after > newest:
        return Reading(newest, reset="ahead")
    if after == newest:
        return Reading(after)
    if not events or events[0].number != after + 1:
        return Reading(newest, reset="too_old")
    if newest - after > MAX_BACKLOG:
        return Reading(newest, reset="overflow")
    found = [lines[user_id, event.number] for event in events if (user_id, event.number) in lines]
    if len(found) < len(events):
        return Reading(after, failed=True)
    last = events[-1].number
    return Reading(last, found, more=newest > last)


def _line(entry: dict[str, Any]) -> Line:
    return Line(entry["id"], entry["type"], compact(entry))
