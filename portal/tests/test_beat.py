"""The scheduler: each due job once, whatever is restarted, taken over or away (architecture section 6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module

import pytest
import time_machine
from celery import Celery
from celery.beat import SchedulingError
from celery.schedules import crontab, schedule
from django.utils import timezone

from portal import clock
from portal.atomicfs import transport_options
from portal.beat import SCHEDULE, LeaseGoneError, Scheduler, SchedulerResident
from portal.celery import app as portal_app
from portal.celery import broker_options
from portal.models import Lease, PeriodicRun
from portal.residents import leases
from portal.residents.database import close_database_threads
from portal.tests.residents import eventually, hosting

pytestmark = [pytest.mark.core, pytest.mark.django_db(transaction=True)]
PURGE = "cpaas.tasks.purge"
JOBS = {PURGE: SCHEDULE[PURGE]}
LONG_S = 10 * 24 * 3600.0


@pytest.fixture(autouse=True)
def _end_database_threads() -> Iterator[None]:
    yield
    close_database_threads()


@pytest.fixture(autouse=True)
def _own_brokers(monkeypatch) -> None:
    """Celery would take the broker of the environment rather than that of the test."""
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)


@pytest.fixture
def broker(tmp_path) -> Iterator[Celery]:
    """A Celery application with a broker of its own."""
    app = Celery("test", broker="atomicfs://", set_as_current=False)
    app.conf.update(broker_transport_options=transport_options(tmp_path), timezone="UTC", task_default_queue="portal")
    yield app
    app.close()


@contextmanager
def clock_says(moment: datetime) -> Iterator[None]:
    """The database's clock and our own."""
    with pytest.MonkeyPatch.context() as patch, time_machine.travel(moment):
        patch.setattr(clock, "now", timezone.now)
        yield


def sent(app: Celery) -> list[str]:
    """The names of the tasks that wait in the broker; they are taken out."""
    names = []
    with app.connection_for_read() as connection, connection.SimpleQueue("portal") as queue:
        while True:
            try:
                message = queue.get(block=False)
            except queue.Empty:
                return names
            names.append(message.headers["task"])
            message.ack()


def make_scheduler(app: Celery, jobs=JOBS, epoch: int | None = None) -> Scheduler:
    epoch = epoch or leases.acquire("scheduler", "a", LONG_S)
    assert epoch is not None
    return Scheduler(app, lease="scheduler", epoch=epoch, jobs=jobs)


def run_out(scheduler: Scheduler) -> None:
    """Tick until nothing is due."""
    while scheduler.tick() == 0:
        continue


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC)


def ran(name: str, last_run_at: datetime) -> None:
    PeriodicRun.objects.update_or_create(name=name, defaults={"last_run_at": last_run_at})


def test_every_task_of_the_schedule_exists_and_the_purge_is_daily_at_0310() -> None:
    for task in SCHEDULE:
        import_module(task.rpartition(".")[0])
    assert set(SCHEDULE) <= set(portal_app.tasks)
    assert SCHEDULE[PURGE] == crontab(minute="10", hour="3")


def test_a_restart_does_not_skip_the_daily_purge(broker: Celery) -> None:
    ran(PURGE, at(20, 3, 10))
    with clock_says(at(21, 4)):
        run_out(make_scheduler(broker))
    assert sent(broker) == [PURGE]


def test_a_restart_does_not_repeat_the_daily_purge(broker: Celery) -> None:
    ran(PURGE, at(20, 3, 10))
    with clock_says(at(21, 3, 11)):
        first = make_scheduler(broker)
        run_out(first)
        run_out(first)
    with clock_says(at(21, 9)):
        run_out(make_scheduler(broker, epoch=1))
    assert sent(broker) == [PURGE]
    assert PeriodicRun.objects.get(name=PURGE).total == 1


def test_a_job_that_is_new_counts_from_now(broker: Celery) -> None:
    with clock_says(at(21, 12)):
        run_out(make_scheduler(broker))
    assert sent(broker) == []


def test_a_scheduler_that_lost_its_lease_sends_nothing(broker: Celery) -> None:
    ran(PURGE, at(20, 3, 10))
    sleeper = make_scheduler(broker)
    Lease.objects.update(holder="b", epoch=2)
    with clock_says(at(21, 4)), pytest.raises(LeaseGoneError):
        sleeper.tick()
    assert sent(broker) == []
    assert PeriodicRun.objects.get(name=PURGE).last_run_at == at(20, 3, 10)


def test_of_two_that_saw_the_same_last_run_one_sends(broker: Celery) -> None:
    ran(PURGE, at(20, 3, 10))
    one, two = make_scheduler(broker), make_scheduler(broker, epoch=1)
    with clock_says(at(21, 4)):
        run_out(one)
        with pytest.raises(LeaseGoneError):
            two.tick()
        run_out(two)
    assert sent(broker) == [PURGE]


def test_what_the_broker_did_not_take_is_sent_when_it_is_back(broker: Celery) -> None:
    ran(PURGE, at(20, 3, 10))
    away = Celery("away", broker="redis://127.0.0.1:1/0", set_as_current=False)
    away.conf.update(
        broker_transport_options=broker_options("redis://"),
        task_publish_retry_policy={"max_retries": 0},
        timezone="UTC",
    )
    with clock_says(at(21, 4)):
        scheduler = make_scheduler(away)
        with pytest.raises(SchedulingError):
            scheduler.tick()
        assert PeriodicRun.objects.get(name=PURGE).last_run_at == at(20, 3, 10)
        scheduler.app = broker
        run_out(scheduler)
    assert sent(broker) == [PURGE]


def test_sweeps_lapse_in_the_queue_before_the_next_and_the_purge_does_not(broker: Celery) -> None:
    scheduler = make_scheduler(broker, jobs=SCHEDULE)
    assert scheduler.schedule["portal.tasks.tidy"].options == {"expires": 3600}
    assert scheduler.schedule[PURGE].options == {}


def test_two_hosts_one_schedule(settings, broker: Celery) -> None:
    """Two hosts side by side send each due job once, and a later one goes on where they ended."""
    settings.LEASE_TTL_S = 1.5

    class OwnScheduler(SchedulerResident):
        app = broker
        jobs = {"portal.tasks.tidy": schedule(timedelta(hours=1))}

    ran("portal.tasks.tidy", datetime.now(UTC) - timedelta(hours=2))
    with hosting(OwnScheduler), hosting(OwnScheduler):
        eventually(lambda: PeriodicRun.objects.get().total == 1)
    with hosting(OwnScheduler):
        eventually(lambda: Lease.objects.get(name="scheduler").epoch > 1)
    assert PeriodicRun.objects.get().total == 1
    assert sent(broker) == ["portal.tasks.tidy"]
