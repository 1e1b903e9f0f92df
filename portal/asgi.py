"""The ASGI application: the event stream itself, everything else handed to the WSGI application in a thread pool.

Django's own ASGI path opens a database connection per executor thread and was measured at a tenth of this.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import threading
from collections.abc import MutableMapping
from types import FrameType
from typing import IO, Any, cast
from urllib.parse import quote

from a2wsgi import WSGIMiddleware
from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
wsgi = get_wsgi_application()

from portal import collector, health  # noqa: E402  (models can be imported only now)
from portal.events import stream  # noqa: E402
from portal.events.hub import Hub  # noqa: E402
from portal.events.stream import Receive, Scope, Send  # noqa: E402

# Each thread keeps one database connection.
WEB_THREADS = 16
_PIECE = 64 * 1024


class Application:
    """One process's server side: a hub for the streams, a thread pool for the rest."""

    def __init__(self) -> None:
        self.hub: Hub | None = None
        self._rest = WSGIMiddleware(cast(Any, wsgi), workers=WEB_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and scope["path"] == stream.PATH and self.hub is not None:
            await stream.serve(self.hub, scope, receive, send)
        elif scope["type"] == "http":
            await self._rest(*await _for_wsgi(scope, receive), send)  # type: ignore[arg-type]
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.hub = Hub()
        self.hub.start()
        health.gauges.append(self._count_streams)
        _end_streams_on_signal(self.hub)
        collector.spare_what_stays()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        health.gauges.remove(self._count_streams)
        await self.hub.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _count_streams(self) -> tuple[str, str, float]:
        return "portal_event_streams", "Open event streams of this process.", self.hub.open_streams if self.hub else 0


def _end_streams_on_signal(hub: Hub) -> None:
    """A server that is told to stop waits for open answers first, and streams end only when they are told."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        server_handler = signal.getsignal(number)
        if not callable(server_handler):
            continue

        def handle(number: int, frame: FrameType | None, server_handler: Any = server_handler) -> None:
            loop.call_soon_threadsafe(hub.end_streams)
            server_handler(number, frame)

        signal.signal(number, handle)


async def _for_wsgi(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """The request as WSGI can take it: headers that cannot be forged by an underscore, ASCII query, known length."""
    headers = [(name, value) for name, value in scope["headers"] if b"_" not in name]
    names = {name for name, _ in headers}
    query = quote(scope["query_string"], safe="".join(map(chr, range(33, 127)))).encode()
    if b"transfer-encoding" in names and b"content-length" not in names:
        body = await _whole_body(
            receive, settings.LARGE_BODIES.get(scope["path"], settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        )
        headers.append((b"content-length", str(body.seek(0, os.SEEK_END)).encode()))
        receive = _replayed(body, receive)
    return {**scope, "headers": headers, "query_string": query}, receive


async def _whole_body(receive: Receive, most: int) -> IO[bytes]:
    """A chunked body, a large one on the disk. Reading stops above the limit: the view then refuses it by length."""
    body: IO[bytes] = tempfile.SpooledTemporaryFile(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)  # noqa: SIM115 - closed when read
    more = True
    while more and body.tell() <= most:
        message = await receive()
        body.write(message.get("body", b""))
        more = message.get("more_body", False)
    return body


def _replayed(body: IO[bytes], receive: Receive) -> Receive:
    """`receive` of a request that has all of `body` already."""
    body.seek(0)

    async def again() -> MutableMapping[str, Any]:
        if body.closed:
            return await receive()
        piece = body.read(_PIECE)
        if len(piece) < _PIECE:
            body.close()
        return {"type": "http.request", "body": piece, "more_body": not body.closed}

    return again


application = Application()
