"""Keeps the leases of one process: renews them, and ends by its own clock what it can no longer vouch for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from django.db import Error as DatabaseError

from portal.logs import get_logger
from portal.residents import leases
from portal.residents.database import in_database

logger = get_logger(__name__)


@dataclass
class _Held:
    epoch: int
    on_lost: Callable[[], None]
    end: asyncio.TimerHandle


class LeaseKeeper:
    """All leases of one holder. `on_lost` is called on the loop, at most once, and never after `release`.

    The deadline it keeps is counted from before its last successful renewal, so it always passes before the
    database's: with the database out of reach it ends the work before anybody else can take over.
    """

    def __init__(self, holder: str, ttl_s: float) -> None:
        self.holder = holder
        self.ttl_s = ttl_s
        self._held: dict[str, _Held] = {}

    async def acquire(self, name: str, on_lost: Callable[[], None]) -> int | None:
        """The epoch when the lease is ours now. Raises DatabaseError."""
        before = asyncio.get_running_loop().time()
        epoch = await in_database(leases.acquire, name, self.holder, self.ttl_s)
        if epoch is not None:
            self._held[name] = _Held(epoch, on_lost, self._end_at(name, before))
        return epoch

    def holds(self, name: str) -> bool:
        """Whether the lease is ours at this moment, by our own clock: also right after the process slept."""
        held = self._held.get(name)
        return held is not None and asyncio.get_running_loop().time() < held.end.when()

    async def release(self, name: str) -> None:
        """Give the lease back if we still have it. With the database away it runs out by itself."""
        held = self._held.pop(name, None)
        if held is None:
            return
        held.end.cancel()
        try:
            await in_database(leases.release, name, self.holder, held.epoch)
        except DatabaseError as error:
            logger.warning("lease_not_released", lease=name, error=type(error).__name__)

    async def keep(self) -> None:
        """Renew for ever, three times in a lease's life."""
        while True:
            await asyncio.sleep(self.ttl_s / 3)
            if self._held:
                await self._renew()

    async def _renew(self) -> None:
        before = asyncio.get_running_loop().time()
        asked = {name: held.epoch for name, held in self._held.items()}
        try:
            epochs = await in_database(leases.renew, list(asked), self.holder, self.ttl_s)
        except DatabaseError as error:
            logger.warning("leases_not_renewed", error=type(error).__name__)
            return
        for name, epoch in asked.items():
            held = self._held.get(name)
            if held is None or held.epoch != epoch:
                continue  # given back, or taken anew, meanwhile
            if epochs.get(name) != epoch:
                self._lose(name)
                continue
            held.end.cancel()
            held.end = self._end_at(name, before)

    def _end_at(self, name: str, renewed_at: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_at(renewed_at + self.ttl_s, self._lose, name)

    def _lose(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is not None:
            held.end.cancel()
            logger.warning("lease_lost", lease=name, epoch=held.epoch)
            held.on_lost()
