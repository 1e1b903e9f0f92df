"""The bridges that run now, and the shards nobody has: what each needs to know for its fair share."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from portal.models import Lease
from portal.residents.leases import living
from xmpp.services.ownership import LEASE_PREFIX, shard_lease

_MEMBER = "xmpp-bridge:"


def sign_of_life(holder: str, ttl_s: float) -> int:
    """`holder` is there; returns how many bridges are."""
    deadline = Now() + timedelta(seconds=ttl_s)
    mine = Lease.objects.filter(name=_MEMBER + holder)
    if not mine.update(deadline=deadline):
        Lease.objects.bulk_create(
            [Lease(name=_MEMBER + holder, holder=holder, deadline=timezone.now(), held_since=timezone.now())],
            ignore_conflicts=True,
        )
        mine.update(deadline=deadline)
        Lease.objects.filter(name__startswith=_MEMBER, deadline__lt=Now() - timedelta(hours=1)).delete()
    return Lease.objects.filter(living(), name__startswith=_MEMBER).count()


def sign_off(holder: str) -> None:
    Lease.objects.filter(name=_MEMBER + holder).delete()


def free_shards() -> list[int]:
    """Those that nobody acts for."""
    return _shards_without(living())


def abandoned_shards() -> frozenset[int]:
    """Those that nobody has acted for since longer than a lease lasts. Another bridge would have taken them by then: so
    there is none, and nobody is left to say how the sessions stand."""
    return frozenset(_shards_without(Q(deadline__gte=Now() - timedelta(seconds=settings.LEASE_TTL_S))))


def _shards_without(lease: Q) -> list[int]:
    found = set(Lease.objects.filter(lease, name__startswith=LEASE_PREFIX).values_list("name", flat=True))
    return [shard for shard in range(settings.XMPP_SHARDS) if shard_lease(shard) not in found]
