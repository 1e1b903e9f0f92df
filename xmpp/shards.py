"""A bridge's share of the accounts: shards under leases, taken and given so that all bridges have about as many."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable

from django.conf import settings

from portal.residents import in_database
from portal.residents.keeper import LeaseKeeper
from xmpp.services import members
from xmpp.services.ownership import shard_lease


class Shards:
    """Those of one bridge. `on_lost(shard)` must end at once all that is done for it, `give_up(shard)` in order."""

    def __init__(
        self, holder: str, *, on_lost: Callable[[int], None], give_up: Callable[[int], Awaitable[None]]
    ) -> None:
        self.held: set[int] = set()
        self.keeper = LeaseKeeper(holder, settings.LEASE_TTL_S)
        self._on_lost, self._give_up = on_lost, give_up

    def holds(self, slot: int) -> bool:
        """Whether we may act for accounts of this slot at this moment; true even right after the process slept."""
        return self.keeper.holds(shard_lease(shard_of(slot)))

    async def share(self) -> None:
        """Give what is more than our share, take what is free up to it. Raises DatabaseError."""
        living = await in_database(members.sign_of_life, self.keeper.holder, settings.LEASE_TTL_S)
        share = math.ceil(settings.XMPP_SHARDS / max(living, 1))
        for shard in sorted(self.held, reverse=True)[: max(len(self.held) - share, 0)]:
            self.held.discard(shard)
            await self._give_up(shard)
            await self.keeper.release(shard_lease(shard))
        missing = share - len(self.held)
        if missing > 0:
            free = await in_database(members.free_shards)
            for shard in random.sample(free, min(missing, len(free))):
                await self._take(shard)

    async def release_all(self) -> None:
        """Let others have them, and be gone. With the database away the leases run out by themselves."""
        for shard in list(self.held):
            await self.keeper.release(shard_lease(shard))
        await in_database(members.sign_off, self.keeper.holder)

    async def _take(self, shard: int) -> None:
        if await self.keeper.acquire(shard_lease(shard), lambda: self._lose(shard)) is not None:
            self.held.add(shard)

    def _lose(self, shard: int) -> None:
        self.held.discard(shard)
        self._on_lost(shard)


def shard_of(slot: int) -> int:
    return slot % int(settings.XMPP_SHARDS)
