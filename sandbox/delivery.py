"""Posting to the portal what a carrier posts: inbound texts and receipts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from sandbox.media import Media
from sandbox.store import Journal, World

TIMEOUT_S = 10
RETRY_AFTER_S = 1
CONNECTIONS = 200
# Below the keep-alive of common servers: a connection they are about to close is never used again.
KEEP_ALIVE_S = 2
Delivery = dict[str, Any]


@dataclass(frozen=True)
class Post:
    """One webhook call, signed and ready; `url` may be relative to the portal's address."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Courier:
    """Delivers posts and fetches media; owns the HTTP client and everything that runs in the background."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tasks: set[asyncio.Task[Any]] = set()
        self._session: aiohttp.ClientSession | None = None
        self.timeout_s: float = TIMEOUT_S

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` in the background; the reference keeps the task from being collected."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drop_tasks(self) -> None:
        """End what is still to come."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        await self.drop_tasks()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def deliver(
        self, post: Post, log: Journal[Delivery], *, copies: int = 1, parallel: bool = False, retries: int = 0
    ) -> list[Delivery]:
        """Post `copies` times the very same call, one after the other or at once; every try is a delivery."""
        runs = [self._deliver_one(post, log, retries) for _ in range(copies)]
        if parallel:
            done = await asyncio.gather(*runs)
        else:
            done = [await run for run in runs]
        return [delivery for tries in done for delivery in tries]

    async def _deliver_one(self, post: Post, log: Journal[Delivery], retries: int) -> list[Delivery]:
        tries: list[Delivery] = []
        for number in range(1, retries + 2):
            if number > 1:
                await asyncio.sleep(RETRY_AFTER_S)
            delivery = {**await self._post(post), "attempt": number}
            log.add(delivery)
            tries.append(delivery)
            if delivery["http_status"] is not None and 200 <= delivery["http_status"] < 300:
                break
        return tries

    async def _post(self, post: Post) -> Delivery:
        url = urljoin(self._world.portal_url, post.url)
        delivery: Delivery = {
            "url": url,
            "http_status": None,
            "headers": {},
            "body": "",
            "elapsed_ms": 0,
            "error": None,
        }
        delivery["request"] = {"headers": dict(post.headers), "body": post.body.decode("utf-8", "replace")}
        started = time.monotonic()
        try:
            async with self._client().post(url, data=post.body, headers=post.headers, allow_redirects=False) as answer:
                delivery["body"] = await answer.text(errors="replace")
                delivery["http_status"] = answer.status
                delivery["headers"] = dict(answer.headers)
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError) as error:
            delivery["error"] = _error_word(error)
        delivery["elapsed_ms"] = round((time.monotonic() - started) * 1000)
        return delivery

    async def fetch(self, url: str) -> tuple[dict[str, Any], Media | None]:
        """Get an attachment as a carrier does at send time: what it was told (null: nothing), and the file."""
        row: dict[str, Any] = {"url": url, "http_status": None, "content_type": None, "content_length": None}
        try:
            async with self._client().get(url) as answer:
                length = answer.headers.get("Content-Length", "")
                row["content_type"] = answer.headers.get("Content-Type")
                row["content_length"] = int(length) if length.isdecimal() else None
                content = await answer.read()
                row["http_status"] = answer.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            row["error"] = _error_word(error)
            return row, None
        name = urlsplit(url).path.rpartition("/")[2] or "file"
        return row, Media(name, answer.content_type, content) if answer.ok else None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No limit on the whole call: time spent waiting for a free connection is not the portal's.
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.timeout_s, sock_read=self.timeout_s)
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self._session


def _error_word(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "refused"
    if isinstance(error, aiohttp.InvalidURL):
        return "invalid_url"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
        return "reset"
    return "failed"
