"""Which worker's bridge acts for an account: a lease for each shard, by the holder's name (architecture section 6)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import connection

from portal import clock
from portal.sql import execute_for

LEASE_PREFIX = "xmpp-shard:"


def shard_lease(shard: int) -> str:
    return f"{LEASE_PREFIX}{shard}"


# A condition on `a`, an account: the holder has the lease of its shard. Stands in the WHERE of whatever a bridge
# changes, so that one that slept through its lease changes nothing. No other process has the holder's name, so one that
# lost the lease and has it again acts for itself. Its values are those of `held_values`, by name.
HELD_SQL = """EXISTS (
    SELECT 1 FROM portal_lease l
    WHERE l.name = %(prefix)s || CAST(a.slot %% %(shards)s AS text) AND l.holder = %(holder)s AND l.deadline >= %(now)s
)"""


_LOCK = "SELECT user_id FROM xmpp_impaccount WHERE user_id {among} ORDER BY user_id FOR NO KEY UPDATE"


def lock_accounts(account_ids: Collection[uuid.UUID]) -> None:
    """Nobody else writes these accounts until the caller's transaction ends. Always in the order of their ids, so that
    no two wait for each other."""
    if account_ids and connection.vendor == "postgresql":
        execute_for(_LOCK, list(account_ids), {})


def held_values(holder: str) -> dict[str, Any]:
    return {"prefix": LEASE_PREFIX, "shards": settings.XMPP_SHARDS, "holder": holder, "now": clock.now()}
