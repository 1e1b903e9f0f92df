"""What is said between the SMS gateway and the XMPP server, built and read without any I/O (XEP-0114, 0184, 0066).

A number's address is `+12015550100@<domain of the gateway>`; a sender with a name is there under its name, escaped
(XEP-0106). Whatever a client may write is answered with the one right thing: taken, refused with a sentence, or left
alone, so that errors never travel in circles. Stanzas are written as text, as in xmpp.stanzas.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from encodings.idna import nameprep
from stringprep import in_table_a1 as is_unassigned
from typing import Literal
from xml.etree.ElementTree import Element

from portal.xml_text import without_illegal_characters
from xmpp.building import escaped
from xmpp.stanzas import (
    CLIENT,
    DELAY,
    LONGEST_ID,
    RECEIPTS,
    STANZA_ERRORS,
    STANZA_ID,
    bare,
)

COMPONENT = "jabber:component:accept"
OUT_OF_BAND = "jabber:x:oob"
ENCRYPTED = ("eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2", "jabber:x:encrypted", "urn:xmpp:openpgp:0")
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
# What a JID's local part may not have, and a backslash that would be read as one of these (XEP-0106).
_TO_ESCAPE = re.compile(r"""[ "&'/:<>@]|\\(?=20|22|26|27|2f|3a|3c|3e|40|5c)""")

ErrorType = Literal["cancel", "modify", "auth", "wait"]


class BadAddress(ValueError):
    """This is no number that can be texted; the text says what to write instead."""


@dataclass(frozen=True)
class Written:
    """A text for a number. `sender` is the client's full JID, `to` the address as it was written, `id` the client's."""

    sender: str
    to: str
    remote: str
    id: str
    body: str
    wants_receipt: bool

    @property
    def key(self) -> str:
        """The id as it is stored."""
        return self.id if len(self.id) <= LONGEST_ID else hashlib.sha256(self.id.encode()).hexdigest()


@dataclass(frozen=True)
class Refusal:
    """Why a message is not taken: to be told in an error stanza (RFC 6120 section 8.3)."""

    type: ErrorType
    condition: str
    sentence: str


@dataclass(frozen=True)
class Unwelcome:
    """A message to be answered with an error."""

    sender: str
    to: str
    id: str
    refusal: Refusal


@dataclass(frozen=True)
class Bounced:
    """A message of ours with this id came back; `is_final` unless it may be sent again later (RFC 6120 type wait)."""

    sender: str
    id: str
    reason: str
    is_final: bool = True


@dataclass(frozen=True)
class Confirmed:
    """A client of the user has our message with this id (XEP-0184)."""

    sender: str
    id: str


@dataclass(frozen=True)
class Asked:
    """A presence stanza that wants an answer from a number's address."""

    kind: Literal["subscribe", "unsubscribe", "probe"]
    sender: str
    remote: str


News = Written | Unwelcome | Bounced | Confirmed


def address_of(remote: str, domain: str) -> str:
    """The JID that stands for a remote party: a number, a short code, or a name that may hold anything.

    Servers end the whole stream over an address that is none. What no address can have becomes "_".
    """
    if _NUMBER.fullmatch(remote):
        return f"{remote}@{domain}"
    text = unicodedata.normalize("NFKC", remote).strip()
    known = "".join(char if char.isprintable() and not is_unassigned(char) else "_" for char in text)
    local = _TO_ESCAPE.sub(lambda found: f"\\{ord(found[0]):02x}", known)
    try:
        # Nearly nodeprep (RFC 6122), which forbids mixed directions of writing, for example.
        has_address = bool(nameprep(local))
    except UnicodeError:
        has_address = False
    return f"{local if has_address else _in_ascii(local)}@{domain}"


def _in_ascii(local: str) -> str:
    return "".join(char if char.isascii() else "_" for char in local) or "_"


def number_at(address: str, domain: str) -> str | None:
    """The number in E.164 that a JID of the gateway's domain stands for; None when it is another domain's.

    A resource changes nothing: a number has none. Raises BadAddress.
    """
    local, separator, host = address.partition("/")[0].rpartition("@")
    if host.lower() != domain.lower():
        return None
    if _NUMBER.fullmatch(local):
        return local
    example = f"such as +12015550100@{domain}"
    if not separator or not local:
        raise BadAddress(f"Write to a telephone number here, {example}.")
    if local.isascii() and local.isdigit():
        if len(local) <= 8:
            raise BadAddress("Short numbers cannot be texted from here.")
        raise BadAddress(f"Write the number with + and the country code, {example}.")
    raise BadAddress(f"This is no telephone number. Write it with +, country code and the digits 0 to 9, {example}.")


