"""A sandbox of its own for each test, and a portal stand-in that records what is posted to it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sandbox.app import Sandbox
from sandbox.basic import basic_header
from sandbox.store import World

PORTS = 26
# Below those of tests/ports.py.
FIRST_PORT, LAST_PORT = 12_000, 20_000


def free_block() -> int:
    """The first of 26 free ports; parallel test processes start looking at different places."""
    span = LAST_PORT - FIRST_PORT
    for step in range(span // PORTS):
        first = FIRST_PORT + (os.getpid() * 7 * PORTS + step * PORTS) % span
        if all(_is_free(first + offset) for offset in (0, 1, 2, 3, 4, 5, 8, 25)):
            return first
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass
class Wire:
    """What a portal sees of the sandbox: real HTTP to its ports."""

    sandbox: Sandbox
    session: aiohttp.ClientSession

    @property
    def carrier_url(self) -> str:
        return f"http://127.0.0.1:{self.sandbox.port + 1}/inteliquent"

    async def control(self, method: str, path: str, body: Any = None, *, expect: int | None = None) -> Any:
        async with self.session.request(method, f"{self.sandbox.url}/_control/{path}", json=body) as answer:
            text = await answer.text()
            assert answer.status == (expect or answer.status), text
            assert expect or answer.status < 300, text
            return await answer.json(content_type=None) if text else None

    async def request(self, method: str, url: str, *, auth: tuple[str, str] | None = None, **more: Any) -> Any:
        """Status and content of any request, with Basic authentication when `auth` is given."""
        headers = {**more.pop("headers", {}), **({"Authorization": basic_header(*auth)} if auth else {})}
        async with self.session.request(method, url, headers=headers, **more) as answer:
            return answer.status, await _content(answer)

    async def services(self, name: str, body: dict[str, Any], **changes: Any) -> tuple[int, Any]:
        auth = basic_header("sandbox-api-key", "sandbox-api-secret")
        headers = {"Authorization": changes.pop("authorization", auth)}
        url = f"{self.carrier_url}/services/Services/2.0.0/{name}"
        async with self.session.post(url, json={"privateKey": "sandbox-api-key", **body}, headers=headers) as answer:
            return answer.status, await _content(answer)

    async def broker(self, name: str, body: dict[str, Any], key: str = "sandbox-outbound-api-key") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{self.carrier_url}/broker/msgbroker/rest/{name}"
        async with self.session.post(url, json=body, headers=headers) as answer:
            return answer.status, await _content(answer)

    async def send(self, text: str = "Hello", to: str = "12015550123", **more: Any) -> tuple[int, Any]:
        return await self.broker("publishMessages", {"from": "12019920781", "to": [to], "text": text, **more})

    async def set_hook(self, url: str, **more: Any) -> Any:
        row = {"inboundAuth": True, "webhookUrl": url, "tn": "12019920781", **more}
        status, answer = await self.broker("configureAuthorization", {"authorizations": [row]})
        assert status == 200, answer
        return answer["authConfig"]["authorizations"][0]

    async def first(self, collection: str) -> dict[str, Any]:
        """The first row of a carrier's collection, as soon as there is one."""
        async with asyncio.timeout(20):
            while True:
                rows = (await self.control("GET", f"inteliquent/{collection}/"))["results"]
                if rows:
                    return rows[0]
                await asyncio.sleep(0.01)

    async def messages(self) -> list[dict[str, Any]]:
        return (await self.control("GET", "inteliquent/messages/"))["results"]


async def _content(answer: aiohttp.ClientResponse) -> Any:
    if answer.content_type == "application/json":
        return await answer.json()
    return await answer.text()


@dataclass
class Portal:
    """A portal that answers as it is told and keeps what came."""

    url: str = ""
    status: int = 200
    delay_s: float = 0
    posts: asyncio.Queue[tuple[dict[str, str], Any]] = field(default_factory=asyncio.Queue)
    running: int = 0
    most_running: int = 0

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(self.delay_s)
        self.running -= 1
        self.posts.put_nowait((dict(request.headers), body))
        return web.json_response({"statusCode": str(self.status), "status": "success"}, status=self.status)

    async def next_post(self) -> tuple[dict[str, str], Any]:
        return await asyncio.wait_for(self.posts.get(), 20)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    running = Sandbox(free_block(), World())
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def wire(sandbox: Sandbox) -> AsyncIterator[Wire]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield Wire(sandbox, session)


@pytest.fixture
async def portal() -> AsyncIterator[Portal]:
    stand_in = Portal()
    application = web.Application()
    application.router.add_post("/hook/", stand_in.take)
    application.router.add_get("/files/pic.jpg", _picture)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stand_in.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stand_in
    await runner.cleanup()


async def _picture(request: web.Request) -> web.Response:
    return web.Response(body=b"JPEGJPEG", content_type="image/jpeg")


@pytest.fixture
def free_ports() -> int:
    return free_block()
