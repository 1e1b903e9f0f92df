"""Where one document ends and the next begins in a stream of bytes."""

from __future__ import annotations

_END = b"</BroadsoftDocument>"
# Of one answer. The list of 10,000 users has about as much, and what is read from it takes many times the memory.
MOST_BYTES = 4 * 1024 * 1024


class TooLong(ValueError):
    """A document is longer than anything we asked for."""


class Framer:
    """Takes bytes as they come and gives whole documents, however they were cut or put together."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._buffer = bytearray()
        # Up to here the end was looked for, so that a long document that comes in crumbs is not searched again.
        self._seen = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self) -> bytes | None:
        """The next whole document, None while it has not come. Raises TooLong."""
        at = self._buffer.find(_END, self._seen)
        length = at + len(_END) if at >= 0 else len(self._buffer)
        if length > self._most_bytes:
            raise TooLong(f"A document is longer than {self._most_bytes} bytes.")
        if at < 0:
            self._seen = max(len(self._buffer) - len(_END) + 1, 0)
            return None
        document = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._seen = 0
        return document.lstrip()
