"""Leases: who may act under a name. Every statement decides by the database's clock, so machines need not agree.

A lease is taken, prolonged and given back by one UPDATE each. `epoch` grows with each holder; whoever acts under a
lease puts `still_held(name, epoch)` into the WHERE of what it writes, so that a holder that slept changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.db.models import Exists, F, Q
from django.db.models.functions import Now
from django.utils import timezone

from portal.models import Lease


def acquire(name: str, holder: str, ttl_s: float) -> int | None:
    """The new epoch when the lease was free or overdue, None while another holds it."""
    free = Lease.objects.filter(Q(holder="") | Q(deadline__lt=Now()), name=name)
    if not free.exists():
        if Lease.objects.filter(name=name).exists():
            return None
        Lease.objects.bulk_create([Lease(name=name, deadline=timezone.now())], ignore_conflicts=True)
    deadline = Now() + timedelta(seconds=ttl_s)
    if not free.update(holder=holder, epoch=F("epoch") + 1, deadline=deadline, held_since=Now()):
        return None
    return Lease.objects.filter(name=name, holder=holder).values_list("epoch", flat=True).first()


def renew(names: Collection[str], holder: str, ttl_s: float) -> dict[str, int]:
    """Prolong the holder's leases that are not overdue; returns the epochs of those it still has, by name."""
    own = Lease.objects.filter(name__in=names, holder=holder, deadline__gte=Now())
    own.update(deadline=Now() + timedelta(seconds=ttl_s))
    return dict(own.values_list("name", "epoch"))


def release(name: str, holder: str, epoch: int) -> None:
    """Give a lease back, so that another may take it at once. Harmless when it is no longer ours."""
    Lease.objects.filter(name=name, holder=holder, epoch=epoch).update(holder="", deadline=Now())


def still_held(name: str, epoch: int) -> Exists:
    """A condition for filters and updates: the lease is held in this epoch and not overdue."""
    return Exists(Lease.objects.filter(living(), name=name, epoch=epoch))


def living() -> Q:
    """A condition on leases: somebody holds it now."""
    return Q(deadline__gte=Now()) & ~Q(holder="")
