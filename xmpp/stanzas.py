"""What is said on an XMPP stream, read without any I/O (RFC 6121, XEP-0085, 0184, 0203, 0280, 0313, 0359).

Whatever comes from the server may be forged, malformed or huge: readers return None for what means nothing to us, and
trust ids, carbons and archive results only from the account's own server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal
from xml.etree.ElementTree import Element

CLIENT = "jabber:client"
ROSTER = "jabber:iq:roster"
CARBONS = "urn:xmpp:carbons:2"
FORWARD = "urn:xmpp:forward:0"
DELAY = "urn:xmpp:delay"
RECEIPTS = "urn:xmpp:receipts"
STANZA_ID = "urn:xmpp:sid:0"
ARCHIVE = "urn:xmpp:mam:2"
RESULT_SET = "http://jabber.org/protocol/rsm"
DATA_FORM = "jabber:x:data"
CHAT_STATES = "http://jabber.org/protocol/chatstates"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
OCCUPANT = "http://jabber.org/protocol/muc#user"

# Servers differ; some date with an offset instead of Z (XEP-0082).
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
LONGEST_ID = 255
LONGEST_JID = 320

Via = Literal["direct", "carbon", "archive"]


@dataclass(frozen=True)
class Said:
    """A message with a body, as it concerns one account. JIDs are bare and lower-case.

    `outgoing`: sent by the account itself, from another of its clients. `stanza_id` is the id that the account's own
    archive gave it, `origin_id` the sender's; either may be "". `at` is None for now.
    """

    peer: str
    outgoing: bool
    text: str
    stanza_id: str = ""
    origin_id: str = ""
    at: datetime | None = None
    via: Via = "direct"
    # The full JID to answer with a receipt, "" when none is wanted (XEP-0184).
    receipt_to: str = ""


@dataclass(frozen=True)
class Received:
    """A client of `peer` has the message with this origin id (XEP-0184)."""

    peer: str
    origin_id: str


@dataclass(frozen=True)
class Refused:
    """A message of ours came back; `reason` is a sentence or a condition of RFC 6120 §8.3."""

    peer: str
    origin_id: str
    reason: str


@dataclass(frozen=True)
class ChatState:
    """Whether somebody at `peer` is writing at the moment (XEP-0085); `stanza_id` is the sender's, "" without one."""

    peer: str
    is_composing: bool
    stanza_id: str = ""


@dataclass(frozen=True)
class ArchivePage:
    """The end of an archive page: the id of its last message ("" when it was empty), and whether it was the last."""

    last: str
    complete: bool


News = Said | Received | Refused
# Beside what is to be stored, and acknowledged only then, what is worth nothing later.
Word = News | ChatState


def bare(jid: str) -> str:
    """The JID without its resource, in lower case."""
    return jid.partition("/")[0].lower()


def read_message(stanza: Element, own: str) -> Word | None:
    """What a `<message/>` of the stream says to the account with the bare JID `own`; None when nothing to us."""
    sender = stanza.get("from", "")
    if not sender or bare(sender) == own:
        # Only the own server may tell what other clients did, and what the archive holds.
        for via, wrapper in _wrappers(stanza):
            return _read_forwarded(wrapper, own, via)
    if _find(stanza, CARBONS, "received", "sent") is not None or stanza.find(f"{{{ARCHIVE}}}result") is not None:
        return None  # forged
    return _read_plain(stanza, own)


def _wrappers(stanza: Element) -> list[tuple[Via, Element]]:
    carbon = _find(stanza, CARBONS, "received", "sent")
    if carbon is not None:
        return [("carbon", carbon)]
    result = stanza.find(f"{{{ARCHIVE}}}result")
    return [("archive", result)] if result is not None else []


def _find(parent: Element, namespace: str, *names: str) -> Element | None:
    found = (parent.find(f"{{{namespace}}}{name}") for name in names)
    return next((element for element in found if element is not None), None)


def _read_forwarded(wrapper: Element, own: str, via: Via) -> Word | None:
    forwarded = wrapper.find(f"{{{FORWARD}}}forwarded")
    inner = forwarded.find(f"{{{CLIENT}}}message") if forwarded is not None else None
    if forwarded is None or inner is None:
        return None
    news = _read_plain(inner, own)
    if isinstance(news, ChatState):
        # Peers may write to one client alone (RFC 6121 §5.1); what is archived is over.
        return news if via == "carbon" else None
    if not isinstance(news, Said):
        # Receipts matter from the archive too: they may have come while nobody was there to hear them.
        return news if via == "archive" and isinstance(news, Received) else None
    # Inside a delayed message stands when it was sent, around it when it was archived.
    at = news.at or _delay(forwarded)
    stanza_id = _short(wrapper.get("id")) if via == "archive" else news.stanza_id
    # The client that got the message first answers for a carbon; of archived ones nobody waits any more.
    return replace(news, via=via, at=at, stanza_id=stanza_id, receipt_to="")


