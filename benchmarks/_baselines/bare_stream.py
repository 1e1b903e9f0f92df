"""The least an event stream can be: ASGI, one Redis subscription per process, what is published goes to everybody."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import redis.asyncio

CHANNEL = "bench_stream"
_clients: set[asyncio.Queue[bytes]] = set()
_tasks: set[asyncio.Task[None]] = set()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    _clients.add(queue)
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"event: hello\ndata: {}\n\n", "more_body": True})
    while True:
        await send({"type": "http.response.body", "body": await queue.get(), "more_body": True})


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            task = asyncio.create_task(_fan_out())
            _tasks.add(task)
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _fan_out() -> None:
    async with redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]).pubsub() as subscription:
        await subscription.subscribe(CHANNEL)
        async for message in subscription.listen():
            if message["type"] == "message":
                for queue in _clients:
                    queue.put_nowait(message["data"])
