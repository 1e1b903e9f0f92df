"""Doing together what many ask for at about the same moment: a transaction costs nearly the same for ten as for one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

# Under load this much is gathered; what comes alone does not wait.
GATHER_S = 0.05
# Longer when the work takes long, so that it never takes more than a third of the time.
REST = 2.0
# At most so many at a time.
BATCH = 500

T = TypeVar("T")


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

    def done(self) -> None:
        """This run is over."""
        now = asyncio.get_running_loop().time()
        self._next = now + max(GATHER_S, REST * (now - self._began))


class Together(Generic[T]):
    """Awaiting it with an item returns when `work` has done it, with whatever else was asked for meanwhile.

    When `work` fails for several, each is done alone, and its caller hears its own error.
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
            if not await self._try(batch, is_last=len(batch) == 1):
                for one in batch:
                    await self._try([one], is_last=True)
            self._pace.done()

    async def _try(self, batch: Sequence[tuple[T, asyncio.Future[None]]], *, is_last: bool) -> bool:
        """Whether it was done; of the last try the callers hear how it went."""
        error: Exception | None = None
        try:
            await self._work([item for item, _ in batch])
        except Exception as failure:
            error = failure
        if error is not None and not is_last:
            return False
        for _, done in batch:
            if done.done():
                continue  # the caller has gone
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
        return True
