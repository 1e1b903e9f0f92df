"""Asynchronous exchanges with `aiohttp`, for the dispatcher: many in flight on one thread."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing
from typing import Any, TypeVar

import aiohttp
import certifi
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver

from cpaas.carriers.base import CarrierError, HttpRequest, HttpResponse, Operation
from cpaas.transport.exchanges import (
    CONNECT_TIMEOUT_S,
    READ_BYTES,
    TIMEOUT_S,
    Trace,
    cut_off,
    headers_of,
    not_possible,
    not_reached,
    timed_out,
    traced,
)
from portal.addresses import ForbiddenAddress, check_address, check_literal_of

ResultT = TypeVar("ResultT")

# Many servers close after five idle seconds. We are first, because a request written to a connection that the carrier
# closes at that moment would be doubtful.
KEEP_ALIVE_S = 3.0


class _GuardedResolver(ThreadedResolver):
    """Refuses names that lead to private addresses at the moment of connecting, whatever they led to on save."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await super().resolve(host, port, family)
        for result in results:
            check_address(result["host"], host)
        return results


def _guarded_socket(info: Any) -> socket.socket:
    """A socket for an address that was checked just now, however the host was spelled: aiohttp takes digits of any
    script for an address and asks no resolver."""
    family, kind, protocol, _, address = info
    check_address(str(address[0]), str(address[0]))
    return socket.socket(family, kind, protocol)


def client_session() -> aiohttp.ClientSession:
    """The session that `run_async` needs; close it in the same loop. The caller bounds how many calls are in flight."""
    connector = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=KEEP_ALIVE_S,
        resolver=_GuardedResolver(),
        socket_factory=_guarded_socket,
        ssl=ssl.create_default_context(cafile=certifi.where()),  # the same authorities as the blocking transport
    )
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


async def run_async(
    operation: Operation[ResultT],
    session: aiohttp.ClientSession,
    *,
    timeout_s: float = TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    traces: list[Trace] | None = None,
) -> ResultT:
    """The operation's result. Raises what the operation raises. Its exchanges are added to `traces`, if given.

    No look for open transactions here: Django lets none be opened on an event loop. When the task is cancelled after
    the request was written, it is open whether the carrier took it.
    """
    limits = aiohttp.ClientTimeout(total=timeout_s, connect=connect_timeout_s)
    with closing(operation):
        try:
            request = next(operation)
            while True:
                try:
                    response = await _exchange(session, request, limits, traces)
                except CarrierError as error:
                    request = operation.throw(error)
                else:
                    request = operation.send(response)
        except StopIteration as finished:
            result: ResultT = finished.value
            return result


async def _exchange(
    session: aiohttp.ClientSession,
    request: HttpRequest,
    limits: aiohttp.ClientTimeout,
    traces: list[Trace] | None,
) -> HttpResponse:
    with traced(request) as trace:
        if traces is not None:
            traces.append(trace)
        try:
            check_literal_of(request.url)
        except ValueError as error:
            raise not_possible(request, error) from error
        try:
            response = await _call(session, request, limits)
        # Order matters: some of these classes are also ValueError, OSError or TimeoutError.
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise not_reached(request, error) from error
        except TimeoutError as error:
            raise timed_out(request, limits.total or 0) from error
        except (ForbiddenAddress, aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise not_possible(request, error) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise cut_off(request) from error
        trace.status, trace.answer = response.status, response.body
        return response


async def _call(session: aiohttp.ClientSession, request: HttpRequest, limits: aiohttp.ClientTimeout) -> HttpResponse:
    async with session.request(
        request.method,
        request.url,
        headers=headers_of(request),
        data=request.body,
        timeout=limits,
        allow_redirects=False,
    ) as response:
        body = bytearray()
        while len(body) < request.max_response_bytes and (chunk := await response.content.read(READ_BYTES)):
            body += chunk
        if not response.content.at_eof():
            response.close()  # the rest of an oversized answer is not read
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, headers, bytes(body[: request.max_response_bytes]))
