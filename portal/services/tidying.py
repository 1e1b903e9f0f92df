"""Dropping what is past its time, in batches, so that no other writer waits long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import QuerySet

from portal import clock
from portal.models import Device, Event, FoundName, IdempotencyKey, OutgoingMail, StaffToken

BATCH = 1000
IDEMPOTENCY_KEPT = timedelta(hours=24)
# So long a client that comes back still hears `token_expired`.
TOKENS_KEPT = timedelta(days=30)
MAILS_KEPT = timedelta(days=90)
# So long what a directory said is kept for its number to be seen again.
NAMES_KEPT = timedelta(days=7)


def tidy_portal() -> dict[str, int]:
    """Drop old events, idempotency keys and mails, expired tokens and sessions; returns how many rows of each."""
    now = clock.now()
    return {
        "events": _delete(Event.objects.filter(at__lt=now - timedelta(days=settings.EVENT_DAYS))),
        "idempotency_keys": _delete(IdempotencyKey.objects.filter(created_at__lt=now - IDEMPOTENCY_KEPT)),
        "devices": _delete(Device.objects.filter(expires_at__lt=now - TOKENS_KEPT)),
        "staff_tokens": _delete(StaffToken.objects.filter(expires_at__lt=now - TOKENS_KEPT)),
        "sessions": _delete(Session.objects.filter(expire_date__lt=now)),
        "found_names": _delete(FoundName.objects.filter(expires_at__lt=now - NAMES_KEPT)),
        "mails": _delete(OutgoingMail.objects.filter(created_at__lt=now - MAILS_KEPT).exclude(state="queued")),
    }


def _delete(rows: QuerySet[Any]) -> int:
    total = 0
    while keys := list(rows.order_by().values_list("pk", flat=True)[:BATCH]):
        rows.model._default_manager.filter(pk__in=keys).delete()
        total += len(keys)
    return total
