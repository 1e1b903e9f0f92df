"""The presence of an account's peers, each of whom may have several clients (RFC 6121 §4.7)."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from xmpp.stanzas import CLIENT

LONGEST_MESSAGE = 500
_SHOWS = frozenset({"away", "chat", "dnd", "xa"})


@dataclass(frozen=True)
class Peer:
    """What all clients of a peer show together; `show` is "" for available, or `unavailable`."""

    show: str
    message: str


NOBODY = Peer("unavailable", "")


class Peers:
    """Those of one session."""

    def __init__(self) -> None:
        self._clients: dict[str, dict[str, tuple[int, Peer]]] = {}

    def clear(self) -> None:
        self._clients.clear()

    def note(self, jid: str, resource: str, stanza: Element) -> Peer | None:
        """Take in a presence of a client of `jid`; what the peer shows now, None when that is as before."""
        clients = self._clients.setdefault(jid, {})
        before = _together(clients)
        is_gone = stanza.get("type") == "unavailable"
        if is_gone:
            clients.pop(resource, None)
        else:
            clients[resource] = (_priority(stanza), _read(stanza))
        if not clients:
            del self._clients[jid]
        now = _together(clients)
        # Of who is gone we may never have heard that they were there.
        return now if now != before or is_gone else None


def _together(clients: dict[str, tuple[int, Peer]]) -> Peer:
    """The client with the highest priority speaks (RFC 6121 §4.7.2.3)."""
    return max(clients.values(), key=lambda known: known[0])[1] if clients else NOBODY


def _read(stanza: Element) -> Peer:
    show = stanza.findtext(f"{{{CLIENT}}}show") or ""
    message = stanza.findtext(f"{{{CLIENT}}}status") or ""
    return Peer(show if show in _SHOWS else "", message[:LONGEST_MESSAGE])


def _priority(stanza: Element) -> int:
    try:
        return int(stanza.findtext(f"{{{CLIENT}}}priority") or 0)
    except ValueError:
        return 0
