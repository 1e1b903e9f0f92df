"""Wake-ups: a hint, after commit, that a row wants attention. Lost ones cost latency, never data (architecture 3.3).

A topic is `user:<id>` (an event stream has news), `dispatch` (a text is queued) or `services` (staff changed one).
The road is Redis when configured, else PostgreSQL LISTEN/NOTIFY, else listeners poll every 0.5 s (SQLite).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import lru_cache

import psycopg
import redis
import redis.asyncio
from django.conf import settings
from django.db import DatabaseError, connection

from portal.logs import get_logger

CHANNEL = "portal_wake"
POLL_S = 0.5
EVERYTHING = frozenset({"*"})

logger = get_logger(__name__)
_silent_until = 0.0


@lru_cache(maxsize=1)
def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5)


def wake(*topics: str) -> None:
    """Tell every listener that `topics` have news. Call after commit. Never raises: a wake-up is only a hint."""
    global _silent_until
    if not topics or time.monotonic() < _silent_until:
        return
    try:
        if settings.REDIS_URL:
            _redis().publish(CHANNEL, " ".join(topics))
        elif connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                for topic in topics:
                    cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, topic])
    except (redis.RedisError, DatabaseError) as error:
        # Listeners sweep anyway; do not make every request wait for a dead Redis.
        _silent_until = time.monotonic() + 5
        logger.warning("wake_failed", error=type(error).__name__)


async def listen(on_wake: Callable[[frozenset[str]], None]) -> None:
    """Call `on_wake(topics)` at every wake-up, for ever. After a lost connection everything may have news: `{"*"}`."""
    while True:
        try:
            if settings.REDIS_URL:
                await _listen_redis(on_wake)
            elif not settings.IS_SQLITE:
                await _listen_postgres(on_wake)
            else:
                await asyncio.sleep(POLL_S)
                on_wake(EVERYTHING)
        except (redis.RedisError, psycopg.Error, OSError) as error:
            logger.warning("wake_source_lost", error=type(error).__name__)
            on_wake(EVERYTHING)
            await asyncio.sleep(1)
            on_wake(EVERYTHING)


async def _listen_redis(on_wake: Callable[[frozenset[str]], None]) -> None:
    client = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2, health_check_interval=10)
    async with contextlib.aclosing(client.pubsub()) as subscription:
        await subscription.subscribe(CHANNEL)
        on_wake(EVERYTHING)
        async for message in subscription.listen():
            if message["type"] == "message":
                on_wake(frozenset(message["data"].decode().split()))


async def _listen_postgres(on_wake: Callable[[frozenset[str]], None]) -> None:
    parameters = connection.get_connection_params()
    wanted = {name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if name in parameters}
    async with await psycopg.AsyncConnection.connect(**wanted, autocommit=True) as listener:
        await listener.execute(f"LISTEN {CHANNEL}")
        on_wake(EVERYTHING)
        async for notification in listener.notifies():
            on_wake(frozenset({notification.payload}))
