"""Residents follow *Manage Services*, tell what they do, and come back when they fail (architecture section 6)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog
from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone

from portal.models import Lease, Service
from portal.residents import Resident, ResidentError, in_database
from portal.residents.database import close_database_threads
from portal.residents.unit import back_off
from portal.tests.factories import SystemProviderFactory
from portal.tests.residents import eventually, hosting

pytestmark = [pytest.mark.core, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _quick_and_clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("portal.residents.unit.REPORT_S", 0.05)
    monkeypatch.setattr("portal.residents.host.LOOK_S", 0.05)
    yield
    close_database_threads()


def service(name: str) -> Service:
    return Service.objects.get(name=name)


def is_state(name: str, actual: str) -> bool:
    return Service.objects.filter(name=name, actual=actual).exists()


def make_counter() -> type[Resident]:
    """A resident that counts its starts and ticks until it is stopped."""

    class Ticker(Resident):
        name = "ticker"
        starts = 0

        async def run(self) -> None:
            type(self).starts += 1
            while not self.stopping.is_set():
                self.count("ticks")
                await asyncio.sleep(0.01)
            self.count("ended_in_order")

    return Ticker


def test_a_resident_runs_and_tells_who_holds_it_and_what_it_counts() -> None:
    with hosting(make_counter()) as host:
        eventually(lambda: is_state("ticker", "running") and service("ticker").counters.get("ticks"))
        row = service("ticker")
        assert row.holder == host.holder
        assert row.seen_at is not None
    row = service("ticker")
    assert (row.actual, row.detail) == ("stopped", "The worker was shut down.")
    assert row.counters["ended_in_order"] == 1


def test_counters_of_several_runs_add_up() -> None:
    for _ in range(2):
        with hosting(make_counter()):
            eventually(lambda: is_state("ticker", "running"))
    assert service("ticker").counters["ended_in_order"] == 2


def test_stopped_by_staff_it_stays_stopped_and_starts_again_when_wanted() -> None:
    ticker = make_counter()
    with hosting(ticker):
        eventually(lambda: is_state("ticker", "running"))
        Service.objects.update(desired="stopped")
        eventually(lambda: is_state("ticker", "stopped"))
        assert service("ticker").detail == "Stopped on request."
        Service.objects.update(desired="running")
        eventually(lambda: is_state("ticker", "running"))
    assert ticker.starts == 2


def test_wanted_stopped_before_the_start_it_never_runs() -> None:
    ticker = make_counter()
    Service.objects.create(name="ticker", desired="stopped", actual="running")
    with hosting(ticker):
        eventually(lambda: is_state("ticker", "stopped"))
    assert ticker.starts == 0


def test_a_restart_is_one_orderly_end_and_one_new_start() -> None:
    ticker = make_counter()
    with hosting(ticker):
        eventually(lambda: is_state("ticker", "running"))
        Service.objects.update(restart_requested_at=timezone.now())
        eventually(lambda: ticker.starts == 2)
        eventually(lambda: service("ticker").counters.get("ended_in_order") == 1)
    assert ticker.starts == 2


def test_a_failed_resident_starts_again_and_its_error_text_is_not_shown() -> None:
    class Fragile(Resident):
        name = "fragile"
        starts = 0

        async def run(self) -> None:
            type(self).starts += 1
            if self.starts == 1:
                raise ValueError("password=hunter2")
            await self.stopping.wait()

    with hosting(Fragile):
        eventually(lambda: is_state("fragile", "failed") or Fragile.starts == 2)
        eventually(lambda: is_state("fragile", "running"))
    assert "hunter2" not in service("fragile").detail


def test_the_reason_a_resident_gives_is_shown_to_staff() -> None:
    class Refused(Resident):
        name = "refused"

        async def run(self) -> None:
            raise ResidentError("The server does not know this user.")

    with hosting(Refused):
        eventually(lambda: is_state("refused", "failed"))
        assert service("refused").detail == "The server does not know this user."


def test_a_resident_that_just_returns_counts_as_failed() -> None:
    class Brief(Resident):
        name = "brief"

        async def run(self) -> None:
            return

    with hosting(Brief):
        eventually(lambda: is_state("brief", "failed"))
        assert service("brief").detail == "Ended by itself."


def test_one_failing_resident_does_not_disturb_another() -> None:
    class Broken(Resident):
        name = "broken"

        async def run(self) -> None:
            raise RuntimeError

    ticker = make_counter()
    with hosting(Broken, ticker):
        eventually(lambda: is_state("broken", "failed") and is_state("ticker", "running"))
    assert ticker.starts == 1


def test_back_off_grows_with_jitter_up_to_a_minute() -> None:
    assert all(0.5 <= back_off(1) <= 1.5 for _ in range(50))
    assert all(30 <= back_off(20) <= 90 for _ in range(50))
    assert len({back_off(3) for _ in range(10)}) > 1


def test_what_is_in_flight_is_finished_before_the_host_ends() -> None:
    finished: list[str] = []

    class Sender(Resident):
        name = "sender"

        async def run(self) -> None:
            await self.stopping.wait()
            await asyncio.sleep(0.3)
            finished.append("text")

    with hosting(Sender):
        eventually(lambda: is_state("sender", "running"))
    assert finished == ["text"]


def test_a_resident_that_does_not_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.residents.unit.GRACE_S", 0.2)

    class Stubborn(Resident):
        name = "stubborn"

        async def run(self) -> None:
            await asyncio.Event().wait()

    with hosting(Stubborn):
        eventually(lambda: is_state("stubborn", "running"))
    assert is_state("stubborn", "stopped")


def test_of_a_leased_resident_one_runs_and_another_host_goes_on_with_a_higher_epoch(settings) -> None:
    settings.LEASE_TTL_S = 6
    epochs: list[int | None] = []
    running = 0
    most = 0

    class Single(Resident):
        name = "single"
        leased = True

        async def run(self) -> None:
            nonlocal running, most
            epochs.append(self.epoch)
            running += 1
            most = max(most, running)
            try:
                await self.stopping.wait()
            finally:
                running -= 1

    with hosting(Single):
        eventually(lambda: epochs)
        first = Lease.objects.get(name="single").holder
        with hosting(Single) as second:
            assert first != second.holder
            Service.objects.update(restart_requested_at=timezone.now())
            eventually(lambda: len(epochs) >= 2)
        eventually(lambda: Lease.objects.get(name="single").holder in {"", first})
    assert most == 1
    assert epochs == sorted(set(epochs))
    assert Lease.objects.get(name="single").holder == ""


def test_a_lost_lease_ends_the_resident_at_once_without_grace(settings) -> None:
    settings.LEASE_TTL_S = 0.6
    cancelled = threading.Event()

    class Single(Resident):
        name = "single"
        leased = True

        async def run(self) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

    with hosting(Single):
        eventually(lambda: is_state("single", "running"))
        Lease.objects.update(holder="somebody else", epoch=100, deadline=timezone.now() + timedelta(hours=1))
        assert cancelled.wait(30)
    assert Lease.objects.get().holder == "somebody else"


def test_one_for_each_system_provider_also_for_a_new_one() -> None:
    seen: set[object] = set()

    class Bridge(Resident):
        name = "bridge"
        per_tenant = True

        async def run(self) -> None:
            seen.add(self.system_provider_id)
            await self.stopping.wait()

    first = SystemProviderFactory()
    first_id = first.pk
    with hosting(Bridge):
        eventually(lambda: Service.objects.filter(system_provider=first, actual="running"))
        second = SystemProviderFactory()
        eventually(lambda: Service.objects.filter(system_provider=second, actual="running"))
        first.delete()
        eventually(lambda: Service.objects.filter(system_provider=second, actual="running"))
    assert seen == {first_id, second.pk}


def test_wake_ups_reach_running_residents(settings) -> None:
    from portal.events import wake

    topics: set[str] = set()

    class Listener(Resident):
        name = "listener"

        async def run(self) -> None:
            await self.stopping.wait()

        def on_wake(self, woken: frozenset[str]) -> None:
            topics.update(woken)

    with hosting(Listener):
        eventually(lambda: is_state("listener", "running"))

        def woken() -> bool:
            wake("dispatch")
            return bool(topics & {"dispatch", "*"})

        eventually(woken)


async def test_the_database_is_never_asked_on_the_loop_thread_and_knows_the_context() -> None:
    structlog.contextvars.bind_contextvars(request_id="r-1")
    try:
        thread, context = await in_database(
            lambda: (threading.current_thread(), structlog.contextvars.get_contextvars())
        )
    finally:
        structlog.contextvars.clear_contextvars()
    assert thread is not threading.current_thread()
    assert context["request_id"] == "r-1"


async def test_after_a_broken_connection_the_next_call_gets_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.residents.database.THREADS", 1)
    await in_database(SystemProviderFactory)
    await in_database(lambda: connection.connection.close())
    with pytest.raises(DatabaseError):
        await in_database(SystemProviderFactory)
    await in_database(SystemProviderFactory)
