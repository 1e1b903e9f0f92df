"""One connection to the OCI-P port. Every wait has an end, and a server that hangs up is an error, never a spin."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
import uuid
from types import TracebackType
from typing import Self

import certifi

from portal.addresses import ForbiddenAddress, check_address, check_host
from portal.logs import get_logger
from xmpp.broadworks.documents import Answer, Command, Unreadable, read_document
from xmpp.broadworks.errors import BroadworksError, Doubtful, Refused, Unreachable
from xmpp.broadworks.exchanges import document_of, require_answer
from xmpp.broadworks.framing import MOST_BYTES, Framer, TooLong

_READ_BYTES = 65_536
# Of a whole session, as with SOAP: a server that answers each of a thousand questions only just in time ends nothing.
LONGEST_S = 600.0

logger = get_logger(__name__)


class TcpSession:
    """A connection, made when it is entered. After any failure but a refusal it is closed, and every further command
    is Unreachable: whoever goes on makes, and so logs into, a new one."""

    def __init__(self, host: str, port: int, *, tls: bool, timeout_s: float, connect_timeout_s: float) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._timeout_s, self._connect_timeout_s = timeout_s, connect_timeout_s
        self._id = str(uuid.uuid4())
        self._framer = Framer(MOST_BYTES)
        self._socket: socket.socket | None = None
        self._ends_at = 0.0

    def __enter__(self) -> Self:
        self._ends_at = time.monotonic() + LONGEST_S
        try:
            check_host(self._host)
            self._socket = self._connected()
        except ForbiddenAddress as error:
            raise Refused(str(error), "forbidden_address") from error
        except (OSError, UnicodeError, ValueError, OverflowError) as error:
            raise Unreachable(f"{self._host} could not be reached: {_reason(error)}.", "unreachable") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def ask(self, command: Command) -> Answer:
        """The answer to a command. Raises Refused for an ErrorResponse, Unreachable, Doubtful."""
        started, outcome = time.monotonic(), "answered"
        try:
            return self._ask(command)
        except BroadworksError as error:
            outcome = error.code or "refused"
            if not isinstance(error, Refused):
                self._close()
            raise
        finally:
            took = round((time.monotonic() - started) * 1000)
            logger.info("broadworks_call", command=command.name, host=self._host, outcome=outcome, ms=took)

    def _ask(self, command: Command) -> Answer:
        if self._socket is None:
            raise Unreachable("The connection to BroadWorks has ended.", "closed")
        if time.monotonic() > self._ends_at:
            raise Unreachable(f"{self._host} did not come to an end.", "endless")
        document = document_of(self._id, command)
        until = time.monotonic() + self._timeout_s
        self._send(self._socket, document, until)
        while True:
            try:
                answer = read_document(self._next_document(self._socket, until))
            except Unreadable as error:
                raise Doubtful(f"{self._host} gave an answer that cannot be read.", "unreadable") from error
            except TooLong as error:
                raise Doubtful(f"{self._host} gave an answer that is too long.", "too_long") from error
            # What answers somebody else's question, or an earlier one a second time, is no answer to this one.
            if answer.session_id == self._id and command.is_answered_by(answer):
                return require_answer(command, answer)

    def _send(self, sock: socket.socket, document: bytes, until: float) -> None:
        try:
            sock.settimeout(max(until - time.monotonic(), 0.001))
            sock.sendall(document)
        except TimeoutError as error:
            raise self._timed_out() from error
        except OSError as error:
            raise self._cut_off() from error

    def _next_document(self, sock: socket.socket, until: float) -> bytes:
        while (document := self._framer.take()) is None:
            left = until - time.monotonic()
            if left <= 0:
                raise self._timed_out()
            try:
                sock.settimeout(left)
                data = sock.recv(_READ_BYTES)
            except TimeoutError as error:
                raise self._timed_out() from error
            except OSError as error:
                raise self._cut_off() from error
            if not data:
                raise self._cut_off()
            self._framer.feed(data)
        return document

    def _connected(self) -> socket.socket:
        sock = socket.create_connection((self._host, self._port), timeout=self._connect_timeout_s)
        try:
            # Whom the name led to now, which may not be what it led to a moment ago.
            check_address(str(sock.getpeername()[0]), self._host)
            if self._tls:
                trusted = ssl.create_default_context(cafile=certifi.where())  # the same authorities as for carriers
                return trusted.wrap_socket(sock, server_hostname=self._host)
        except BaseException:
            sock.close()
            raise
        return sock

    def _close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _timed_out(self) -> Doubtful:
        return Doubtful(f"{self._host} did not answer within {self._timeout_s:g} seconds.", "timeout")

    def _cut_off(self) -> Doubtful:
        return Doubtful(f"{self._host} closed the connection before it had answered.", "disconnected")


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return "its name was not found"
    if isinstance(error, ssl.SSLError):
        return "a secure connection could not be made"
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection"
    if isinstance(error, TimeoutError):
        return "it did not accept the connection in time"
    return "the connection failed"
