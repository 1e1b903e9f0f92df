"""The one place of a process that knows its open streams, wakes them, and reads for them.

A stream asks for what is after its cursor, and a wake-up only says that its question is due. So nothing piles up for a
slow client, and a lost wake-up costs at most one sweep. Questions due together are read together, by a few threads
with a database connection each, however many streams there are; a waiting stream holds none.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import DatabaseError, close_old_connections

from portal.events import live, reading
from portal.events.live import LiveState
from portal.events.reading import Reading, Wanted
from portal.events.wake import LIVE, listen
from portal.logs import get_logger

# Rendering is Python's work, so more threads would only take turns. Asked together, many streams cost far less.
READERS = 2
READ_TOGETHER = 256
SWEEP_S = 3.0
# One look at all streams costs less than a timer for each that is moved with every event.
TEND_S = 1.0
KEEP_ALIVE_S = 15
# A client that takes nothing for so long is dropped; it comes back with its cursor.
SEND_TIMEOUT_S = 30
STREAMS_PER_DEVICE = 5
logger = get_logger(__name__)
_opened = itertools.count()
T = TypeVar("T")


class Subscription:
    """One open stream or waiting poll, made by the task that serves it. `ending` is the reason to stop.

    `is_due` says: look again. `question` is what waits until it is; `writing_since` and `quiet_since` are times of the
    event loop. `is_live`: its user has something live, of which it has been `told`.
    """

    __slots__ = (
        "device_id",
        "ending",
        "is_dropped",
        "is_due",
        "is_live",
        "is_poll",
        "last",
        "opened",
        "question",
        "quiet_since",
        "task",
        "told",
        "user_id",
        "writing_since",
    )  # fmt: skip

    def __init__(self, device_id: uuid.UUID, user_id: uuid.UUID, last: int, *, is_poll: bool) -> None:
        self.device_id = device_id
        self.user_id = user_id
        self.last = last
        self.is_poll = is_poll
        self.is_due = True
        self.is_dropped = False
        self.is_live = False
        self.told: LiveState = {}
        self.ending: str | None = None
        self.question: asyncio.Future[Reading] | None = None
        self.quiet_since = asyncio.get_running_loop().time()
        self.writing_since: float | None = None
        self.task = asyncio.current_task()
        self.opened = next(_opened)

    def end(self, reason: str) -> None:
        self.ending = self.ending or reason
        self.answer(Reading(self.last))

    def answer(self, found: Reading) -> None:
        """Answer without reading, if the question waits."""
        question, self.question = self.question, None
        if question is not None and not question.done():
            question.set_result(found)

    def tend(self, now: float) -> None:
        """Say that the stream is still there, and drop a client that is not."""
        if self.writing_since is not None:
            if now - self.writing_since > SEND_TIMEOUT_S and self.task is not None:
                self.is_dropped = True
                self.task.cancel()
        elif now - self.quiet_since > KEEP_ALIVE_S - TEND_S and not self.is_poll:
            self.answer(Reading(self.last, keep_alive=True))

    def wanted(self) -> Wanted:
        return Wanted(self.device_id, self.user_id, self.last, self.told if self.is_live else None)


class Hub:
    """Lives from the start to the end of a server process, on its event loop."""

    def __init__(self) -> None:
        self.closing = False
        # By the topic of their wake-ups.
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._pending: list[tuple[Wanted, asyncio.Future[Reading]]] = []
        self._reading = 0
        self._pump_scheduled = False
        self._sweep_now = asyncio.Event()
        self._heard: dict[uuid.UUID, int] = {}
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="events")
        # The loop holds tasks only weakly; without this they vanish after a while.
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._keep(_forever(lambda: listen(self.on_wake)))
        self._keep(_forever(self._sweep))
        self._keep(_forever(self._tend))

    async def stop(self) -> None:
        self.end_streams()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=True)

    @property
    def open_streams(self) -> int:
        return sum(len(found) for found in self._subscriptions.values())

    def end_streams(self) -> None:
        """Say goodbye to everybody: the process is about to end."""
        self.closing = True
        for subscription in self._all():
            subscription.end("shutdown")

    def has_heard(self, device_id: uuid.UUID, number: int) -> None:
        """The device was sent everything up to that event; noted in the database with the next sweep."""
        self._heard[device_id] = max(number, self._heard.get(device_id, 0))

    @contextlib.contextmanager
    def subscribed(self, subscription: Subscription) -> Any:
        """Woken as long as the context lasts. A device's sixth stream ends its oldest."""
        topic = f"user:{subscription.user_id}"
        of_user = self._subscriptions.setdefault(topic, set())
        of_user.add(subscription)
        if self.closing:
            subscription.end("shutdown")
        streams = [one for one in of_user if one.device_id == subscription.device_id and not one.is_poll]
        alive = sorted((one for one in streams if one.ending is None), key=lambda one: one.opened)
        for oldest in alive[:-STREAMS_PER_DEVICE]:
            oldest.end("replaced")
        try:
            yield subscription
        finally:
            of_user.discard(subscription)
            if not of_user and self._subscriptions.get(topic) is of_user:
                del self._subscriptions[topic]

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run database work in one of the reader threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _with_connection, work, *arguments)

    async def news(self, subscription: Subscription) -> Reading:
        """What is new for the subscription, read together with what is due for others: at once if it is due, else when
        it becomes so. Nothing new, too, when it ends or has been quiet for long."""
        question: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
        subscription.question = question
        if subscription.is_due:
            self._look_again(subscription)
        return await question

    def on_wake(self, topics: frozenset[str]) -> None:
        """Called by the wake source."""
        if "*" in topics:
            self._sweep_now.set()
        for topic in topics:
            for subscription in self._subscriptions.get(topic.removeprefix(LIVE), ()):
                if topic.startswith(LIVE):
                    subscription.is_live = not subscription.is_poll
                self._look_again(subscription)

    def _look_again(self, subscription: Subscription) -> None:
        """Read for it: now, or after what is being read and written for it at the moment."""
        question, subscription.question = subscription.question, None
        subscription.is_due = question is None
        if question is None:
            return
        self._pending.append((subscription.wanted(), question))
        if not self._pump_scheduled:
            # After everybody whom the same wake-up concerns.
            self._pump_scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_scheduled = False
        while self._pending and self._reading < READERS:
            batch, self._pending = self._pending[:READ_TOGETHER], self._pending[READ_TOGETHER:]
            self._reading += 1
            self._keep(self._read(batch))

    async def _read(self, batch: list[tuple[Wanted, asyncio.Future[Reading]]]) -> None:
        try:
            readings = await self.in_thread(reading.read, [wanted for wanted, _ in batch])
            for (_, answer), found in zip(batch, readings, strict=True):
                if not answer.done():
                    answer.set_result(found)
        except Exception as error:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
        finally:
            self._reading -= 1
            self._pump()

    async def _sweep(self) -> None:
        """Find what no wake-up told: news whose wake-up was lost, what is live, and devices whose token ended
        or expired."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self._sweep_now.wait()
            self._sweep_now.clear()
            await self._note_heard()
            subscriptions = self._all()
            if not subscriptions:
                continue
            devices = {one.device_id for one in subscriptions}
            newest, gone, live_users = await self.in_thread(_look, {one.user_id for one in subscriptions}, devices)
            for one in subscriptions:
                one.is_live = not one.is_poll and (one.user_id in live_users or bool(one.told))
                if one.device_id in gone or newest.get(one.user_id, 0) != one.last or one.is_live:
                    self._look_again(one)

    async def _note_heard(self) -> None:
        heard, self._heard = self._heard, {}
        try:
            if heard:
                await self.in_thread(reading.note_heard, heard)
        except DatabaseError:
            # With the next sweep: a stream that stays open does not say it again.
            for device_id, number in heard.items():
                self.has_heard(device_id, number)
            raise

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_S)
            now = asyncio.get_running_loop().time()
            for one in self._all():
                one.tend(now)

    def _all(self) -> list[Subscription]:
        return [one for found in self._subscriptions.values() for one in found]

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _forever(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it again whenever it fails."""
    while True:
        try:
            await make()
        except DatabaseError as error:
            logger.warning("events_database_away", error=type(error).__name__)
        except Exception:
            logger.exception("events_task_failed")
        await asyncio.sleep(1)


def _look(
    users: set[uuid.UUID], devices: set[uuid.UUID]
) -> tuple[dict[uuid.UUID, int], set[uuid.UUID], set[uuid.UUID]]:
    return reading.newest_of(users), reading.gone_devices(devices), live.listening(users)


def _with_connection(work: Callable[..., T], *arguments: Any) -> T:
    # A connection the server closed meanwhile is thrown away after its first failure.
    close_old_connections()
    return work(*arguments)
