"""Wake-ups: a hint, after commit, that a row wants attention. Lost ones cost latency, never data (architecture 3.3).

A topic is `user:<id>` (an event stream has news), `live:user:<id>` (something live that may be its first),
`dispatch` (a text is queued), `queue` (of a contact centre, has changed) or `services` (staff changed one).
The road is Redis when configured, else PostgreSQL LISTEN/NOTIFY, else listeners poll every 0.5 s (SQLite).
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable

import psycopg
import redis
import redis.asyncio
from django.conf import settings
from django.db import DatabaseError, connection

from portal.logs import get_logger

CHANNEL = "portal_wake"
# Before the topic of a user: streams ask their live sources too, which they do not while there is nothing for them.
LIVE = "live:"
POLL_S = 0.5
EVERYTHING = frozenset({"*"})
# After each wake-up through Redis: under load so many a second go out, each for many topics.
_PAUSE_S = 0.005
_RETRY_S = 5.0
_LAST_WORDS_S = 0.5

logger = get_logger(__name__)
_silent_until = 0.0


def wake(*topics: str) -> None:
    """Tell every listener that `topics` have news. Call after commit. Never raises: a wake-up is only a hint.

    On the road through Redis the caller does not wait for it.
    """
    if not topics:
        return
    if settings.REDIS_URL:
        _courier.send(topics)
    elif connection.vendor == "postgresql":
        _notify(topics)


def wake_live(user_ids: Iterable[uuid.UUID]) -> None:
    """Tell the streams of these users that something live (portal.events.live) is different, be it their first."""
    wake(*(f"{LIVE}user:{user_id}" for user_id in user_ids))


def _notify(topics: Iterable[str]) -> None:
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    try:
        with connection.cursor() as cursor:
            for topic in topics:
                cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, topic])
    except DatabaseError as error:
        _silent_until = time.monotonic() + _RETRY_S
        logger.warning("wake_failed", error=type(error).__name__)


class _Courier:
    """One thread of the process that publishes; what comes while it does goes out together after it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._topics: set[str] = set()
        self._thread: threading.Thread | None = None
        self._publishing = False

    def send(self, topics: Iterable[str]) -> None:
        with self._changed:
            self._topics.update(topics)
            # Also after a fork, which leaves the thread behind.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def finish(self) -> None:
        """Let what was sent last go out before the process ends."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._topics or self._publishing), timeout=_LAST_WORDS_S)

    def _run(self) -> None:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._topics)
                topics, self._topics, self._publishing = self._topics, set(), True
            unsaid = self._publish(client, topics)
            with self._changed:
                self._topics |= unsaid
                self._publishing = False
                self._changed.notify_all()
            time.sleep(_RETRY_S if unsaid else _PAUSE_S)

    def _publish(self, client: redis.Redis, topics: set[str]) -> set[str]:
        """Returns what could not be said; listeners sweep meanwhile and are told when Redis is back."""
        try:
            client.publish(CHANNEL, " ".join(topics))
        except redis.RedisError as error:
            logger.warning("wake_failed", error=type(error).__name__)
            return topics
        return set()


_courier = _Courier()
atexit.register(_courier.finish)


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
