"""What blocking and asynchronous exchanges have in common: the rules, the words for failures, the trace."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from cpaas.carriers.base import CarrierError, Doubtful, HttpRequest, NotTaken, Refused
from portal.addresses import ForbiddenAddress
from portal.logs import get_logger

TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
READ_BYTES = 65_536
# Answers are small: decompressing would only let a small answer grow.
EXTRA_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "partner-portal"}

logger = get_logger(__name__)

# Account ids and keys that some carriers put into the path.
_LONG_PATH_PART = re.compile(r"(?<=/)[A-Za-z0-9_-]{20,}(?=/|$)")


def headers_of(request: HttpRequest) -> dict[str, str]:
    return {**EXTRA_HEADERS, **request.headers}


def host_of(request: HttpRequest) -> str:
    try:
        return urlsplit(request.url).hostname or request.url
    except ValueError:
        return "The address"


def not_possible(request: HttpRequest, error: Exception) -> Refused:
    """The request cannot be made at all: its address is malformed or forbidden."""
    if isinstance(error, ForbiddenAddress):
        return Refused(str(error), "forbidden_address")
    return Refused(f"The address of the carrier is not valid ({host_of(request)}).", "invalid_address")


def not_reached(request: HttpRequest, error: BaseException) -> NotTaken:
    """The connection failed before the request was written, so it surely was not taken."""
    return NotTaken(f"{host_of(request)} could not be reached: {_why_not_reached(error)}.", "unreachable")


def timed_out(request: HttpRequest, timeout_s: float) -> Doubtful:
    return Doubtful(f"{host_of(request)} did not answer within {timeout_s:g} seconds.", "timeout")


def too_much(request: HttpRequest) -> NotTaken:
    """The exchanges before took so long, or brought so much, that this one is not begun."""
    return NotTaken(f"{host_of(request)} did not come to an end.", "endless")


def cut_off(request: HttpRequest) -> Doubtful:
    return Doubtful(f"{host_of(request)} closed the connection before it had answered.", "disconnected")


def _why_not_reached(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return "its name was not found"
        if isinstance(cause, ssl.SSLError):
            return "a secure connection could not be made"
        if isinstance(cause, ConnectionRefusedError):
            return "it refused the connection"
        if isinstance(cause, TimeoutError):
            return "it did not accept the connection in time"
    return "the connection failed"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


class Trace:
    """What is logged of an exchange: method, address without query and long path parts, status, time; no content.

    `answer` is the body, for whoever keeps the beginning of it without secrets; it is not logged.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.status: int | None = None
        self.answer = b""
        self.outcome = "aborted"
        self.took_ms = 0

    def url(self) -> str:
        try:
            parts = urlsplit(self.request.url)
            host = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
        except ValueError:
            return "invalid"
        return f"{parts.scheme}://{host}{_LONG_PATH_PART.sub('…', parts.path)}"


@contextmanager
def traced(request: HttpRequest) -> Iterator[Trace]:
    """Log the exchange made in the block, whatever its end."""
    trace, started = Trace(request), time.monotonic()
    try:
        yield trace
        trace.outcome = "answered"
    except CarrierError as error:
        trace.outcome = error.code
        raise
    finally:
        trace.took_ms = round((time.monotonic() - started) * 1000)
        logger.info(
            "carrier_call",
            method=request.method,
            url=trace.url(),
            status=trace.status,
            outcome=trace.outcome,
            ms=trace.took_ms,
        )
