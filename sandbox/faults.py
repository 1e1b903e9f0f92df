"""Faults on order: which request goes wrong, how, and how often."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

KINDS = ("status", "refuse", "timeout", "reset", "html", "xml", "throttle")
OPERATIONS = ("verify", "number", "hook", "unhook", "send", "media", "list", "*")
DEFAULT_HOLD_S = 30


@dataclass
class Fault:
    """One order. `times` None = until removed; `to` narrows it to texts for that number.

    `after_accept`: the operation is carried out first, then its answer goes wrong.
    """

    id: str
    operation: str
    times: int | None
    to: str | None
    after_accept: bool
    kind: str
    status: int | None
    code: str | None
    text: str | None
    delay_s: float

    @property
    def hold_s(self) -> float:
        """How long the request waits before it goes wrong."""
        return self.delay_s or (DEFAULT_HOLD_S if self.kind == "timeout" else 0)

    def as_json(self) -> dict[str, Any]:
        row = asdict(self)
        return {**row, "fault": {name: row.pop(name) for name in ("kind", "status", "code", "text", "delay_s")}}


class Faults:
    """The orders of one carrier, the oldest first in turn."""

    def __init__(self) -> None:
        self.rows: list[Fault] = []
        self._ids = itertools.count(1)

    def add(self, **order: Any) -> Fault:
        fault = Fault(id=str(next(self._ids)), **order)
        self.rows.append(fault)
        return fault

    def remove(self, fault_id: str) -> bool:
        kept = [row for row in self.rows if row.id != fault_id]
        found = len(kept) < len(self.rows)
        self.rows = kept
        return found

    def take(self, operation: str, to: Collection[str]) -> Fault | None:
        """The fault due for this request, used up once; None when it may go well."""
        for fault in self.rows:
            if fault.times == 0 or fault.operation not in ("*", operation):
                continue
            if fault.to is None or fault.to in to:
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None


def reset_connection(request: web.BaseRequest) -> None:
    """End the connection with a TCP RST instead of an answer."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def close_connection(request: web.BaseRequest) -> None:
    """End the connection in good order but without an answer."""
    if request.transport is not None:
        request.transport.close()


async def hold(request: web.BaseRequest, for_s: float) -> None:
    """Keep the client waiting, and close the connection without an answer."""
    await asyncio.sleep(for_s)
    close_connection(request)
