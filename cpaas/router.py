"""The queue router: a resident that offers waiting conversations to agents and moves offers on (S4.3).

Any number of them may run: the rows say what is due (cpaas.services.routing). What nobody woke it for it finds a second
later.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid

from cpaas.services.queue_news import QUEUE_TOPIC
from cpaas.services.queueing import enqueue_overlooked, release_abandoned
from cpaas.services.routing import route_queues
from portal.logs import get_logger
from portal.residents import Resident, in_database

SWEEP_S = 1.0
SWEEP_EVERY_S = 10.0
logger = get_logger(__name__)


class QueueRouter(Resident):
    """Counters: offers, released, found, errors."""

    name = "queue-router"
    title = "Queue router"

    def __init__(self, *, holder: str, system_provider_id: uuid.UUID | None = None, epoch: int | None = None) -> None:
        super().__init__(holder=holder, system_provider_id=system_provider_id, epoch=epoch)
        self._work = asyncio.Event()
        self._sweep_at = 0.0

    async def run(self) -> None:
        while not self.stopping.is_set():
            self._work.clear()
            try:
                await self._pass()
            except Exception as error:
                # The next pass finds the same rows.
                logger.warning("queue_router_pass_failed", error=type(error).__name__)
                self.count("errors")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._work.wait(), SWEEP_S)

    async def stop(self) -> None:
        await super().stop()
        self._work.set()

    def on_wake(self, topics: frozenset[str]) -> None:
        if topics & {QUEUE_TOPIC, "*"}:
            self._work.set()

    async def _pass(self) -> None:
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_EVERY_S
            self.count("released", await in_database(release_abandoned))
            self.count("found", await in_database(enqueue_overlooked))
        self.count("offers", await in_database(route_queues))