def read_message(stanza: Element, domain: str) -> News | None:
    """What a `<message/>` wants of us; None for what needs no answer: chat states, headlines, what is not for us."""
    sender, to, kind = stanza.get("from", ""), stanza.get("to", ""), stanza.get("type", "normal")
    stanza_id = stanza.get("id", "")
    if not sender or to.partition("/")[0].rpartition("@")[2].lower() != domain.lower():
        return None
    if kind == "error":
        error = _child(stanza, "error")
        is_final = error is None or error.get("type") != "wait"
        return Bounced(bare(sender), stanza_id, _reason(error), is_final)
    receipt = stanza.find(f"{{{RECEIPTS}}}received")
    if receipt is not None:
        return Confirmed(bare(sender), receipt.get("id", ""))
    body = _child(stanza, "body")
    if body is None or kind == "headline":
        return None
    refusal = _refused_at_sight(stanza, kind)
    if refusal is not None:
        return Unwelcome(sender, to, stanza_id, refusal)
    try:
        remote = number_at(to, domain)
    except BadAddress as error:
        return Unwelcome(sender, to, stanza_id, Refusal("cancel", "item-not-found", str(error)))
    assert remote is not None
    wants_receipt = stanza.find(f"{{{RECEIPTS}}}request") is not None and bool(stanza_id)
    return Written(sender, to, remote, stanza_id, body.text or "", wants_receipt)


def _refused_at_sight(stanza: Element, kind: str) -> Refusal | None:
    if kind == "groupchat":
        return Refusal("cancel", "not-acceptable", "A number cannot take part in a group chat.")
    if any(part.tag.startswith(tuple(f"{{{namespace}" for namespace in ENCRYPTED)) for part in stanza):
        sentence = "Encrypted messages cannot be texted. Turn encryption off for this contact."
        return Refusal("modify", "not-acceptable", sentence)
    return None


def read_presence(stanza: Element, domain: str) -> Asked | None:
    """A request that a number has to answer; None for all other presence."""
    kind, sender = stanza.get("type", ""), stanza.get("from", "")
    if kind not in ("subscribe", "unsubscribe", "probe") or not sender:
        return None
    try:
        remote = number_at(stanza.get("to", ""), domain)
    except BadAddress:
        return None
    return Asked(kind, bare(sender), remote) if remote else None  # type: ignore[arg-type]


def _child(stanza: Element, name: str) -> Element | None:
    """Servers leave stanzas in the namespace of clients, or put them into that of components."""
    found = stanza.find(f"{{{COMPONENT}}}{name}")
    return stanza.find(f"{{{CLIENT}}}{name}") if found is None else found


def _reason(error: Element | None) -> str:
    condition = text = ""
    for part in error if error is not None else ():
        if part.tag == f"{{{STANZA_ERRORS}}}text":
            text = part.text or ""
        elif part.tag.startswith(f"{{{STANZA_ERRORS}}}"):
            condition = part.tag.partition("}")[2]
    return ": ".join(word for word in (condition or "undefined-condition", text) if word)[:300]


def build_text(*, id: str, to: str, sender: str, text: str, link: str = "", at: datetime | None = None) -> str:
    """A received text. `link` is a file's address, which is the body too, so that clients show it in place (XEP-0066).
    `at`: when it was received, of a late one."""
    body = f"<body>{_content(link or text)}</body>"
    key = _attribute(id)
    parts = [body, f"<origin-id xmlns='{STANZA_ID}' id='{key}'/>", f"<request xmlns='{RECEIPTS}'/>"]
    if link:
        parts.append(f"<x xmlns='{OUT_OF_BAND}'><url>{_content(link)}</url></x>")
    if at is not None:
        stamp = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        parts.append(f"<delay xmlns='{DELAY}' from='{_attribute(sender.rpartition('@')[2])}' stamp='{stamp}'/>")
    return f"<message {_way(to, sender)} type='chat' id='{key}'>{''.join(parts)}</message>"


def build_receipt(*, to: str, sender: str, id: str) -> str:
    """The carrier has delivered the client's message with that id."""
    receipt = f"<received xmlns='{RECEIPTS}' id='{_attribute(id)}'/>"
    return f"<message {_way(to, sender)} type='chat'>{receipt}</message>"


def build_error(*, to: str, sender: str, id: str, refusal: Refusal) -> str:
    """The answer to a message that is not taken, or that failed later. The text itself is not repeated."""
    key = f" id='{_attribute(id)}'" if id else ""
    text = f"<text xmlns='{STANZA_ERRORS}' xml:lang='en'>{_content(refusal.sentence)}</text>"
    error = f"<error type='{refusal.type}'><{refusal.condition} xmlns='{STANZA_ERRORS}'/>{text}</error>"
    return f"<message {_way(to, sender)} type='error'{key}>{error}</message>"


def build_presence(*, to: str, sender: str, kinds: Sequence[str], status: str = "") -> str:
    """Presence stanzas of these types, "" for available."""
    said = f"<status>{_content(status)}</status>" if status else ""
    types = (f" type='{kind}'" if kind else "" for kind in kinds)
    return "".join(f"<presence {_way(to, sender)}{type}>{said}</presence>" for type in types)


def _way(to: str, sender: str) -> str:
    return f"from='{_attribute(sender)}' to='{_attribute(to)}'"


def _attribute(text: str) -> str:
    """Line breaks and tabs would be read as blanks there (XML 1.0 §3.3.3)."""
    return _content(text).replace("\n", "&#10;").replace("\t", "&#9;")


def _content(text: str) -> str:
    return escaped(without_illegal_characters(text))
