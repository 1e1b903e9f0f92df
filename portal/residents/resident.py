"""What a resident is: an asyncio service without any Celery in it."""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from typing import ClassVar


class ResidentError(Exception):
    """A resident cannot go on. The text is shown to staff on *Manage Services*, so it names no secret."""


class Resident(ABC):
    """One long-lived service, started again with back-off when it fails.

    A subclass sets `name`, and says whether there is one per system provider and whether only one may run at a time
    (`leased`). All methods run on the host's event loop; whatever touches the database goes through `in_database`.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    per_tenant: ClassVar[bool] = False
    leased: ClassVar[bool] = False

    def __init__(self, *, holder: str, system_provider_id: uuid.UUID | None = None, epoch: int | None = None) -> None:
        """`holder` names the process. `epoch` is the lease's: it belongs in the WHERE of what a leased one writes."""
        self.holder = holder
        self.system_provider_id = system_provider_id
        self.epoch = epoch
        # Totals since this start, which only grow; shown to staff and on /metrics as sums over all workers.
        self.counters: dict[str, int] = {}
        self.stopping = asyncio.Event()

    @abstractmethod
    async def run(self) -> None:
        """Do the work until `stopping` is set, then finish what is in flight and return.

        Is cancelled 10 s after `stop`, and without notice when the lease is lost.
        """

    async def stop(self) -> None:
        """Asked to end: claim nothing new."""
        self.stopping.set()

    def on_wake(self, topics: frozenset[str]) -> None:
        """A wake-up came (portal.events.wake); `{"*"}` means that anything may have news. Must return at once."""
        return  # one that only looks by itself has no need of it

    def count(self, counter: str, by: int = 1) -> None:
        self.counters[counter] = self.counters.get(counter, 0) + by


def lease_name(name: str, system_provider_id: uuid.UUID | None) -> str:
    return f"{name}:{system_provider_id}" if system_provider_id else name
