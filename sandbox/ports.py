"""Listening ports that can really be closed and opened again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

HOST = "127.0.0.1"
Factory = Callable[[], asyncio.BaseProtocol]


class Port:
    """A port of the loopback interface. Closing it also ends the connections that are open."""

    def __init__(
        self, number: int, factory: Factory, connections: Callable[[], Iterable[asyncio.BaseProtocol]]
    ) -> None:
        self.number = number
        self._factory = factory
        self._connections = connections
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Raises OSError when somebody else has the port."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._factory, HOST, self.number, backlog=1024)

    async def close(self) -> None:
        """When this returns, new connections are refused and the peers of the old ones have been told."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for protocol in list(self._connections()):
            transport = getattr(protocol, "transport", None)
            if transport is not None:
                transport.close()
        # A transport closes its socket in the next turn of the loop.
        await asyncio.sleep(0)
