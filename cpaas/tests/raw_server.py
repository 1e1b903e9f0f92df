"""A TCP server on loopback that answers as badly as a test wants."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class RawServer:
    """Hands each connection to a behaviour; `requests` are the bytes that `read_request` saw, `closing` ends drips."""

    def __init__(self, behaviour: Callable[[RawServer, socket.socket], None]) -> None:
        self.behaviour = behaviour
        self.requests: list[bytes] = []
        self.connections = 0
        self.closing = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.open: list[socket.socket] = []

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections += 1
                self.open.append(connection)
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            self.behaviour(self, connection)

    def read_request(self, connection: socket.socket) -> bytes:
        """One request with a Content-Length body."""
        data = b""
        while b"\r\n\r\n" not in data:
            received = connection.recv(65536)
            if not received:
                raise ConnectionError
            data += received
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        while len(body) < length:
            body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return body

    def drip(self, connection: socket.socket, first: bytes = b"") -> None:
        """Send `first`, then one byte after the other until the test is over."""
        connection.sendall(first)
        while not self.closing.wait(0.02):
            connection.sendall(b"x")


@contextmanager
def serving(behaviour: Callable[[RawServer, socket.socket], None]) -> Iterator[RawServer]:
    server = RawServer(behaviour)
    threading.Thread(target=server.serve, daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        with suppress(OSError):
            server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        for connection in server.open:
            connection.close()


def http(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def reset(connection: socket.socket) -> None:
    """End the connection with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def answering(*answers: bytes) -> Callable[[RawServer, socket.socket], None]:
    """Answer the requests of a connection in turn."""

    def behave(server: RawServer, connection: socket.socket) -> None:
        for answer in answers:
            server.read_request(connection)
            connection.sendall(answer)

    return behave
