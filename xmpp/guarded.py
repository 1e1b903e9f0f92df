"""A stream that connects to no address that it must not (portal.addresses): checked when it connects, since names may
lead somewhere else by then. The address that was checked is the one that is connected to."""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from typing import Any

from slixmpp.xmlstream import XMLStream

from portal.addresses import ForbiddenAddress, check_address


class Guarded(XMLStream, ABC):
    """It tries all addresses once. `may_be_private`: it was the operator who named the server."""

    may_be_private = False
    _no_way = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_event_handler("connection_failed", self._on_connection_failed)

    @abstractmethod
    def on_unreachable(self, reason: str) -> None:
        """No address of the server answered; the last one did not because of this."""

    def _on_connection_failed(self, error: object) -> None:
        """One address did not answer; the others are tried."""
        self._no_way = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)

    def reschedule_connection_attempt(self) -> None:
        # slixmpp has tried all addresses, and would begin again by itself.
        self._current_connection_attempt = None
        self.on_unreachable(self._no_way)

    async def _attempt_connection(self, host: str, port: int, tls: bool, server_hostname: str | None) -> bool:
        """All addresses of a host, which slixmpp got from a record of the domain or was told. Whatever fails is told as
        `connection_failed`."""
        try:
            found = await self.loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            self.event("connection_failed", f"The name {host} was not found")
            return False
        for address in dict.fromkeys(str(each[4][0]) for each in found):
            try:
                if not self.may_be_private:
                    check_address(address, host)
            except ForbiddenAddress as error:
                self.event("connection_failed", str(error).rstrip("."))
                continue
            if await super()._attempt_connection(address, port, tls, server_hostname):
                return True
        return False
