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
            [Lease(name=_MEMBER + holder, holder=holder, deadline=timezone.now())], ignore_conflicts=True
        )
        mine.update(deadline=deadline)
        Lease.objects.filter(name__startswith=_MEMBER, deadline__lt=Now() - timedelta(hours=1)).delete()
    return Lease.objects.filter(living(), name__startswith=_MEMBER).count()


def sign_off(holder: str) -> None:
    Lease.objects.filter(name=_MEMBER + holder).delete()


def free_shards() -> list[int]:
    """Those that nobody acts for."""
    names = {shard_lease(shard): shard for shard in range(settings.XMPP_SHARDS)}
    taken = Lease.objects.filter(living(), Q(name__startswith=LEASE_PREFIX)).values_list("name", flat=True)
    return [shard for name, shard in names.items() if name not in set(taken)]
