"""Doing together what many ask for at about the same moment: a transaction costs nearly the same for ten as for one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from django.db import InterfaceError, OperationalError

from portal.logs import get_logger

logger = get_logger(__name__)
# Under load this much is gathered; what comes alone does not wait.
GATHER_S = 0.05
# Longer when the work takes long, so that it never takes more than a third of the time.
REST = 2.0
# At most so many at a time.
BATCH = 500

# The database is away, or two waited for each other: the same again later may go well.
AWAY = (OperationalError, InterfaceError)

T = TypeVar("T")


async def do_all(work: Callable[[Sequence[T]], Awaitable[None]], items: Sequence[T]) -> None:
    """`work` with all items, or if that fails with each alone, so that one that cannot be done stands in nobody's way.

    What fails alone is given up and logged. Raises AWAY, with which nothing is given up.
    """
    try:
        await work(items)
    except AWAY:
        raise
    except Exception as error:
        if len(items) == 1:
            # Without its words: a database quotes the row that it refuses, and with it the message.
            logger.error("xmpp_not_stored", what=type(items[0]).__name__, error=type(error).__name__)
            return
        for item in items:
            await do_all(work, [item])


class Pace:
    """Keeps two runs of the same work apart, so that the second finds more to do."""

    def __init__(self) -> None:
        self._began = self._next = 0.0

    async def begin(self) -> None:
        """Wait until the next run may begin."""
        loop = asyncio.get_running_loop()
        if self._next > loop.time():
            await asyncio.sleep(self._next - loop.time())
        self._began = loop.time()

    def done(self, count: int) -> None:
        """This run is over, with so many done. After as many as there may be, the next is as full already."""
        now = asyncio.get_running_loop().time()
        self._next = now if count >= BATCH else now + max(GATHER_S, REST * (now - self._began))


class Together(Generic[T]):
    """Awaiting it with an item returns when `work` has done it, with whatever else was asked for meanwhile.

    Raises what `work` raised, for all that it was given.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        self._work = work
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._pace = Pace()
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._run())
        await done

    async def _run(self) -> None:
        while self._waiting:
            await self._pace.begin()
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            error: Exception | None = None
            try:
                await self._work([item for item, _ in batch])
            except Exception as failure:
                error = failure
            for _, done in batch:
                if not done.done():  # else the caller has gone
                    _settle(done, error)
            self._pace.done(len(batch))


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
