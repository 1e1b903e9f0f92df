"""Spending limits against a stolen token or a runaway client: so many segments a minute and a day (R39).

Counted when a text is accepted, over all nodes, in its transaction. A number's row is kept by the number's lock. A
platform's, which only a platform with a limit of its own has, is locked after the number, and whoever holds it waits
for no number. How fast accepted texts go out is another matter (pacing.py).
"""

from __future__ import annotations

import math
import uuid
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from cpaas.models import CpaasNumber, SegmentUsage
from cpaas.services.limit_mail import alert_once
from portal import clock
from portal.problems import Problem
from portal.sql import execute, execute_planned, table_of

_MINUTE = timedelta(minutes=1)
_OPEN = """
    INSERT INTO cpaas_segmentusage (owner_id, day, segments, arrival_at) VALUES (%s, %s, 0, %s)
    ON CONFLICT (owner_id) DO NOTHING
"""
_COUNT = """
    WITH {rows}
    INSERT INTO cpaas_segmentusage (owner_id, day, segments, arrival_at)
    SELECT owner_id, day, segments, arrival_at FROM rows WHERE true
    ON CONFLICT (owner_id) DO UPDATE SET
        day = excluded.day, segments = excluded.segments, arrival_at = excluded.arrival_at
"""
_USAGE = {"owner_id": "uuid", "day": "date", "segments": "integer", "arrival_at": "timestamptz"}


@dataclass(frozen=True)
class _Limit:
    """How many segments may be accepted a minute and a day; None: any number. `whose` begins a sentence about it."""

    owner_id: uuid.UUID
    whose: str
    per_minute: int | None
    per_day: int | None


def spend_segments(*, number: CpaasNumber, segments: int) -> None:
    """Count a text of so many segments that is being accepted. Runs in its transaction, with the number locked.

    A minute's worth may come at once, after that one segment per minute / rate. Raises Problem `rate_limited` (429)
    with the seconds after which the same text would be taken.
    """
    spending = Spending([number])
    spending.spend(number=number, segments=segments)
    spending.write()


class Spending:
    """The segments of several texts that are accepted together, in their transaction and with their numbers locked:
    what was spent before is read once, what is spent now is written once."""

    def __init__(self, numbers: Sequence[CpaasNumber]) -> None:
        self._now = clock.now()
        limited = {number.platform_id: number for number in numbers if _per_platform(number) is not None}
        for _, number in sorted(limited.items()):
            _hold(number)
        self._limits = {number.pk: _limits(number) for number in numbers}
        owners = {limit.owner_id for limits in self._limits.values() for limit in limits}
        self._usage = SegmentUsage.objects.in_bulk(owners)
        self._spent: set[uuid.UUID] = set()

    def spend(self, *, number: CpaasNumber, segments: int) -> None:
        """As `spend_segments`, but for the writing. When it raises, nothing is counted."""
        for usage in [self._after(limit, number, segments) for limit in self._limits[number.pk]]:
            self._usage[usage.owner_id] = usage
            self._spent.add(usage.owner_id)

    def write(self) -> None:
        rows = [self._usage[key] for key in sorted(self._spent)]
        table, values = table_of("rows", _USAGE, [tuple(getattr(row, name) for name in _USAGE) for row in rows])
        execute_planned(_COUNT.format(rows=table), values)

    def _after(self, limit: _Limit, number: CpaasNumber, segments: int) -> SegmentUsage:
        """What is spent with so many segments more. Raises Problem `rate_limited`."""
        usage, now = self._usage.get(limit.owner_id), self._now
        today = day_of(number, now)
        spent = usage.segments if usage and usage.day == today else 0
        arrival = max(usage.arrival_at, now) if usage else now
        if limit.per_day is not None and spent + segments > limit.per_day:
            wait = _midnight_after(today, number) - now
            raise _limited(limit, number, f"has sent {spent} of {limit.per_day} segments of today", wait)
        if limit.per_minute is not None:
            step = _MINUTE / limit.per_minute
            if arrival - now > _MINUTE - step:
                wait = arrival - now - (_MINUTE - step)
                raise _limited(limit, number, f"may send {limit.per_minute} segments a minute", wait)
            arrival += segments * step
        return SegmentUsage(owner_id=limit.owner_id, day=today, segments=spent + segments, arrival_at=arrival)


def day_of(number: CpaasNumber, at: datetime) -> date:
    """The day in which `at` lies for whoever pays: the system provider."""
    return at.astimezone(_zone(number)).date()


def _limits(number: CpaasNumber) -> list[_Limit]:
    platform = number.platform
    found = [
        _Limit(
            number.pk,
            "This number",
            platform.option("per_number_per_minute"),
            platform.option("per_number_per_day"),
        )
    ]
    per_day = _per_platform(number)
    if per_day is not None:
        found.append(_Limit(platform.pk, "Your provider's account at the carrier", None, per_day))
    return found


def _per_platform(number: CpaasNumber) -> int | None:
    per_day: int | None = number.platform.option("per_platform_per_day")
    return per_day


def _hold(number: CpaasNumber) -> None:
    """Keep the row of a number's platform, whose texts are accepted side by side, until commit."""
    now = clock.now()
    execute(_OPEN, [number.platform_id, day_of(number, now), now])
    list(SegmentUsage.objects.select_for_update().filter(pk=number.platform_id))


def _limited(limit: _Limit, number: CpaasNumber, what: str, wait: timedelta) -> Problem:
    seconds = max(1, math.ceil(wait.total_seconds()))
    sentence = f"{limit.whose} {what}."
    return Problem(
        "rate_limited",
        f"{sentence} Try again in {_in_words(seconds)}.",
        status=429,
        retry_after_s=seconds,
        afterwards=lambda: alert_once(number.pk, f"{sentence} Further texts were refused."),
    )


def _in_words(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} second{'' if seconds == 1 else 's'}"
    return f"{math.ceil(seconds / 60)} minutes"


def _midnight_after(day: date, number: CpaasNumber) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), _zone(number))


def _zone(number: CpaasNumber) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(number.platform.system_provider.time_zone)
