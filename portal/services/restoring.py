"""After the database was put back to an earlier state: what the world outside has seen since is not forgotten."""

from __future__ import annotations

from django.db.models import F

from portal.models import EndUser, EventStream, Lease
from portal.problems import conflict
from portal.residents.leases import living

# More events than any user had between a backup and its restore, far below what JavaScript counts exactly.
LEAP = 1_000_000_000


def require_stopped(database: str = "default") -> None:
    """Raises Problem while a scheduler or a dispatcher shows a sign of life."""
    if Lease.objects.using(database).filter(living()).exists():
        raise conflict("still_running", "Stop all workers first: one of them still holds a lease.")


def leap_event_numbers() -> int:
    """Go on with event numbers that no client has seen yet; returns how many users there are.

    The numbers given out since the backup were lost with it. Given out again they would be skipped by clients that had
    seen them. After the leap every older cursor is told `reset`, and the client fetches its lists.
    """
    EventStream.objects.bulk_create(
        [EventStream(user_id=key) for key in EndUser.objects.values_list("pk", flat=True).iterator()],
        batch_size=1000,
        ignore_conflicts=True,
    )
    return EventStream.objects.update(last_id=F("last_id") + LEAP)
