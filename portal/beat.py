"""The schedule and who keeps it: Celery's beat as a leased resident, with the last runs in the database.

Any number of workers may be started alike; the one with the lease sends the tasks. A job is sent only after its row
in PeriodicRun could be moved on, in the epoch of the lease, so a restart, a take-over or a scheduler that slept
neither skips nor repeats the daily purge.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from celery.beat import ScheduleEntry, SchedulingError
from celery.beat import Scheduler as CeleryScheduler
from celery.schedules import crontab, schedule
from django.conf import settings
from django.db import Error as DatabaseError
from django.db.models import F

from portal.celery import app
from portal.logs import get_logger
from portal.models import PeriodicRun
from portal.residents import Resident, ResidentError, in_database
from portal.residents.leases import still_held

logger = get_logger(__name__)

# Sweeps for what no wake-up announced. Without a server wake-ups are few, and the sweep is the way.
_SWEEP_S = 2 if settings.IS_SQLITE else 10
Schedule = schedule | crontab
SCHEDULE: dict[str, Schedule] = {
    "portal.tasks.send_mails": schedule(_SWEEP_S),
    "portal.tasks.ask_directories": schedule(60),
    "portal.tasks.tidy": schedule(3600),
    "cpaas.tasks.work_numbers": schedule(_SWEEP_S),
    "cpaas.tasks.work_imports": schedule(_SWEEP_S),
    "cpaas.tasks.deliver_held": schedule(600),
    "cpaas.tasks.fetch_media": schedule(_SWEEP_S),
    "cpaas.tasks.discard_files": schedule(600),
    "cpaas.tasks.purge": crontab(minute="10", hour="3"),
    "cpaas.tasks.check_platforms": schedule(600),
    "cpaas.tasks.fetch_missed": schedule(600),
    "cpaas.tasks.check_numbers": crontab(minute="40", hour="3"),
    "cpaas.tasks.compare_numbers": schedule(600),
    "cpaas.tasks.count_traffic": schedule(300),
    "cpaas.tasks.recount_traffic": schedule(3600),
    "cpaas.tasks.place_messages": schedule(60),
    "xmpp.tasks.work_accounts": schedule(_SWEEP_S),
    "xmpp.tasks.check_connections": schedule(600),
    "xmpp.tasks.settle_abandoned": schedule(_SWEEP_S),
    "xmpp.tasks.auto_subscribe": schedule(60),
    "xmpp.tasks.purge": crontab(minute="25", hour="3"),
}
# How long to wait with the broker or database away.
RETRY_S = 5.0
LONGEST_SLEEP_S = 5


class LeaseGoneError(Exception):
    """The run could not be claimed: another scheduler has the lease, or has sent this job."""


class Scheduler(CeleryScheduler):
    """Celery's scheduler with `PeriodicRun` as its memory and a lease's epoch in each claim."""

    # Each send takes a connection of the pool, so that a broker that is away costs an error and not a hang.
    producer = None  # type: ignore[assignment]
    max_interval = LONGEST_SLEEP_S

    def __init__(self, app: Any, *, lease: str, epoch: int, jobs: Mapping[str, Schedule]) -> None:
        self._lease, self._epoch, self._jobs = lease, epoch, jobs
        self.sent = 0
        super().__init__(app)

    def setup_schedule(self) -> None:
        """Read when each job last ran; a job that is new counts from now."""
        now = self.app.now()
        PeriodicRun.objects.bulk_create(
            [PeriodicRun(name=name, last_run_at=now) for name in self._jobs], ignore_conflicts=True
        )
        runs = {run.name: run for run in PeriodicRun.objects.filter(name__in=self._jobs)}
        self.schedule = {
            name: ScheduleEntry(
                name=name,
                task=name,
                schedule=when,
                last_run_at=runs[name].last_run_at,
                total_run_count=runs[name].total,
                options=_options(when),
                app=self.app,
            )
            for name, when in self._jobs.items()
        }

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Claim the run, then send it. What could not be sent is not counted as run.

        Raises LeaseGoneError, DatabaseError, or SchedulingError when the broker does not take the task.
        """
        name: str = entry.name  # type: ignore[assignment]
        seen: datetime = entry.last_run_at  # type: ignore[assignment]
        now: datetime = self.schedule[name].last_run_at  # type: ignore[assignment]
        try:
            self._move_on(name, seen, now, by=1)
            try:
                self.apply_async(entry, producer=producer, advance=False)
            except Exception:
                self._move_on(name, now, seen, by=-1)
                raise
            self.sent += 1
        except Exception:
            self.setup_schedule()
            self._heap = None
            raise

    def _move_on(self, name: str, seen: datetime, last_run_at: datetime, *, by: int) -> None:
        claim = PeriodicRun.objects.filter(still_held(self._lease, self._epoch), name=name, last_run_at=seen)
        if not claim.update(last_run_at=last_run_at, total=F("total") + by):
            raise LeaseGoneError(name)


def _options(when: Schedule) -> dict[str, Any]:
    """A sweep nobody took before the next one is due is worth nothing any more."""
    return {} if isinstance(when, crontab) else {"expires": max(math.ceil(when.seconds), 10)}


class SchedulerResident(Resident):
    """Keeps the schedule while it holds the lease."""

    name = "scheduler"
    title = "Scheduler"
    leased = True
    app = app
    jobs = SCHEDULE

    async def run(self) -> None:
        if self.epoch is None:
            raise ResidentError("The scheduler runs only under a lease.")
        scheduler = await in_database(Scheduler, self.app, lease=self.name, epoch=self.epoch, jobs=self.jobs)
        while not self.stopping.is_set():
            wait_s = await self._tick(scheduler)
            try:
                await asyncio.wait_for(self.stopping.wait(), wait_s)
            except TimeoutError:
                continue

    async def _tick(self, scheduler: Scheduler) -> float:
        """Send one due job, if any; returns the seconds until the next may be due."""
        try:
            wait_s: float = await in_database(scheduler.tick)
        except (LeaseGoneError, SchedulingError, DatabaseError) as error:
            logger.warning("schedule_waits", error=type(error).__name__)
            return RETRY_S
        self.counters["sent"] = scheduler.sent
        return wait_s
