"""What the hub does for its streams between two readings (portal.events.hub)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, MutableMapping
from typing import Any

import pytest
from django.db import OperationalError

from portal.events import reading, stream
from portal.events.hub import KEEP_ALIVE_S, SEND_TIMEOUT_S, Hub, Subscription
from portal.events.reading import Reading


def subscribe(*, is_poll: bool = False) -> Subscription:
    return Subscription(uuid.uuid4(), uuid.uuid4(), 7, is_poll=is_poll)


async def in_background(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task


def test_a_stream_that_waits_for_long_is_told_that_it_is_still_there() -> None:
    async def story() -> None:
        subscription = subscribe()
        subscription.is_due = False
        waiting = await in_background(Hub().news(subscription))
        now = asyncio.get_running_loop().time()
        subscription.tend(now + KEEP_ALIVE_S / 2)
        await asyncio.sleep(0)
        assert not waiting.done()
        subscription.tend(now + KEEP_ALIVE_S)
        assert (await waiting).frames == b": keep-alive\n\n"

    asyncio.run(story())


def test_a_poll_waits_in_silence() -> None:
    async def story() -> None:
        subscription = subscribe(is_poll=True)
        subscription.is_due = False
        waiting = await in_background(Hub().news(subscription))
        subscription.tend(asyncio.get_running_loop().time() + 2 * KEEP_ALIVE_S)
        await asyncio.sleep(0)
        assert not waiting.done()
        subscription.end("gone")
        assert await waiting == Reading(7)

    asyncio.run(story())


def test_a_client_that_takes_nothing_for_long_is_dropped() -> None:
    async def serve(subscriptions: list[Subscription]) -> None:
        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        subscriptions.append(subscribe())
        await stream._stream(Hub(), subscriptions[0], send, 7)

    async def story() -> None:
        made: list[Subscription] = []
        task = await in_background(serve(made))
        now = asyncio.get_running_loop().time()
        made[0].tend(now + SEND_TIMEOUT_S / 2)
        await asyncio.sleep(0)
        assert not task.done()
        made[0].tend(now + SEND_TIMEOUT_S + 1)
        await task

    asyncio.run(story())


def test_what_a_device_was_told_is_noted_once_the_database_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[dict[uuid.UUID, int]] = []

    def note(heard: dict[uuid.UUID, int]) -> None:
        noted.append(heard)
        if len(noted) == 1:
            raise OperationalError("The connection is lost.")

    async def story() -> None:
        hub, device_id = Hub(), uuid.uuid4()
        hub.has_heard(device_id, 7)
        with pytest.raises(OperationalError):
            await hub._note_heard()
        await hub._note_heard()
        await hub._note_heard()
        assert noted == [{device_id: 7}, {device_id: 7}]

    monkeypatch.setattr(reading, "note_heard", note)
    asyncio.run(story())


def test_a_wake_up_while_a_stream_is_read_for_or_written_to_is_kept_for_afterwards() -> None:
    """Whatever it asks, it must not wait for the next sweep."""

    async def story() -> None:
        hub = Hub()
        subscription = subscribe()
        with hub.subscribed(subscription):
            asked = []
            for _ in range(2):
                task = await in_background(hub.news(subscription))
                asked += hub._pending
                hub._pending = []
                hub.on_wake(frozenset({f"user:{subscription.user_id}"}))
                asked[-1][1].set_result(Reading(7))
                await task
            assert len(asked) == 2
            assert subscription.is_due

    asyncio.run(story())
