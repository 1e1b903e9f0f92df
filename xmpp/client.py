"""slixmpp as we need it: only what a stream takes (TLS, SCRAM, stream management), so that thousands fit a process.

Messages and presence are read by xmpp.stanzas, from the plain elements; slixmpp's own roster, which would answer
subscription requests by itself, and its plug-ins for single extensions stay out. What is changed for good: SCRAM's
salted password is derived by the OpenSSL of `cryptography`. Python's takes twice as long, slixmpp's own loop ten times.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from xml.etree.ElementTree import Element

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from slixmpp import ClientXMPP
from slixmpp.plugins.xep_0198.stream_management import MAX_SEQ
from slixmpp.util.sasl import SASLCancelled, mechanisms
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath
from slixmpp.xmlstream.xmlstream import NotConnectedError

from xmpp.guarded import Guarded
from xmpp.listener import Listener
from xmpp.requests import Requests
from xmpp.stanzas import CLIENT, ROSTER, read_roster

# With PLUS the server proves to be the one that holds the certificate; a plain password is never sent (S0.12).
SCRAM = {
    "SCRAM-SHA-512-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-1",
}
# How often SCRAM may hash the password. The server says how often, and other accounts' sessions wait meanwhile: this
# takes 25 ms. Installed servers ask for 4,096 or 10,000.
MOST_ROUNDS = 100_000
_HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha512": hashes.SHA512()}  # noqa: S303 - as servers ask
MANAGEMENT = "urn:xmpp:sm:3"
_ASK = f"<r xmlns='{MANAGEMENT}'/>"
_MESSAGE, _PRESENCE, _IQ = (f"{{{CLIENT}}}{kind}" for kind in ("message", "presence", "iq"))
_REQUEST, _ACK, _RESUMED = f"{{{MANAGEMENT}}}r", f"{{{MANAGEMENT}}}a", f"{{{MANAGEMENT}}}resumed"
# Of what slixmpp registers for each stream by itself: nothing of ours asks for it, and logins are dear.
_UNUSED = {"feature_rosterver", "feature_preapproval", "feature_limits"}
# We ask for acknowledgements ourselves, once for all that is sent together.
_NO_WINDOW = 2**31


def _salted_password(self: Any, text: bytes, salt: bytes, rounds: int) -> bytes:
    """RFC 5802 §2.2, `Hi`. Raises SASLCancelled, at which the login is given up."""
    if not 1 <= rounds <= MOST_ROUNDS:
        raise SASLCancelled(f"{rounds} rounds")  # type: ignore[no-untyped-call]
    kind = _HASHES[self.hash().name]
    return PBKDF2HMAC(kind, kind.digest_size, bytes(salt), rounds).derive(bytes(text))


mechanisms.SCRAM.Hi = _salted_password  # type: ignore[method-assign, assignment]


def make_ssl_context(authority: str = "") -> ssl.SSLContext:
    """For all sessions of a server; `authority` is PEM, "" for the public ones. Raises ssl.SSLError when it is none."""
    context = ssl.create_default_context(cadata=authority or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Sent(str):
    """A message as it is written to the stream, with its id."""

    stanza_id: str

    def __new__(cls, text: str, stanza_id: str = "") -> Sent:
        made = super().__new__(cls, text)
        made.stanza_id = stanza_id
        return made


class Passing(Sent):
    """Worth nothing later: not sent again when the session goes on after its connection broke."""


class Client(Guarded, ClientXMPP):
    """One stream of one account. It connects once for each `open`; when to try again is not its matter."""

    _is_disposed = False

    def __init__(self, jid: str, password: str, context: ssl.SSLContext, listener: Listener) -> None:
        super().__init__(jid, password, ssl_context=context)
        self.listener = listener
        self.enable_direct_tls = False
        self.enable_plaintext = False
        self.whitespace_keepalive = False
        self.heard_at = 0.0
        # Nothing is read from this connection for now.
        self.is_paused = False
        # Without stream management: the id of each ping, and the messages that were said before it.
        self._pinged: dict[str, Sequence[str]] = {}
        self.requests = Requests(self.tell)
        self.register_plugin("feature_mechanisms", {"use_mechs": SCRAM, "unencrypted_scram": False})
        self.plugin["feature_mechanisms"].use_mechs = SCRAM
        self.register_plugin("xep_0198", {"window": _NO_WINDOW})
        self._manager: Any = self.plugin["xep_0198"]
        self._watch_stanzas()
        self._watch_stream()

    def register_plugin(self, plugin: str, pconfig: dict[str, Any] | None = None, module: Any = None) -> None:
        if plugin not in _UNUSED:
            super().register_plugin(plugin, pconfig, module)

    def _watch_stanzas(self) -> None:
        for name in ("IM", "IMError", "Presence", "Roster Update"):
            self.remove_handler(name)
        self.register_handler(Callback("roster", MatchXPath(f"{{{CLIENT}}}iq/{{{ROSTER}}}query"), self._on_roster_push))

    def _watch_stream(self) -> None:
        told = self.listener
        self.add_event_handler("stream_negotiated", lambda _: told.on_ready() if self.bound else None)
        self.add_event_handler("session_resumed", lambda _: told.on_resumed())
        self.add_event_handler("stanza_acked", self._on_acked)
        self.add_event_handler("failed_auth", self._on_failed_login)
        self.add_event_handler("no_auth", lambda _: told.on_no_tls("The server offers no SCRAM over TLS."))
        self.add_event_handler("ssl_invalid_chain", self._on_bad_certificate)
        self.add_event_handler("disconnected", lambda _: told.on_disconnected())

    def event(self, name: str, data: Any = {}) -> None:  # noqa: B006 - as slixmpp has it
        if not self._is_disposed:
            super().event(name, data)

    async def open(self, host: str, port: int) -> None:
        """Try once to connect; what comes of it is told to the listener. With `host` "" the domain's SRV records."""
        self.is_paused = False
        if host:
            self.connect(host, port)
        else:
            self.connect()

    def close(self) -> None:
        """Leave in order: the server forgets the session."""
        self._forget_session()
        self.end_session_on_disconnect = True
        self.disconnect(wait=1.0, ignore_send_queue=True)

    def cut(self) -> None:
        """Drop the connection at once; nothing more leaves."""
        self.cancel_connection_attempt()
        if self.transport is not None:
            self.transport.abort()

    @property
    def can_resume(self) -> bool:
        """Whether the next connection may go on with this session."""
        return bool(self._manager.sm_id)

    def dispose(self) -> None:
        """For good: nothing of this object stays on the loop, and nothing more is told."""
        self._is_disposed = True
        self.cut()
        if self._run_out_filters is not None:
            self._run_out_filters.cancel()
        for name in list(self.scheduled_events):
            self.cancel_schedule(name)

    def send_raw(self, data: str | bytes) -> None:
        """The last place before the socket. A worker that slept through its lease must not act for it (rule 3)."""
        if not self.listener.may_write():
            self.cut()
            raise NotConnectedError
        super().send_raw(data)

    def data_received(self, data: bytes | str) -> None:
        self.heard_at = self.loop.time()
        super().data_received(data)

    def pause_reading(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()
            self.is_paused = True

    def resume_reading(self) -> None:
        if self.transport is not None and self.is_paused:
            self.is_paused = False
            self.heard_at = self.loop.time()
            self.transport.resume_reading()

    def say(self, stanzas: Sequence[Sent]) -> None:
        """Send messages, all in one go, and ask the server whether it has them."""
        manager, text = self._manager, "".join(stanzas)
        if manager.enabled_out:
            for stanza in stanzas:
                self._remember(stanza)
            text += _ASK
        else:
            text += self._ping([stanza.stanza_id for stanza in stanzas])
        if self.transport is not None:
            self.send_raw(text)

    def _ping(self, said: Sequence[str] = ()) -> str:
        """XEP-0199. Servers take stanzas in order: with the answer, if only an error, they have all from before it."""
        key = self.new_id()
        self._pinged[key] = said
        return f"<iq type='get' id='{key}'><ping xmlns='urn:xmpp:ping'/></iq>"

    def tell(self, stanza: str) -> bool:
        """Send a stanza that is no message; whether there is somebody to send it to."""
        if self.transport is None:
            return False
        if self._manager.enabled_out:
            self._remember(Sent(stanza))
        with suppress(NotConnectedError):
            self.send_raw(stanza)
            return True
        return False

    def _remember(self, stanza: Sent) -> None:
        """Until the server confirms it (XEP-0198)."""
        manager = self._manager
        manager.seq = (manager.seq + 1) % MAX_SEQ
        manager.unacked_queue.append((manager.seq, stanza))

    @property
    def handled(self) -> int:
        """How many stanzas of this session came in, the one at hand included."""
        return int(self._manager.handled)

    def ask_if_alive(self) -> None:
        """A living connection answers, if only with an error; a dead one is noticed so."""
        if self.transport is None:
            return
        if self._manager.enabled_in:
            self.send_raw(_ASK)
        else:
            self.send_raw(self._ping())

    def acknowledge(self, handled: int) -> None:
        """Tell the server that it may forget so many of the stanzas of this session."""
        if self.transport is not None:
            self.send_raw(f"<a xmlns='{MANAGEMENT}' h='{handled}'/>")

    def _spawn_event(self, xml: Element) -> None:
        """What comes by the thousand goes past slixmpp's stanza objects and matching, which cost more than the rest."""
        if xml.tag == _MESSAGE:
            self._count()
            self.listener.on_message(xml)
        elif xml.tag == _PRESENCE:
            self._count()
            self.listener.on_presence(xml)
        elif xml.tag == _IQ and xml.get("id") in self._pinged:
            self._count()
            for stanza_id in self._pinged.pop(xml.get("id", "")):
                self.listener.on_acked(stanza_id)
        elif xml.tag == _IQ and self.requests.take(xml, self.boundjid):
            self._count()
        elif xml.tag == _REQUEST:
            self.listener.on_acknowledgement_wanted()
        elif xml.tag in (_ACK, _RESUMED) and not self._has_sent(xml.get("h", "")):
            # slixmpp would take all that waits for confirmed.
            self._forget_session()
            self.cut()
            self.listener.on_stream_error("The server confirmed more than it was sent.")
        elif xml.tag == _RESUMED:
            self._forget_passing(int(xml.get("h", "0")))
            super()._spawn_event(xml)
        elif xml.tag == _ACK:
            self._manager._handle_ack({"h": int(xml.get("h", "0"))})
        else:
            super()._spawn_event(xml)

    def _forget_passing(self, confirmed: int) -> None:
        """Of what the server did not get, and so has not counted, only what is worth sending again."""
        self._manager._handle_ack({"h": confirmed})
        queue = self._manager.unacked_queue
        left = [entry for entry in queue if not isinstance(entry[1], Passing)]
        queue.clear()
        queue.extend(left)

    def _count(self) -> None:
        if self._manager.enabled_in:
            self._manager.handled = (self._manager.handled + 1) % MAX_SEQ

    def _has_sent(self, confirmed: str) -> bool:
        """Whether we have sent as many stanzas as the server says it has."""
        manager = self._manager
        return confirmed.isdecimal() and (int(confirmed) - manager.last_ack) % MAX_SEQ <= len(manager.unacked_queue)

    def _forget_session(self) -> None:
        """It is not to be resumed: the next connection begins a new one."""
        self._manager.sm_id = None

    def connection_lost(self, exception: BaseException | None) -> None:
        if self._manager.enabled_out and not self._manager.enabled_in:
            # slixmpp waits for the answer to <resume/> or <enable/>, and would take the next connection's for it.
            self._forget_session()
        super().connection_lost(exception)

    def _on_roster_push(self, iq: Any) -> None:
        if iq["type"] != "set" or iq["from"].bare not in ("", self.boundjid.bare):
            return
        answer = self.Iq()
        answer["type"] = "result"
        answer["id"] = iq["id"]
        self.send(answer)
        self.listener.on_roster(read_roster(iq.xml))

    def _on_acked(self, stanza: object) -> None:
        if isinstance(stanza, Sent) and stanza.stanza_id:
            self.listener.on_acked(stanza.stanza_id)

    def _on_failed_login(self, failure: Any) -> None:
        # No other mechanism is tried: it would be a second attempt with the same password, and many lock accounts.
        self.plugin["feature_mechanisms"].mech_list = set()
        self.listener.on_refused(str(failure["condition"]))

    def _on_bad_certificate(self, error: ssl.SSLError) -> None:
        self.listener.on_no_tls(str(getattr(error, "verify_message", "") or error.reason or "TLS failed"))
        self.cut()

    def on_unreachable(self, reason: str) -> None:
        self.listener.on_unreachable(f"The XMPP server cannot be reached: {reason}.")

    def _handle_stream_error(self, error: Any) -> None:
        # slixmpp would follow see-other-host to anywhere, with our credentials. The session has ended with its stream.
        self._forget_session()
        self.listener.on_stream_error(str(error["condition"]))
