"""Counting texts by the hour, and reading the counts by the day.

Counting stands beside the messages, not in the transactions that write them: inbound texts and sends pay nothing for
it. An hour is counted anew as long as receipts may still change it; counting twice, late or in parallel is harmless.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import TruncHour

from cpaas.models import Message, TrafficHour
from cpaas.models.traffic import EVERYBODY
from cpaas.states import MessageStatus
from portal import clock
from portal.scoping import Actor, TenantQuerySet

HOUR = timedelta(hours=1)
NOT_DELIVERED = (MessageStatus.FAILED, MessageStatus.UNDELIVERED)
# The last look-up of a text of unknown fate comes after a day, its receipt some time later (R32).
_SETTLED_AFTER = timedelta(hours=50)
# How far back a new installation of an old database counts.
_FIRST = timedelta(days=32)
_AT_ONCE = timedelta(hours=24)
_BATCH = 1_000
# How long staff are told of texts that did not arrive.
LATELY = timedelta(days=1)


@dataclass
class Counts:
    """Texts received, sent and failed."""

    received: int = 0
    sent: int = 0
    failed: int = 0

    def add(self, other: Counts | TrafficHour) -> None:
        self.received += other.received
        self.sent += other.sent
        self.failed += other.failed

    @property
    def total(self) -> int:
        return self.received + self.sent + self.failed


def count_recent() -> None:
    """Count this hour and the one before."""
    now = clock.now()
    count_hours(now - HOUR, now)


def count_unsettled() -> None:
    """Count every hour that may have changed since it was counted, or that nobody counted while workers were away."""
    now = clock.now()
    newest = TrafficHour.objects.filter(scope_id=EVERYBODY).order_by("-hour").values_list("hour", flat=True).first()
    since = min(newest or now - _FIRST, now - _SETTLED_AFTER)
    while since <= now:
        count_hours(since, min(since + _AT_ONCE, now))
        since += _AT_ONCE


def count_hours(since: datetime, until: datetime) -> None:
    """Count the hours from that of `since` to that of `until`, for each tenant that had texts."""
    begin, end = _hour_of(since), _hour_of(until) + HOUR
    found: dict[tuple[uuid.UUID, datetime], Counts] = defaultdict(Counts, {(EVERYBODY, end - HOUR): Counts()})
    for hour, *scopes, received, sent, failed in _count(begin, end).iterator():
        for scope_id in (*scopes, EVERYBODY):
            found[scope_id, hour].add(Counts(received, sent, failed))
    # In one order, so that two counting at once do not wait for each other.
    counted = [
        TrafficHour(scope_id=scope_id, hour=hour, received=each.received, sent=each.sent, failed=each.failed)
        for (scope_id, hour), each in sorted(found.items())
    ]
    with transaction.atomic():
        TrafficHour.objects.filter(hour__gte=begin, hour__lt=end).delete()
        TrafficHour.objects.bulk_create(
            counted,
            batch_size=_BATCH,
            update_conflicts=True,
            unique_fields=["scope_id", "hour"],
            update_fields=["received", "sent", "failed"],
        )


def _count(begin: datetime, end: datetime) -> QuerySet[Message, tuple[Any, ...]]:
    """Hour, ids of system provider, reseller and group, texts received, sent and not delivered."""
    not_delivered = Q(direction="out", status__in=NOT_DELIVERED)
    levels = ("number__system_provider_id", "number__reseller_id", "number__group_id")
    return (
        Message.objects.filter(created_at__gte=begin, created_at__lt=end)
        .order_by()
        .values_list(TruncHour("created_at", tzinfo=UTC), *levels)
        .annotate(
            received=Count("id", filter=Q(direction="in")),
            sent=Count("id", filter=Q(direction="out") & ~not_delivered),
            failed=Count("id", filter=not_delivered),
        )
    )


def traffic_by_day(*, actor: Actor, zone: tzinfo, days: int = 30, now: datetime | None = None) -> dict[date, Counts]:
    """The last `days` days up to today in `zone`, oldest first, of what `actor` sees; 24 rows a day at most.

    A zone that is not a whole number of hours from UTC has its days begin with the hour in which midnight lies.
    """
    today = (now or clock.now()).astimezone(zone).date()
    found = {today - timedelta(days=back): Counts() for back in range(days - 1, -1, -1)}
    begin = datetime.combine(min(found), datetime.min.time(), zone).astimezone(UTC)
    scope_id = actor.actor_scope_id or EVERYBODY
    for row in TrafficHour.objects.visible_to(actor).filter(scope_id=scope_id, hour__gte=begin):
        day = row.hour.astimezone(zone).date()
        if day in found:
            found[day].add(row)
    return found


def not_delivered_since(at: datetime) -> TenantQuerySet[Message]:
    """The texts sent since `at` that were refused or did not arrive."""
    return Message.objects.filter(created_at__gte=at, direction="out", status__in=NOT_DELIVERED)


def _hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
