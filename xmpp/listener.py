"""Who is told what happens on a stream."""

from __future__ import annotations

from typing import Protocol
from xml.etree.ElementTree import Element


class Listener(Protocol):
    """All is called on the loop and must return at once."""

    def may_write(self) -> bool:
        """Whether we still may act for this account: asked right before each byte that leaves."""

    def on_ready(self) -> None:
        """A new session is bound; nothing was sent yet."""

    def on_resumed(self) -> None:
        """The former session goes on; what the server had not acknowledged is sent again."""

    def on_message(self, stanza: Element) -> None: ...

    def on_presence(self, stanza: Element) -> None: ...

    def on_roster(self, items: list[dict[str, str]]) -> None:
        """Entries of the roster that are new or different."""

    def on_acknowledgement_wanted(self) -> None:
        """The server asks how many stanzas of this session it may forget."""

    def on_acked(self, stanza_id: str) -> None:
        """The server has the message with this id (XEP-0198)."""

    def on_refused(self, condition: str) -> None:
        """The server refused the login."""

    def on_no_tls(self, reason: str) -> None:
        """There is no secure way to log in here."""

    def on_stream_error(self, condition: str) -> None: ...

    def on_unreachable(self, reason: str) -> None:
        """No connection came about."""

    def on_disconnected(self) -> None: ...
