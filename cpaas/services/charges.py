"""The monthly charges: which number which user had, under which licence and for how many days (S4.6).

Days are those of the system provider's time zone. Each day begun counts, for every user who had the number on it; the
totals count a day of a number once. A month that is not over is charged up to today.
"""

from __future__ import annotations

import calendar
import re
import uuid
import zoneinfo
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.db.models import Q

from cpaas.models import NumberAssignment
from portal import clock
from portal.csv_export import csv_line
from portal.models import PortalAccount, SystemProvider
from portal.problems import invalid
from portal.scoping import Actor, TenantQuerySet

# Between the first and the last place on earth where it is the same day.
_ALL_ZONES = timedelta(hours=14)
_CHUNK = 2000
CSV_COLUMNS = ("number", "user", "login", "name", "licence", "from", "to", "days", "carrier")


@dataclass(frozen=True)
class Month:
    """A calendar month."""

    first: date

    @property
    def last(self) -> date:
        return self.first.replace(day=calendar.monthrange(self.first.year, self.first.month)[1])

    @property
    def previous(self) -> Month:
        return Month((self.first - timedelta(days=1)).replace(day=1))

    @property
    def next(self) -> Month:
        return Month(self.last + timedelta(days=1))

    def __str__(self) -> str:
        return f"{self.first:%Y-%m}"


@dataclass(frozen=True)
class Charge:
    """A part of a month during which a user had a number. `is_running`: has it still."""

    number: str
    user_id: uuid.UUID
    login: str
    name: str
    licence: str
    first: date
    last: date
    is_running: bool
    carrier: str
    system_provider_id: uuid.UUID

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


@dataclass
class Totals:
    """What a month comes to. A number that two users had, or under two licences, counts once, but for each licence."""

    numbers: int = 0
    days: int = 0
    licences: Counter[str] = field(default_factory=Counter)
    carriers: Counter[str] = field(default_factory=Counter)


def month_of(text: str) -> Month:
    """`2026-11` as a month. Raises Problem `invalid`."""
    if re.fullmatch(r"2[0-9]{3}-(0[1-9]|1[0-2])", text, re.ASCII):
        return Month(date.fromisoformat(f"{text}-01"))
    raise invalid(month="Give a month such as 2026-11.")


def this_month(actor: PortalAccount, system_provider_id: uuid.UUID | None = None) -> Month:
    """The month it is where the actor's system provider is; for operators, where that of the id is, else in UTC."""
    provider_id = actor.system_provider_id or system_provider_id
    zone = _zone_of(provider_id) if provider_id else zoneinfo.ZoneInfo("UTC")
    return Month(clock.now().astimezone(zone).date().replace(day=1))


def assignments_in(actor: Actor, month: Month, system_provider_id: uuid.UUID | None = None) -> TenantQuerySet:  # type: ignore[type-arg]
    """The assignments that may touch the month in some time zone; `charges_of` tells which really do."""
    rows = NumberAssignment.objects.visible_to(actor)
    if system_provider_id is not None:
        rows = rows.filter(system_provider_id=system_provider_id)
    begins = datetime.combine(month.first, datetime.min.time(), zoneinfo.ZoneInfo("UTC"))
    ends = datetime.combine(month.last, datetime.max.time(), zoneinfo.ZoneInfo("UTC"))
    still = Q(ended_at=None) | Q(ended_at__gte=begins - _ALL_ZONES)
    return rows.filter(still, started_at__lte=ends + _ALL_ZONES)


def charges_of(rows: Iterable[NumberAssignment], month: Month) -> Iterator[Charge]:
    """What the assignments cost in the month, in their order."""
    zones: dict[uuid.UUID, zoneinfo.ZoneInfo] = {}
    now = clock.now()
    for row in rows:
        zone = zones.get(row.system_provider_id)
        if zone is None:
            zone = zones[row.system_provider_id] = _zone_of(row.system_provider_id)
        charge = _charge(row, month, zone, now)
        if charge is not None:
            yield charge


def bill(actor: Actor, month: Month, system_provider_id: uuid.UUID | None = None) -> Iterator[Charge]:
    """The whole month, by number."""
    rows = assignments_in(actor, month, system_provider_id).order_by("tn", "id")
    return charges_of(rows.iterator(chunk_size=_CHUNK), month)


def total(charges: Iterable[Charge]) -> Totals:
    """The sums of a bill, which comes by number."""
    totals = Totals()
    number, licences, last_days = "", set[str](), dict[uuid.UUID, date]()
    for charge in charges:
        if charge.number != number:
            number, licences, last_days = charge.number, set(), {}
        last = last_days.get(charge.system_provider_id)
        if last is None:
            totals.numbers += 1
            totals.carriers[charge.carrier] += 1
        if charge.licence not in licences:
            totals.licences[charge.licence] += 1
            licences.add(charge.licence)
        totals.days += charge.days - (1 if last == charge.first else 0)
        last_days[charge.system_provider_id] = charge.last
    return totals


def bill_as_csv(charges: Iterable[Charge]) -> Iterator[str]:
    """The bill as lines of CSV, with a heading."""
    yield csv_line(CSV_COLUMNS)
    for charge in charges:
        person = (charge.user_id, charge.login, charge.name, charge.licence)
        yield csv_line((charge.number, *person, charge.first, charge.last, charge.days, charge.carrier))


def _charge(row: NumberAssignment, month: Month, zone: zoneinfo.ZoneInfo, now: datetime) -> Charge | None:
    is_running = row.ended_at is None
    # What ends at midnight has nothing of the new day.
    until = now if row.ended_at is None else max(row.ended_at - timedelta(microseconds=1), row.started_at)
    first = max(row.started_at.astimezone(zone).date(), month.first)
    last = min(until.astimezone(zone).date(), month.last)
    if first > last:
        return None
    return Charge(
        row.tn,
        row.user_id,
        row.user_login,
        row.user_name,
        row.licence,
        first,
        last,
        is_running,
        row.carrier,
        row.system_provider_id,
    )


def _zone_of(system_provider_id: uuid.UUID) -> zoneinfo.ZoneInfo:
    """That of a provider; of one that is gone, UTC."""
    found = SystemProvider.objects.filter(pk=system_provider_id).values_list("time_zone", flat=True).first()
    return zoneinfo.ZoneInfo(found or "UTC")
