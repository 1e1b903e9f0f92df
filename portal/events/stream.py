"""`GET /api/v1/events/`: the event stream and its JSON form, as plain ASGI (contracts section 4, Events).

No Django request is made per stream: an open one costs two small tasks and no database connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from django.db import DatabaseError

from portal.api import problems
from portal.api.authentication import bearer_of
from portal.events import reading
from portal.events.hub import Hub, Subscription
from portal.events.reading import Reading
from portal.logs import get_logger
from portal.problems import Problem
from portal.services.tokens import unauthenticated

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH = "/api/v1/events/"
LONGEST_WAIT_S = 30
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_CURSOR = re.compile(r"\d{1,18}")
_WAIT = re.compile(r"\d{1,2}(\.\d{1,3})?")
_PARAMETERS = ("after", "wait")
logger = get_logger(__name__)


async def serve(hub: Hub, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request for PATH."""
    try:
        if scope["method"] != "GET":
            raise Problem("method_not_allowed", "Only GET is possible here.", status=405)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        plain = bearer_of(headers.get("authorization", ""))
        device_id, user_id, newest, is_live = await hub.in_thread(reading.open_device, plain)
        if hub.closing:
            raise Problem("unavailable", "The server is about to restart.", status=503, retry_after_s=2)
        query = _query(scope["query_string"])
        given = headers.get("last-event-id") or query.get("after")
        after = _cursor(given, newest)
        wait = _wait(query.get("wait"))
        is_poll = _wants_json(headers.get("accept", ""))
    except Exception as error:
        await _send_problem(send, _logged(error))
        return
    subscription = Subscription(device_id, user_id, after, is_poll=is_poll)
    subscription.is_live = is_live and not is_poll
    if given:
        # What it goes on from, it has.
        hub.has_heard(device_id, min(after, newest))
    with hub.subscribed(subscription):
        watcher = asyncio.create_task(_watch(receive, subscription))
        try:
            if is_poll:
                await _poll(hub, subscription, send, wait)
            else:
                await _stream(hub, subscription, send, newest)
        finally:
            watcher.cancel()


async def _stream(hub: Hub, subscription: Subscription, send: Send, newest: int) -> None:
    try:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        hello = {"type": "hello", "cursor": min(subscription.last, newest), "at": reading.stamp()}
        await _write(subscription, send, f"retry: 3000\nevent: hello\ndata: {reading.compact(hello)}\n\n".encode())
        await _tell_news(hub, subscription, send)
        await send({"type": "http.response.body", "body": b""})
    except asyncio.CancelledError:
        if not subscription.is_dropped:
            raise
        logger.info("stream_dropped", device=str(subscription.device_id))


async def _tell_news(hub: Hub, subscription: Subscription, send: Send) -> None:
    """Write what is new until there is a reason to end."""
    while True:
        if subscription.ending is None:
            found = await _news(hub, subscription)
            subscription.last = found.last
            subscription.told = subscription.told if found.told is None else found.told
            subscription.is_due |= found.more
            if found.frames:
                await _write(subscription, send, found.frames)
                # Who is told to start anew fetches everything up to there.
                if found.lines or found.reset:
                    hub.has_heard(subscription.device_id, found.last)
            if found.bye or found.failed:
                return
        if subscription.ending == "gone":
            return
        if subscription.ending:
            await _write(subscription, send, Reading(subscription.last, bye=subscription.ending).frames)
            return


async def _news(hub: Hub, subscription: Subscription) -> Reading:
    """What is new; while the database is away the stream waits for it."""
    while True:
        try:
            return await hub.news(subscription)
        except DatabaseError:
            subscription.is_due = True
            await asyncio.sleep(1)
            if subscription.ending:
                return Reading(subscription.last)


async def _poll(hub: Hub, subscription: Subscription, send: Send, wait: float) -> None:
    """The JSON form: what there is, or the first thing that comes within `wait` seconds."""
    try:
        found = await hub.news(subscription)
        if not (found.lines or found.reset or found.bye or found.failed) and wait:
            found = await _first_news(hub, subscription, wait)
        if found.bye:
            raise unauthenticated()
        if found.failed:
            raise problems.internal()
    except Exception as error:
        await _send_problem(send, _logged(error))
        return
    lines = ",".join(line.json for line in found.lines)
    reset = "true" if found.reset else "false"
    body = f'{{"events":[{lines}],"cursor":{found.last},"reset":{reset}}}'
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await _send_whole(send, 200, headers, body.encode())


async def _first_news(hub: Hub, subscription: Subscription, wait: float) -> Reading:
    found = Reading(subscription.last)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait):
            while not (found.lines or found.reset or found.bye or found.failed or subscription.ending):
                found = await hub.news(subscription)
    return found


async def _watch(receive: Receive, subscription: Subscription) -> None:
    """Notice that the client went away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    subscription.end("gone")


def _query(raw: bytes) -> dict[str, str]:
    pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True)
    wrong = {name: ["There is no such parameter."] for name, _ in pairs if name not in _PARAMETERS}
    if wrong:
        raise Problem("invalid", f"Unknown parameters: {', '.join(wrong)}.", errors=wrong)
    return dict(pairs)


def _cursor(value: str | None, newest: int) -> int:
    if value is None:
        return newest
    if not _CURSOR.fullmatch(value):
        raise Problem("invalid_cursor", "An event cursor is a whole number.", errors={"after": ["Not a cursor."]})
    return int(value)


def _wait(value: str | None) -> float:
    if value is None:
        return 0
    if not _WAIT.fullmatch(value) or float(value) > LONGEST_WAIT_S:
        sentence = f"Give seconds from 0 to {LONGEST_WAIT_S}."
        raise Problem("invalid", sentence, errors={"wait": [sentence]})
    return float(value)


def _wants_json(accept: str) -> bool:
    return "application/json" in accept and "text/event-stream" not in accept


async def _write(subscription: Subscription, send: Send, frames: bytes) -> None:
    """Is cancelled by the hub when the client does not take it."""
    now = asyncio.get_running_loop().time()
    subscription.writing_since = subscription.quiet_since = now
    await send({"type": "http.response.body", "body": frames, "more_body": True})
    subscription.writing_since = None


def _logged(error: Exception) -> Problem:
    problem = problems.as_problem(error)
    if problem.code == "internal":
        logger.error("unhandled_error", path=PATH, exc_info=error)
    return problem


async def _send_problem(send: Send, problem: Problem) -> None:
    headers = problems.headers_of(problem)
    if problem.status == 405:
        headers["Allow"] = "GET"
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    encoded.append((b"content-type", problems.CONTENT_TYPE.encode()))
    await _send_whole(send, problem.status, encoded, json.dumps(problems.document(problem)).encode())


async def _send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
