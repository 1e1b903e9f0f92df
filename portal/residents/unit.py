"""The life of one resident in one host: wait until wanted, take the lease, run, stop or fail, and again."""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import datetime
from typing import Any

from django.db import Error as DatabaseError

from portal.logs import get_logger
from portal.models import Service
from portal.residents.database import in_database
from portal.residents.keeper import LeaseKeeper
from portal.residents.reports import report
from portal.residents.resident import Resident, ResidentError, lease_name

logger = get_logger(__name__)

REPORT_S = 5.0
GRACE_S = 10.0
# A resident that ran this long before it failed starts over with the shortest back-off.
SOUND_AFTER_S = 60.0
LONGEST_BACK_OFF_S = 60.0
DATABASE_PATIENCE_S = 5.0


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 1 doubling to 60, with jitter so that hosts do not march."""
    return min(2.0 ** (failures - 1), LONGEST_BACK_OFF_S) * random.uniform(0.5, 1.5)  # noqa: S311


class Unit:
    """One resident class, for one system provider or for all, as this process runs it."""

    def __init__(self, resident_class: type[Resident], row: Service, keeper: LeaseKeeper) -> None:
        self.resident: Resident | None = None
        self._class = resident_class
        self._service_id: uuid.UUID = row.pk
        self._system_provider_id: uuid.UUID | None = row.system_provider_id
        self._keeper = keeper
        self._wanted = row.desired == "running"
        self._restart_mark: datetime | None = row.restart_requested_at
        self._restart = False
        self._closing = False
        self._lost = False
        self._running: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._failures = 0
        self._reported: dict[str, int] = {}

    def apply(self, row: Service) -> None:
        """Follow the desired state of the row."""
        wanted, mark = row.desired == "running", row.restart_requested_at
        if (wanted, mark) == (self._wanted, self._restart_mark):
            return
        self._restart = self._restart or mark != self._restart_mark
        self._wanted, self._restart_mark = wanted, mark
        self._news.set()

    def close(self) -> None:
        """End the resident in order and then the unit."""
        self._closing = True
        self._news.set()

    async def live(self) -> None:
        """Returns after `close`."""
        if not self._wanted:
            await self._report("stopped", "Stopped on request.")
        while not self._closing:
            if not self._wanted:
                await self._wait(None)
                continue
            self._restart = False
            wait_s = await self._run_leased() if self._class.leased else await self._run()
            if wait_s:
                await self._wait(wait_s)

    async def _run_leased(self) -> float:
        """Run if the lease can be had; returns the seconds to wait before the next try."""
        name = lease_name(self._class.name, self._system_provider_id)
        self._lost = False
        try:
            epoch = await self._keeper.acquire(name, self._on_lost)
        except DatabaseError as error:
            logger.warning("lease_not_asked", lease=name, error=type(error).__name__)
            epoch = None
        if epoch is None:
            return self._keeper.ttl_s / 3 * random.uniform(0.7, 1.3)  # noqa: S311
        try:
            return await self._run(epoch)
        finally:
            await self._keeper.release(name)

    def _on_lost(self) -> None:
        self._lost = True
        if self._running is not None:
            self._running.cancel()

    async def _run(self, epoch: int | None = None) -> float:
        """One run from start to end; returns the seconds to wait before the next."""
        loop = asyncio.get_running_loop()
        started, self._reported = loop.time(), {}
        self.resident = self._class(
            holder=self._keeper.holder, system_provider_id=self._system_provider_id, epoch=epoch
        )
        self._running = running = asyncio.create_task(self.resident.run(), name=self._class.name)
        if self._lost:
            running.cancel()
        logger.info("resident_started", resident=self._class.name, epoch=epoch)
        asked = await self._watch(running)
        actual, detail = self._outcome(running, asked)
        if not self._lost:
            await self._report(actual, detail)
        self.resident = self._running = None
        if actual == "stopped":
            self._failures = 0
            return 0
        self._failures = 1 if loop.time() - started > SOUND_AFTER_S else self._failures + 1
        return back_off(self._failures)

    async def _watch(self, running: asyncio.Task[None]) -> bool:
        """Report until the run ends; stop it in order when it is no longer wanted (True)."""
        await self._report("running")
        while not running.done():
            if not self._wanted or self._restart or self._closing:
                await self._stop(running)
                return True
            await self._wait(REPORT_S, running)
            if not running.done():
                await self._report("running")
        return False

    async def _stop(self, running: asyncio.Task[None]) -> None:
        assert self.resident is not None
        try:
            await self.resident.stop()
        except Exception:
            logger.exception("resident_stop_failed", resident=self._class.name)
        done, _ = await asyncio.wait({running}, timeout=GRACE_S)
        if not done:
            logger.warning("resident_cut_off", resident=self._class.name, after_s=GRACE_S)
            running.cancel()
            await asyncio.wait({running}, timeout=1)

    def _outcome(self, running: asyncio.Task[None], asked: bool) -> tuple[str, str]:
        """The state a run ended in and why, in words for staff. Foreign error texts may hold secrets: only the type."""
        error = None if running.cancelled() or not running.done() else running.exception()
        if error is not None:
            logger.error("resident_failed", resident=self._class.name, exc_info=error)
            sentence = str(error) if isinstance(error, ResidentError) else f"{type(error).__name__}, see the log."
            return "failed", sentence
        if asked:
            return "stopped", "The worker was shut down." if self._closing else "Stopped on request."
        if running.cancelled():
            return "failed", "Another worker took over." if self._lost else "Was cancelled."
        return "failed", "Ended by itself."

    async def _wait(self, seconds: float | None, running: asyncio.Task[None] | None = None) -> None:
        """Until news, the end of the run or the time is up."""
        news = asyncio.create_task(self._news.wait())
        waiting_for: set[asyncio.Future[Any]] = {news}
        if running is not None:
            waiting_for.add(running)
        await asyncio.wait(waiting_for, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        self._news.clear()

    async def _report(self, actual: str, detail: str = "") -> None:
        """Tell staff. With the database away the resident goes on unreported; counters are told later."""
        counters = dict(self.resident.counters) if self.resident else {}
        grown = {name: total - self._reported.get(name, 0) for name, total in counters.items()}
        call = in_database(
            report, self._service_id, actual=actual, detail=detail, holder=self._keeper.holder, grown=grown
        )
        try:
            await asyncio.wait_for(call, DATABASE_PATIENCE_S)
        except (DatabaseError, TimeoutError) as error:
            logger.warning("resident_not_reported", resident=self._class.name, error=type(error).__name__)
            return
        self._reported = counters
