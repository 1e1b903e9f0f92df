"""Leases: one holder at a time, a growing epoch, and an end by the holder's own clock (architecture section 6)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from portal.models import Lease, PeriodicRun
from portal.residents import in_database, leases
from portal.residents.database import close_database_threads
from portal.residents.keeper import LeaseKeeper
from portal.tests.residents import eventually

pytestmark = [pytest.mark.core, pytest.mark.django_db(transaction=True)]
LONG_S = 600.0
SHORT_S = 0.3


@pytest.fixture(autouse=True)
def _end_database_threads() -> Iterator[None]:
    yield
    close_database_threads()


def in_parallel(count: int, work: Callable[[int], int | None]) -> list[int | None]:
    def closing(index: int) -> int | None:
        try:
            return work(index)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(closing, range(count)))


def test_of_many_who_ask_at_once_one_gets_the_lease() -> None:
    barrier = threading.Barrier(6)

    def ask(index: int) -> int | None:
        barrier.wait()
        return leases.acquire("bridge", f"holder-{index}", LONG_S)

    epochs = in_parallel(6, ask)
    assert [epoch for epoch in epochs if epoch is not None] == [1]
    winner = next(index for index, epoch in enumerate(epochs) if epoch)
    assert Lease.objects.get().holder == f"holder-{winner}"


def test_a_held_lease_is_refused_and_a_released_one_is_free_at_once() -> None:
    epoch = leases.acquire("bridge", "a", LONG_S)
    assert leases.acquire("bridge", "b", LONG_S) is None
    assert epoch is not None
    leases.release("bridge", "a", epoch)
    assert leases.acquire("bridge", "b", LONG_S) == epoch + 1


def test_an_overdue_lease_is_taken_over_with_a_higher_epoch_and_not_renewed() -> None:
    first = leases.acquire("bridge", "a", SHORT_S)
    second = eventually(lambda: leases.acquire("bridge", "b", LONG_S), "take-over")
    assert (first, second) == (1, 2)
    assert leases.renew(["bridge"], "a", LONG_S) == {}


def test_an_overdue_lease_is_not_renewed_even_when_nobody_took_it() -> None:
    leases.acquire("bridge", "a", SHORT_S)
    eventually(lambda: Lease.objects.filter(deadline__lt=Now()), "deadline")
    assert leases.renew(["bridge"], "a", LONG_S) == {}


def test_one_renewal_covers_all_leases_of_a_holder() -> None:
    for name in ("one", "two", "three"):
        leases.acquire(name, "a", LONG_S)
    leases.acquire("foreign", "b", LONG_S)
    assert leases.renew(["one", "two", "foreign"], "a", LONG_S) == {"one": 1, "two": 1}


def test_release_by_a_former_holder_changes_nothing() -> None:
    leases.acquire("bridge", "a", SHORT_S)
    eventually(lambda: leases.acquire("bridge", "b", LONG_S), "take-over")
    leases.release("bridge", "a", 1)
    assert Lease.objects.get().holder == "b"


def test_a_holder_that_slept_through_its_lease_changes_nothing() -> None:
    run = PeriodicRun.objects.create(name="job", last_run_at="2026-01-01T00:00:00Z")
    old = leases.acquire("scheduler", "a", SHORT_S)
    new = eventually(lambda: leases.acquire("scheduler", "b", LONG_S), "take-over")
    assert old is not None
    assert new is not None
    rows = PeriodicRun.objects.filter(pk=run.pk)
    assert rows.filter(leases.still_held("scheduler", old)).update(total=1) == 0
    assert rows.filter(leases.still_held("scheduler", new)).update(total=2) == 1


@contextmanager
def database_that_hangs() -> Iterator[None]:
    """Every write of a lease waits until the end of the block, as with a database that does not answer."""
    locked, over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                if connection.vendor == "postgresql":
                    with connection.cursor() as cursor:
                        cursor.execute("LOCK TABLE portal_lease")
                locked.set()
                over.wait()
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait()
    try:
        yield
    finally:
        over.set()
        holder.join()


async def test_with_the_database_hanging_the_holder_ends_at_its_own_deadline() -> None:
    keeper = LeaseKeeper("a", ttl_s=1.0)
    lost = asyncio.Event()
    epoch = await keeper.acquire("bridge", lost.set)
    keeping = asyncio.create_task(keeper.keep())
    with database_that_hangs():
        await asyncio.wait_for(lost.wait(), 30)
    keeping.cancel()
    assert epoch == 1


async def test_with_the_database_refusing_the_holder_ends_at_its_own_deadline() -> None:
    keeper = LeaseKeeper("a", ttl_s=0.6)
    lost = asyncio.Event()
    await keeper.acquire("bridge", lost.set)
    await in_database(_rename, "portal_lease", "portal_lease_away")
    keeping = asyncio.create_task(keeper.keep())
    try:
        await asyncio.wait_for(lost.wait(), 30)
        keeping.cancel()
    finally:
        await in_database(_rename, "portal_lease_away", "portal_lease")


def _rename(table: str, to: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {to}")


async def test_a_renewed_lease_outlives_its_first_deadline() -> None:
    keeper = LeaseKeeper("a", ttl_s=9.0)
    lost = asyncio.Event()
    await keeper.acquire("bridge", lost.set)
    first = await in_database(lambda: Lease.objects.get().deadline)
    keeping = asyncio.create_task(keeper.keep())
    for _ in range(200):
        if await in_database(lambda: Lease.objects.get().deadline > first):
            break
        await asyncio.sleep(0.05)
    assert await in_database(lambda: Lease.objects.get().deadline) > first
    assert not lost.is_set()
    keeping.cancel()
    await keeper.release("bridge")
    assert await in_database(lambda: Lease.objects.get().holder) == ""


async def test_a_stolen_lease_is_noticed_at_the_next_renewal() -> None:
    keeper = LeaseKeeper("a", ttl_s=1.0)
    lost = asyncio.Event()
    await keeper.acquire("bridge", lost.set)
    await in_database(lambda: Lease.objects.update(holder="b", epoch=2))
    keeping = asyncio.create_task(keeper.keep())
    await asyncio.wait_for(lost.wait(), 30)
    keeping.cancel()
    await keeper.release("bridge")
    assert await in_database(lambda: Lease.objects.get().holder) == "b"
