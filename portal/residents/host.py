"""Runs all registered residents of a process on one event loop, as *Manage Services* wants them."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import uvloop
from django.conf import settings
from django.db import Error as DatabaseError

from portal.events.wake import listen
from portal.logs import get_logger
from portal.residents.database import close_database_threads, in_database
from portal.residents.keeper import LeaseKeeper
from portal.residents.registry import registered
from portal.residents.reports import services_of
from portal.residents.resident import Resident
from portal.residents.unit import GRACE_S, Unit

logger = get_logger(__name__)

LOOK_S = 2.0
SWITCH_S = 0.0005


def new_holder() -> str:
    """A name for this process that no other has, not even the next with the same process id."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"


class ResidentHost:
    """One per process. `serve` runs until `stop`, which any thread or signal handler may call."""

    def __init__(self, residents: Sequence[type[Resident]] | None = None) -> None:
        classes = registered() if residents is None else residents
        self.holder = new_holder()
        self._keeper = LeaseKeeper(self.holder, settings.LEASE_TTL_S)
        self._classes = {resident.name: resident for resident in classes}
        self._units: dict[uuid.UUID, Unit] = {}
        self._lives: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_to_stop = threading.Event()
        self._news = asyncio.Event()

    def stop(self) -> None:
        self._asked_to_stop.set()
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    async def serve(self) -> None:
        """Start what is wanted, follow the wishes of staff, and at `stop` end all in order within 10 s."""
        self._loop = asyncio.get_running_loop()
        background = [
            asyncio.create_task(_for_ever(self._keeper.keep)),
            asyncio.create_task(_for_ever(lambda: listen(self._on_wake))),
        ]
        logger.info("residents_host_started", holder=self.holder, residents=sorted(self._classes))
        try:
            while not self._asked_to_stop.is_set():
                await self._look()
                await self._wait_for_news()
        finally:
            await self._end_all()
            for task in background:
                task.cancel()

    async def _look(self) -> None:
        """Read the desired states and pass them on. Residents go on as they are while the database is away."""
        try:
            rows = await in_database(services_of, list(self._classes.values()))
        except DatabaseError as error:
            logger.warning("services_not_read", error=type(error).__name__)
            return
        for row in rows:
            if row.pk in self._units:
                self._units[row.pk].apply(row)
            else:
                unit = self._units[row.pk] = Unit(self._classes[row.name], row, self._keeper)
                self._lives[row.pk] = asyncio.create_task(_for_ever(unit.live), name=row.name)
        for gone in self._units.keys() - {row.pk for row in rows}:
            self._units.pop(gone).close()
        for ended in [key for key, life in self._lives.items() if life.done()]:
            del self._lives[ended]

    async def _wait_for_news(self) -> None:
        try:
            await asyncio.wait_for(self._news.wait(), LOOK_S)
        except TimeoutError:
            return
        self._news.clear()

    def _on_wake(self, topics: frozenset[str]) -> None:
        if topics & {"services", "*"}:
            self._news.set()
        for unit in self._units.values():
            if unit.resident is not None:
                unit.resident.on_wake(topics)

    async def _end_all(self) -> None:
        for unit in self._units.values():
            unit.close()
        lives = set(self._lives.values())
        if not lives:
            return
        _, late = await asyncio.wait(lives, timeout=GRACE_S + 5)
        for life in late:
            life.cancel()


async def _for_ever(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Until `work` returns; an error in it is logged and it starts again: one broken part must not end the others."""
    while True:
        try:
            return await work()
        except Exception:
            logger.exception("residents_host_error")
            await asyncio.sleep(1)


class HostThread:
    """A host on a thread of its own, for a process whose main thread has other work."""

    def __init__(self) -> None:
        self._host = ResidentHost()
        self._thread = threading.Thread(target=serve_until_stopped, args=[self._host], name="residents", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the residents have ended, after 16 s at most."""
        self._host.stop()
        self._thread.join(GRACE_S + 6)

    def terminate(self) -> None:
        self.stop()


def serve_until_stopped(host: ResidentHost) -> None:
    """Run the host in this thread."""
    # After so long a busy loop lets in a thread that comes back from the database; by default 5 ms, at each statement.
    sys.setswitchinterval(SWITCH_S)
    try:
        # Reading and writing on thousands of sockets takes half as long as on asyncio's own loop.
        uvloop.run(host.serve())
    finally:
        close_database_threads()
