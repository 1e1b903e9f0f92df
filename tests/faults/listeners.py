"""A client that listens to the event stream for ever: cut off, it comes back with the last number it saw."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.clients import Device
from tests.process_secrets import hear

COMES_BACK_AFTER_S = 0.3
# Two keep-alive comments missed: the connection is gone.
SILENCE_S = 35


class Listener:
    """`seen` are the numbered events in the order in which they came, `faults` what must not have happened."""

    def __init__(self, device: Device) -> None:
        self.seen: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.connections = 0
        self._device = device
        self._start = self._last = int(device.session()["cursor"])
        self._closing = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def last(self) -> int:
        return self._last

    def close(self) -> None:
        self._closing.set()
        if self._connection is not None and self._connection.sock is not None:
            self._connection.sock.close()

    def _listen(self) -> None:
        while not self._closing.is_set():
            # What a connection that is cut, by them or by `close`, may raise.
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
                self._read()
            self._closing.wait(COMES_BACK_AFTER_S)

    def _read(self) -> None:
        parts = urlsplit(self._device.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = self._connection = kind(parts.netloc, timeout=SILENCE_S)
        headers = {"Authorization": f"Bearer {self._device.token}", "Accept": "text/event-stream"}
        connection.request("GET", "/api/v1/events/", headers={**headers, "Last-Event-ID": str(self._last)})
        answer = connection.getresponse()
        if answer.status != 200:
            if answer.status != 503:
                self.faults.append(f"the stream answered {answer.status}")
            return
        self.connections += 1
        while line := answer.readline():
            hear(self._device.url, line)
            if line.startswith(b"data: ") and line.endswith(b"\n"):
                self._take(json.loads(line[6:]))

    def _take(self, event: dict[str, Any]) -> None:
        number = event.get("id")
        if event["type"] in ("reset", "bye") and event["data"].get("reason") != "shutdown":
            self.faults.append(f"{event['type']}: {event['data']}")
        if number is None:
            return
        if number != self._last + 1:
            self.faults.append(f"{number} came after {self._last}")
        self._last = number
        self.seen.append(event)
