"""The database from asyncio: a few threads, each with a connection of its own; the loop's thread never waits for it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import close_old_connections, connections, reset_queries
from django.db.backends.base.base import BaseDatabaseWrapper

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
# A connection that was used a moment ago is not asked again whether it is alive: that would double short statements.
TRUSTED_S = 1.0


class DatabaseThreads:
    """A pool of threads for database work. Usable again after `close`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._wrappers: weakref.WeakSet[BaseDatabaseWrapper] = weakref.WeakSet()
        self._trusted = threading.local()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(*args, **kwargs)` in one of the threads, with the caller's context variables."""
        context = contextvars.copy_context()
        call = partial(context.run, self._call, partial(function, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._executor(), call)

    def close(self) -> None:
        """Wait for what runs, end the threads and close their connections."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        for wrapper in list(self._wrappers):
            wrapper.inc_thread_sharing()
            wrapper.close()
        self._wrappers.clear()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="residents-db")
            return self._pool

    def _call(self, function: Callable[[], T]) -> T:
        now = time.monotonic()
        if now > getattr(self._trusted, "until", 0.0):
            close_old_connections()
        if settings.DEBUG:
            reset_queries()
        self._wrappers.add(connections["default"])
        try:
            return function()
        except DatabaseError:
            connections["default"].close()  # whatever broke, the next call starts with a new one
            raise
        finally:
            self._trusted.until = time.monotonic() + TRUSTED_S


_threads = DatabaseThreads()


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function that uses the ORM in a thread and await its result. Not for anything that waits long."""
    return await _threads.run(function, *args, **kwargs)


def close_database_threads() -> None:
    _threads.close()
