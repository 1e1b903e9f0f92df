"""What we say on an XMPP stream, as text (RFC 6121, XEP-0085, 0184, 0280, 0313, 0359).

There are thousands of messages a second, and a login has five of the others: as elements they cost three times as much.
"""

from __future__ import annotations

from datetime import UTC, datetime

from portal.xml_text import has_illegal_characters
from xmpp.stanzas import ARCHIVE, CARBONS, CHAT_STATES, DATA_FORM, RECEIPTS, RESULT_SET, ROSTER, STANZA_ID

ENABLE_CARBONS = f"<enable xmlns='{CARBONS}'/>"
FETCH_ROSTER = f"<query xmlns='{ROSTER}'/>"


def build_message(*, to: str, text: str, origin_id: str) -> str:
    """A chat message that asks for a receipt. Raises ValueError for what XML cannot write."""
    if has_illegal_characters(text):
        raise ValueError("This text has characters that XML cannot write.")
    key, body = escaped(origin_id), escaped(text)
    asks = f"<request xmlns='{RECEIPTS}'/><active xmlns='{CHAT_STATES}'/>"
    origin = f"<origin-id xmlns='{STANZA_ID}' id='{key}'/>"
    return f"<message to='{escaped(to)}' type='chat' id='{key}'><body>{body}</body>{origin}{asks}</message>"


def build_receipt(*, to: str, origin_id: str) -> str:
    """The answer to a message that asked for one, for the sender's other clients too."""
    receipt = f"<received xmlns='{RECEIPTS}' id='{escaped(origin_id)}'/>"
    return f"<message to='{escaped(to)}' type='chat'>{receipt}<store xmlns='urn:xmpp:hints'/></message>"


def build_chat_state(*, to: str, state: str, stanza_id: str) -> str:
    """A word on whether we are writing, `composing`, `paused` or `active`, which no server is to keep (XEP-0334)."""
    said = f"<{state} xmlns='{CHAT_STATES}'/><no-store xmlns='urn:xmpp:hints'/>"
    return f"<message to='{escaped(to)}' type='chat' id='{escaped(stanza_id)}'>{said}</message>"


def build_presence(*, show: str, status: str) -> str:
    """How we are; `show` is "" (available), away, dnd or xa."""
    inner = f"<show>{show}</show>" if show else ""
    inner += f"<status>{escaped(status)}</status>" if status else ""
    return f"<presence>{inner}</presence>"


def build_subscription(*, to: str, kind: str) -> str:
    """`kind`: subscribe, subscribed, unsubscribe or unsubscribed."""
    return f"<presence to='{escaped(to)}' type='{kind}'/>"


def build_request(*, id: str, kind: str, payload: str) -> str:
    """An IQ to the own account; `kind`: get or set."""
    return f"<iq type='{kind}' id='{id}'>{payload}</iq>"


def build_roster_removal(jid: str) -> str:
    return f"<query xmlns='{ROSTER}'><item jid='{escaped(jid)}' subscription='remove'/></query>"


def build_archive_query(*, page_size: int, after: str = "", since: datetime | None = None) -> str:
    """The `<query/>` for a page of the archive: what comes after an id, or since a time, oldest first (XEP-0313)."""
    return _archive_query("start", since, page_size, f"<after>{escaped(after)}</after>" if after else "")


def build_newest_query(until: datetime | None) -> str:
    """The `<query/>` for the newest message of the archive alone, of those until a time."""
    return _archive_query("end", until, 1, "<before/>")


def _archive_query(bound: str, at: datetime | None, page_size: int, page: str) -> str:
    """With a time as its `start` or `end`, and which page of what is found."""
    fields = f"<field var='FORM_TYPE' type='hidden'><value>{ARCHIVE}</value></field>"
    if at is not None:
        fields += f"<field var='{bound}'><value>{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}</value></field>"
    form = f"<x xmlns='{DATA_FORM}' type='submit'>{fields}</x>"
    return f"<query xmlns='{ARCHIVE}'>{form}<set xmlns='{RESULT_SET}'><max>{page_size}</max>{page}</set></query>"


def escaped(text: str) -> str:
    """As content and in attributes alike. A bare carriage return would be read as a line feed (XML 1.0 §2.11)."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&apos;")
    return text.replace("\r", "&#13;")