def _read_plain(stanza: Element, own: str) -> Word | None:
    sender, receiver = bare(stanza.get("from", "")), bare(stanza.get("to", "")) or own
    outgoing = sender == own and receiver != own
    peer = receiver if outgoing else sender
    kind = stanza.get("type", "normal")
    if not _is_neighbour(peer, own) or kind in ("groupchat", "headline") or stanza.find(f"{{{OCCUPANT}}}x") is not None:
        return None
    if kind == "error":
        return _read_error(stanza, peer)
    text = stanza.findtext(f"{{{CLIENT}}}body")
    if not text:
        # Beside a body a chat state says nothing: the message ends the writing.
        return None if outgoing else _read_receipt(stanza, peer) or _read_chat_state(stanza, peer)
    origin = stanza.find(f"{{{STANZA_ID}}}origin-id")
    sent_id = _short(stanza.get("id"))
    wants_receipt = stanza.find(f"{{{RECEIPTS}}}request") is not None and bool(sent_id) and not outgoing
    return Said(
        peer=peer,
        outgoing=outgoing,
        text=text,
        stanza_id=_archive_id(stanza, own),
        origin_id=(_short(origin.get("id")) if origin is not None else "") or sent_id,
        at=_delay(stanza),
        receipt_to=stanza.get("from", "") if wants_receipt else "",
    )


def _read_error(stanza: Element, peer: str) -> Refused | None:
    origin_id = _short(stanza.get("id"))
    if not origin_id:
        return None
    text = stanza.findtext(f"{{{CLIENT}}}error/{{{STANZA_ERRORS}}}text")
    reason = text or read_condition(stanza).replace("-", " ")
    return Refused(peer, origin_id, reason[:300])


def read_condition(stanza: Element) -> str:
    """Why it came back, in the words of RFC 6120 §8.3.3."""
    error = stanza.find(f"{{{CLIENT}}}error")
    for part in error if error is not None else ():
        if part.tag.startswith(f"{{{STANZA_ERRORS}}}") and part.tag != f"{{{STANZA_ERRORS}}}text":
            return part.tag.partition("}")[2]
    return "undefined-condition"


def _read_receipt(stanza: Element, peer: str) -> Received | None:
    receipt = stanza.find(f"{{{RECEIPTS}}}received")
    origin_id = _short(receipt.get("id")) if receipt is not None else ""
    return Received(peer, origin_id) if origin_id else None


def _read_chat_state(stanza: Element, peer: str) -> ChatState | None:
    state = _find(stanza, CHAT_STATES, "composing", "active", "paused", "inactive", "gone")
    if state is None or stanza.find(f"{{{DELAY}}}delay") is not None:
        return None
    return ChatState(peer, state.tag == f"{{{CHAT_STATES}}}composing", _short(stanza.get("id")))


def _is_neighbour(jid: str, own: str) -> bool:
    """Somebody on the server of `own`: with others there is no conversation (S0.29), nor with the server itself; what
    the SMS gateway passes on stands among the texts already."""
    return "@" in jid and len(jid) <= LONGEST_JID and jid.partition("@")[2] == own.partition("@")[2]


def _archive_id(stanza: Element, own: str) -> str:
    """Only the account's own archive may say it (XEP-0359 §6)."""
    for element in stanza.iterfind(f"{{{STANZA_ID}}}stanza-id"):
        if bare(element.get("by", "")) == own:
            return _short(element.get("id"))
    return ""


def _short(value: str | None) -> str:
    """An id as we store it; of one that is too long the start, which is as good."""
    return (value or "")[:LONGEST_ID]


def _delay(parent: Element) -> datetime | None:
    element = parent.find(f"{{{DELAY}}}delay")
    return read_time(element.get("stamp", "")) if element is not None else None


def archived_at(result: Element) -> datetime | None:
    """When the archive took in the message of this `<result/>`."""
    forwarded = result.find(f"{{{FORWARD}}}forwarded")
    return _delay(forwarded) if forwarded is not None else None


def read_time(stamp: str) -> datetime | None:
    """A time of XEP-0082; None when it is none."""
    if not _TIME.fullmatch(stamp):
        return None
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_roster(iq: Element) -> list[dict[str, str]]:
    """The attributes of each `<item/>` of a roster, or of what changed in it (RFC 6121 §2.1)."""
    return [dict(item.attrib) for item in iq.iterfind(f"{{{ROSTER}}}query/{{{ROSTER}}}item")]


def read_archive_end(answer: Element) -> ArchivePage:
    """The `<fin/>` in the answer to a query; without one the archive has nothing more for us."""
    end = answer.find(f"{{{ARCHIVE}}}fin")
    if end is None:
        return ArchivePage("", complete=True)
    last = end.findtext(f"{{{RESULT_SET}}}set/{{{RESULT_SET}}}last") or ""
    return ArchivePage(_short(last), complete=end.get("complete") == "true" or not last)
