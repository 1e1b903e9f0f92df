"""slixmpp as the SMS gateway needs it: one connection of a component (XEP-0114), and nothing that acts by itself.

slixmpp's own handling of messages, presence and rosters stays out: it would keep a row in memory for each pair of
addresses it ever saw. Service discovery and pings are answered here.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Protocol
from xml.etree.ElementTree import Element, SubElement

from slixmpp import ComponentXMPP
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp.gateway_stanzas import COMPONENT
from xmpp.guarded import Guarded

DISCO = "http://jabber.org/protocol/disco#info"
PING = "urn:xmpp:ping"
FEATURES = (DISCO, PING, "urn:xmpp:receipts", "jabber:x:oob")
OPEN_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 20
_MESSAGE, _PRESENCE = f"{{{COMPONENT}}}message", f"{{{COMPONENT}}}presence"

_SENTENCES = {
    "not-authorized": "The server refused the secret.",
    "host-unknown": "The server has no component of this domain.",
    "conflict": "Another gateway is connected to the server for this domain.",
}
# How a server ends the stream over something that we said (RFC 6120 section 4.9.3).
_OFFENCES = {
    "bad-format",
    "bad-namespace-prefix",
    "improper-addressing",
    "invalid-from",
    "invalid-namespace",
    "invalid-xml",
    "not-well-formed",
    "policy-violation",
    "restricted-xml",
    "unsupported-encoding",
    "unsupported-stanza-type",
}


class Unreachable(Exception):
    """No connection came about, or it broke; the text is for staff."""


class Refused(Exception):
    """The server does not take us as its component; the text is for staff."""


class Listener(Protocol):
    """Who hears what comes. Called on the loop; must return at once."""

    def on_message(self, stanza: Element) -> None: ...

    def on_presence(self, stanza: Element) -> None: ...


class Component(Guarded, ComponentXMPP):
    """One connection, from `open` to its end: `closed` is set then, and `stream_error` the server's reason if it gave
    one. Another try is another object.

    `may_be_private`: the server may stand in our own network. `patience_s`: whoever was stopped for longer than that
    may not act any more (its lease is over), so nothing leaves.
    """

    def __init__(
        self,
        *,
        domain: str,
        secret: str,
        host: str,
        port: int,
        listener: Listener,
        may_be_private: bool = False,
        patience_s: float = 60,
    ) -> None:
        super().__init__(domain, secret, host, port)
        self.whitespace_keepalive = False
        self.closed = asyncio.Event()
        self.stream_error = ""
        self.may_be_private = may_be_private
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listener, self._patience_s = listener, patience_s
        self._awake_at = time.monotonic()
        for name in ("IM", "IMError", "Presence"):
            self.remove_handler(name)
        self._watch()

    def _watch(self) -> None:
        hears = {
            f"{{{COMPONENT}}}iq/{{{DISCO}}}query": self._describe,
            f"{{{COMPONENT}}}iq/{{{PING}}}ping": self._answer_ping,
        }
        for path, hear in hears.items():
            self.register_handler(Callback(path, MatchXPath(path), hear))
        self.add_event_handler("session_start", lambda _: self._settle(None))
        self.add_event_handler("disconnected", self._on_disconnected)

    async def open(self) -> None:
        """Returns once the server has taken us. Raises Unreachable, Refused."""
        self.connect()
        try:
            await asyncio.wait_for(asyncio.shield(self._opened), OPEN_TIMEOUT_S)
        except TimeoutError:
            self.cut()
            raise Unreachable("The server did not answer in time.") from None
        except Exception:
            self.cut()
            raise
        self._tick()

    @property
    def offended(self) -> bool:
        """The server ended the connection over something that we said."""
        return self.stream_error in _OFFENCES

    def say(self, stanzas: str) -> None:
        """Send messages or presence; what is said after the end is lost (`said`).

        Past slixmpp's queue and filters, which take as long for a text as all the rest.
        """
        with suppress(NotConnectedError):
            self.send_raw(stanzas)

    async def said(self) -> None:
        """Returns when the server has handled all that was sent before: it answers what we ask last, last.

        Raises Unreachable when the connection is gone.
        """
        question = self.make_iq_get(ito=self.boundjid.bare, ifrom=self.boundjid.bare)
        question.xml.append(Element(f"{{{PING}}}ping"))
        answer = asyncio.ensure_future(question.send(timeout=ANSWER_TIMEOUT_S))  # type: ignore[no-untyped-call]
        gone = asyncio.ensure_future(self.closed.wait())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise Unreachable("The connection broke.")
            answer.result()
        except IqError:
            return  # an answer too
        except (IqTimeout, NotConnectedError):
            self.cut()
            raise Unreachable("The server stopped answering.") from None
        finally:
            answer.cancel()
            gone.cancel()

    async def close(self) -> None:
        """In order: what was sent goes out first."""
        if not self.closed.is_set():
            await self.disconnect(wait=1.0)
        self.cut()

    def cut(self) -> None:
        """At once, and for good: nothing of this object stays on the loop."""
        self.cancel_connection_attempt()
        if self.transport is not None:
            self.transport.abort()
        if self._run_out_filters is not None:
            self._run_out_filters.cancel()
        for name in list(self.scheduled_events):
            self.cancel_schedule(name)
        self.closed.set()

    def _spawn_event(self, xml: Element) -> None:
        """Texts come by the thousand, past slixmpp's stanza objects as in xmpp.client."""
        stanza: Element = self.incoming_filter(xml)  # type: ignore[no-untyped-call]
        if stanza.tag == _MESSAGE:
            self._listener.on_message(stanza)
        elif stanza.tag == _PRESENCE:
            self._listener.on_presence(stanza)
        else:
            super()._spawn_event(stanza)

    def send_raw(self, data: str | bytes) -> None:
        """The last place before the socket: a process that was stopped longer than its lease says nothing more."""
        if time.monotonic() - self._awake_at > self._patience_s:
            self.cut()
            raise NotConnectedError
        super().send_raw(data)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._awake_at > self._patience_s:
            self.cut()
        if not self.closed.is_set():
            self._awake_at = now
            self.loop.call_later(min(1.0, self._patience_s / 4), self._tick)

    def _settle(self, error: Exception | None) -> None:
        if self._opened.done():
            return
        if error is None:
            self._awake_at = time.monotonic()
            self._opened.set_result(None)
        else:
            self._opened.set_exception(error)

    def on_unreachable(self, reason: str) -> None:
        self._settle(Unreachable(f"No connection: {reason}."))

    def _on_disconnected(self, _: object) -> None:
        self._settle(Unreachable("The server closed the connection."))
        self.closed.set()

    def _handle_stream_error(self, error: Any) -> None:
        condition = self.stream_error = str(error["condition"])
        self._settle(Refused(_SENTENCES.get(condition, f"The server ended the stream: {condition}.")))

    def _describe(self, iq: Any) -> None:
        if iq["type"] != "get":
            return
        answer = iq.reply()
        query = SubElement(answer.xml, f"{{{DISCO}}}query")
        SubElement(query, f"{{{DISCO}}}identity", {"category": "gateway", "type": "sms", "name": "Text messages"})
        for feature in FEATURES:
            SubElement(query, f"{{{DISCO}}}feature", {"var": feature})
        answer.send()

    def _answer_ping(self, iq: Any) -> None:
        if iq["type"] == "get":
            iq.reply().send()
