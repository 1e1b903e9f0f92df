"""Which worker's bridge acts for an account: a lease for each shard, by the holder's name (architecture section 6)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import CharField, Exists, F, IntegerField, OuterRef, Value
from django.db.models.functions import Cast, Concat, Mod

from portal import clock
from portal.models import Lease
from portal.residents.leases import living

LEASE_PREFIX = "xmpp-shard:"


def shard_lease(shard: int) -> str:
    return f"{LEASE_PREFIX}{shard}"


def held_by(holder: str, slot: str = "slot") -> Exists:
    """A condition: `holder` has the lease of the shard that this slot belongs to. Stands in the WHERE of whatever a
    bridge changes, so that one that slept through its lease changes nothing. `slot` names the column.

    No other process has the holder's name, so one that lost the lease and has it again acts for itself.
    """
    # SQLite's modulo of whole numbers is none.
    shard = Cast(Mod(OuterRef(slot), Value(settings.XMPP_SHARDS)), IntegerField())
    name = Concat(Value(LEASE_PREFIX), Cast(shard, CharField()))
    return Exists(Lease.objects.annotate(wanted=name).filter(living(), name=F("wanted"), holder=holder))


# The same for a statement in which `a` is the account; its values are those of `held_values`, by name.
HELD_SQL = """EXISTS (
    SELECT 1 FROM portal_lease l
    WHERE l.name = %(prefix)s || CAST(a.slot %% %(shards)s AS text) AND l.holder = %(holder)s AND l.deadline >= %(now)s
)"""


def held_values(holder: str) -> dict[str, Any]:
    return {"prefix": LEASE_PREFIX, "shards": settings.XMPP_SHARDS, "holder": holder, "now": clock.now()}
