"""Blocking exchanges with `requests`, for tasks and staff pages."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import closing, suppress
from contextvars import ContextVar
from io import BytesIO
from typing import Any, BinaryIO, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from cpaas.carriers.base import CarrierError, HttpRequest, HttpResponse, Operation
from cpaas.transport.exchanges import (
    CONNECT_TIMEOUT_S,
    READ_BYTES,
    TIMEOUT_S,
    cut_off,
    headers_of,
    not_possible,
    not_reached,
    timed_out,
    too_much,
    traced,
)
from portal.addresses import check_address, check_host_of
from portal.outside import refuse_open_transaction

ResultT = TypeVar("ResultT")
# A carrier whose list never ends must not keep a worker's thread for ever, nor fill its memory.
LONGEST_S = 600.0
MOST_BYTES = 128 * 1024 * 1024


def run(
    operation: Operation[ResultT], *, timeout_s: float = TIMEOUT_S, connect_timeout_s: float = CONNECT_TIMEOUT_S
) -> ResultT:
    """The operation's result. Raises what the operation raises, and TransactionOpen.

    An operation of many exchanges, such as a list of many pages, ends after `LONGEST_S` and `MOST_BYTES` in all: the
    next exchange surely was not taken.

    Connections are kept for the exchanges of one operation only: one that idled longer may be closed by the carrier
    at the moment we write to it, which would leave it open whether a request was taken.
    """
    refuse_open_transaction()
    until, received = time.monotonic() + LONGEST_S, 0
    with closing(operation), _session() as session:
        try:
            request = next(operation)
            while True:
                try:
                    if time.monotonic() > until or received > MOST_BYTES:
                        raise too_much(request)
                    response = _exchange(session, request, timeout_s, connect_timeout_s)
                    received += len(response.body)
                except CarrierError as error:
                    request = operation.throw(error)
                else:
                    request = operation.send(response)
        except StopIteration as finished:
            result: ResultT = finished.value
            return result


def download(
    request: HttpRequest, into: BinaryIO, *, timeout_s: float = TIMEOUT_S, connect_timeout_s: float = CONNECT_TIMEOUT_S
) -> HttpResponse:
    """One exchange whose body, when its status is 200, is written to `into` piece by piece and not kept in memory.

    Raises NotTaken, Doubtful, Refused (an address that may not be asked) and TransactionOpen.
    """
    refuse_open_transaction()
    with _session() as session:
        return _exchange(session, request, timeout_s, connect_timeout_s, into)


class _Wire:
    """The state of one exchange: whether request bytes were written, and a hold on the socket to cut it in time."""

    def __init__(self) -> None:
        self.written = False
        self.expired = False
        self._held: socket.socket | None = None

    def hold(self, sock: socket.socket) -> None:
        """Keep a duplicate: it stays valid when TLS or the response takes the socket over."""
        self.release()
        self._held = socket.socket(fileno=os.dup(sock.fileno()))

    def release(self) -> None:
        if self._held is not None:
            self._held.close()

    def expire(self) -> None:
        self.expired = True
        if self._held is not None:
            with suppress(OSError):
                self._held.shutdown(socket.SHUT_RDWR)


_wire: ContextVar[_Wire] = ContextVar("wire")


class _Connection(HTTPConnection):
    """Checks whom it reached before a byte is written, and can be cut from another thread.

    A read time-out alone does not bound an answer that arrives byte by byte.
    """

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        try:
            check_address(str(sock.getpeername()[0]), self.host)
        except ValueError:
            sock.close()
            raise
        _wire.get().hold(sock)
        return sock

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        wire = _wire.get()
        if not wire.written:
            wire.hold(self.sock)
        if wire.expired:
            raise TimeoutError
        wire.written = True
        super().send(data)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy and no .netrc that would replace our Authorization
    session.mount("http://", _Adapter())
    session.mount("https://", _Adapter())
    return session


def _exchange(
    session: requests.Session,
    request: HttpRequest,
    timeout_s: float,
    connect_timeout_s: float,
    into: BinaryIO | None = None,
) -> HttpResponse:
    wire = _Wire()
    token = _wire.set(wire)
    watchdog = threading.Timer(timeout_s, wire.expire)
    watchdog.daemon = True
    watchdog.start()
    try:
        with traced(request) as trace:
            try:
                check_host_of(request.url)
                response = _call(session, request, (connect_timeout_s, timeout_s), into)
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                raise _failure(request, wire, timeout_s, error) from error
            if wire.expired:  # what was cut looks like a complete answer when the server gave no length
                raise timed_out(request, timeout_s)
            trace.status = response.status
            return response
    finally:
        watchdog.cancel()
        wire.release()
        _wire.reset(token)


def _call(
    session: requests.Session, request: HttpRequest, timeouts: tuple[float, float], into: BinaryIO | None
) -> HttpResponse:
    with session.request(
        request.method,
        request.url,
        headers=headers_of(request),
        data=request.body,
        timeout=timeouts,
        allow_redirects=False,
        stream=True,
    ) as response:
        kept = BytesIO()
        body: BinaryIO = kept if into is None or response.status_code != 200 else into
        room = request.max_response_bytes
        for chunk in response.iter_content(READ_BYTES):
            body.write(chunk[:room])
            room -= len(chunk)
            if room <= 0:
                break
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status_code, headers, kept.getvalue())


def _failure(request: HttpRequest, wire: _Wire, timeout_s: float, error: Exception) -> CarrierError:
    if wire.written:
        late = wire.expired or isinstance(error, requests.Timeout)
        return timed_out(request, timeout_s) if late else cut_off(request)
    if isinstance(error, ValueError):
        return not_possible(request, error)
    return not_reached(request, error)
