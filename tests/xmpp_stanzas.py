"""Stanzas as an XMPP client of the tests hears them."""

from __future__ import annotations

import time
from xml.etree import ElementTree as ET

CLIENT = "{jabber:client}"
CARBONS = "{urn:xmpp:carbons:2}"
FORWARD = "{urn:xmpp:forward:0}"
RECEIPTS = "{urn:xmpp:receipts}"
CHAT_STATES = "{http://jabber.org/protocol/chatstates}"
DELAY = "{urn:xmpp:delay}"
OOB = "{jabber:x:oob}"
STANZA_IDS = "{urn:xmpp:sid:0}"
STANZA_ERRORS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"


class Heard:
    """A stanza as it came: `kind` is message or presence, `xml` all of it."""

    def __init__(self, xml: ET.Element) -> None:
        self.xml, self.at = xml, time.monotonic()
        self.kind = xml.tag.removeprefix(CLIENT)
        self.sender, self.to = xml.get("from", ""), xml.get("to", "")
        self.id, self.type = xml.get("id", ""), xml.get("type", "")

    def __repr__(self) -> str:
        return ET.tostring(self.xml, encoding="unicode")

    def text_of(self, name: str) -> str | None:
        """The text of a child element, "" when it has none, None without the element."""
        found = self.xml.find(CLIENT + name)
        return None if found is None else found.text or ""

    @property
    def body(self) -> str | None:
        return self.text_of("body")

    @property
    def bare(self) -> str:
        """Who sent it, without the resource."""
        return self.sender.partition("/")[0]

    @property
    def receipt_for(self) -> str | None:
        """The id of the message that this says is delivered (XEP-0184)."""
        found = self.xml.find(f"{RECEIPTS}received")
        return None if found is None else found.get("id")

    @property
    def wants_receipt(self) -> bool:
        return self.xml.find(f"{RECEIPTS}request") is not None

    @property
    def chat_state(self) -> str | None:
        """XEP-0085: active, composing, paused, inactive, gone."""
        states = [each.tag.removeprefix(CHAT_STATES) for each in self.xml if each.tag.startswith(CHAT_STATES)]
        return states[0] if states else None

    @property
    def delayed_to(self) -> str | None:
        """When it was really sent (XEP-0203)."""
        found = self.xml.find(f"{DELAY}delay")
        return None if found is None else found.get("stamp")

    @property
    def link(self) -> str | None:
        """Out of band data (XEP-0066)."""
        found = self.xml.find(f"{OOB}x/{OOB}url")
        return None if found is None else found.text

    @property
    def stanza_id(self) -> str | None:
        """What the server's archive calls it (XEP-0359)."""
        found = self.xml.find(f"{STANZA_IDS}stanza-id")
        return None if found is None else found.get("id")

    @property
    def origin_id(self) -> str | None:
        found = self.xml.find(f"{STANZA_IDS}origin-id")
        return None if found is None else found.get("id")

    @property
    def condition(self) -> str | None:
        """Of an error: such as not-acceptable (RFC 6120 section 8.3.3)."""
        names = [each.tag.removeprefix(STANZA_ERRORS) for each in self.xml.iterfind(f"{CLIENT}error/*")]
        return next((name for name in names if name != "text" and not name.startswith("{")), None)

    @property
    def error_text(self) -> str | None:
        return self.xml.findtext(f"{CLIENT}error/{STANZA_ERRORS}text")

    @property
    def error_type(self) -> str | None:
        """cancel, modify, wait, auth or continue."""
        found = self.xml.find(f"{CLIENT}error")
        return None if found is None else found.get("type")

    @property
    def carbon(self) -> Heard | None:
        """The message of which this is a copy: sent or received by another client of the account (XEP-0280)."""
        found = self.xml.find(f"{CARBONS}sent/{FORWARD}forwarded/{CLIENT}message")
        if found is None:
            found = self.xml.find(f"{CARBONS}received/{FORWARD}forwarded/{CLIENT}message")
        return None if found is None else Heard(found)
