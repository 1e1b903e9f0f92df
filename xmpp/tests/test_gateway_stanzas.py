"""Addresses and stanzas of the SMS gateway, whatever a client may write."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slixmpp import JID

from portal.xml_text import without_illegal_characters
from xmpp.gateway_stanzas import (
    COMPONENT,
    Asked,
    BadAddress,
    Bounced,
    Confirmed,
    Refusal,
    Unwelcome,
    Written,
    address_of,
    build_error,
    build_presence,
    build_text,
    number_at,
    read_message,
    read_presence,
)
from xmpp.stanzas import STANZA_ERRORS

DOMAIN = "sms.example.com"
NUMBER = "+12015550100"


@pytest.mark.parametrize(
    "address",
    [f"{NUMBER}@{DOMAIN}", f"{NUMBER}@SMS.Example.COM", f"{NUMBER}@{DOMAIN}/phone", f"{NUMBER}@{DOMAIN}/a@b/c"],
)
def test_a_number(address: str) -> None:
    """In E.164; case of the domain and a resource change nothing."""
    assert number_at(address, DOMAIN) == NUMBER


_NO_NUMBERS = ["", "alice", "12015550100", "911", "+", "+0123456789", "+1201555010a", "+1 201 555 0100"]
_NO_NUMBERS += ["+1201555010012345", "++12015550100", "+12015550100\u200b", "tel:+12015550100", "+12015550100@x"]
_NO_NUMBERS += ["+１２０１５５５０１００", "+١٢٠١٥٥٥٠١٠٠"]


@pytest.mark.parametrize("local", _NO_NUMBERS)
def test_no_number(local: str) -> None:
    """Unicode digits, no plus, short codes, too long, too short: each says what to write."""
    with pytest.raises(BadAddress, match=r"\w+\.$"):
        number_at(f"{local}@{DOMAIN}", DOMAIN)


@pytest.mark.parametrize(
    "address", [f"{NUMBER}@example.com", f"{NUMBER}@x{DOMAIN}", NUMBER, "", f"{NUMBER}@{DOMAIN}.x"]
)
def test_another_domain_is_not_ours(address: str) -> None:
    assert number_at(address, DOMAIN) is None


@pytest.mark.fuzz
@given(st.text(), st.sampled_from([DOMAIN, "other.example", ""]))
def test_any_address_is_a_number_or_refused(local: str, domain: str) -> None:
    """What is taken is a plus and 7 to 15 ASCII digits; nothing else raises."""
    try:
        found = number_at(f"{local}@{domain}", DOMAIN)
    except BadAddress:
        return
    assert found is None or (
        found[0] == "+" and found[1:].isascii() and found[1:].isdigit() and 7 <= len(found) - 1 <= 15
    )


_NAMES = st.sampled_from(["body", "error", "received", "request", "x", "composing", "encrypted", "thread", "subject"])
_SPACES = st.sampled_from(
    [
        COMPONENT,
        "jabber:client",
        "urn:xmpp:receipts",
        "http://jabber.org/protocol/chatstates",
        "eu.siacs.conversations.axolotl",
        "urn:ietf:params:xml:ns:xmpp-stanzas",
        "",
    ]
)
_TYPES = st.sampled_from(["chat", "normal", "error", "groupchat", "headline", "", "subscribe", "probe", "nonsense"])
_ADDRESSES = st.one_of(
    st.sampled_from([f"{NUMBER}@{DOMAIN}", f"911@{DOMAIN}", DOMAIN, f"@{DOMAIN}", "a@b/c", ""]), st.text(max_size=30)
)


@st.composite
def stanzas(draw: st.DrawFn) -> ET.Element:
    """A stanza of odd parts with odd addresses."""
    attributes = {name: draw(_ADDRESSES) for name in ("from", "to") if draw(st.booleans())}
    attributes |= {"type": draw(_TYPES)} | ({"id": draw(st.text(max_size=300))} if draw(st.booleans()) else {})
    stanza = ET.Element(f"{{{COMPONENT}}}message", attributes)
    for _ in range(draw(st.integers(0, 4))):
        child = ET.SubElement(stanza, f"{{{draw(_SPACES)}}}{draw(_NAMES)}", {"id": draw(st.text(max_size=20))})
        child.text = draw(st.text(max_size=50))
        if draw(st.booleans()):
            ET.SubElement(child, f"{{{draw(_SPACES)}}}{draw(_NAMES)}").text = draw(st.text(max_size=20))
    return stanza


@pytest.mark.fuzz
@given(stanzas())
def test_any_stanza_is_read(stanza: ET.Element) -> None:
    """None is a crash, and to an error nothing is answered: only these two kinds of news lead to a stanza of ours."""
    news = read_message(stanza, DOMAIN)
    read_presence(stanza, DOMAIN)
    if stanza.get("type") in ("error", "headline"):
        assert not isinstance(news, Written | Unwelcome)
    if isinstance(news, Written):
        assert news.remote.startswith("+")
        assert len(news.key) <= 255


def test_the_kinds_of_news() -> None:
    """A text, a refusal, a bounce, a receipt, a request, and what needs no answer."""

    def read(inner: str, kind: str = "chat", to: str = f"{NUMBER}@{DOMAIN}") -> object:
        receipts = 'xmlns="urn:xmpp:receipts"'
        head = f'<message xmlns="{COMPONENT}" from="alice@example.com/x" to="{to}" type="{kind}" id="1">'
        return read_message(ET.fromstring(f"{head}{inner.replace('RECEIPTS', receipts)}</message>"), DOMAIN)

    assert read("<body>Hi</body><request RECEIPTS/>") == Written(
        "alice@example.com/x", f"{NUMBER}@{DOMAIN}", NUMBER, "1", "Hi", wants_receipt=True
    )
    assert isinstance(read("<body>Hi</body>", to=f"911@{DOMAIN}"), Unwelcome)
    assert isinstance(read("<body>Hi</body>", kind="groupchat"), Unwelcome)
    assert read("<received RECEIPTS id='7'/>") == Confirmed("alice@example.com", "7")
    assert isinstance(read("<body>Hi</body>", kind="error"), Bounced)
    busy = read("<body>Hi</body><error type='wait'/>", kind="error")
    assert isinstance(busy, Bounced)
    assert not busy.is_final
    assert read("<active xmlns='http://jabber.org/protocol/chatstates'/>") is None
    assert read("<body>Hi</body>", kind="headline") is None
    presence = ET.fromstring(f'<presence xmlns="{COMPONENT}" from="a@b/c" to="{NUMBER}@{DOMAIN}" type="subscribe"/>')
    assert read_presence(presence, DOMAIN) == Asked("subscribe", "a@b", NUMBER)


@pytest.mark.fuzz
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_we_write_is_xml(text: str) -> None:
    """Carriers pass on control characters; the server would end our stream over them. What XML can have stays."""
    kept = without_illegal_characters(text)
    message = ET.fromstring(build_text(id=text, to="a@b", sender=f"{NUMBER}@{DOMAIN}", text=text, link=""))
    assert (message.findtext("body"), message.get("id")) == (kept, kept)
    error = ET.fromstring(build_error(to="a@b", sender=DOMAIN, id=text, refusal=Refusal("cancel", "not-allowed", text)))
    assert error.findtext(f"error/{{{STANZA_ERRORS}}}text") == kept
    presence = ET.fromstring(build_presence(to=kept, sender=DOMAIN, kinds=["subscribe"], status=text))
    assert (presence.get("to"), presence.findtext("status") or "") == (kept, kept)


@pytest.mark.parametrize(
    ("remote", "local"),
    [
        (NUMBER, NUMBER),
        ("12345", "12345"),
        ("alerts@bank.com", "alerts\\40bank.com"),
        ("O2/Info", "O2\\2fInfo"),
        (" My Bank ", "My\\20Bank"),
        ("c:\\net", "c\\3a\\net"),
        ("c:\\5commas", "c\\3a\\5c5commas"),
        ("a\x07b\nc", "a_b_c"),
        ("\uff20home", "\\40home"),
        ("بنك1", "___1"),
        ("\u034f", "_"),
        ("", "_"),
    ],
)
def test_a_sender_with_a_name(remote: str, local: str) -> None:
    """XEP-0106: what a JID may not have is escaped, what no JID can have is replaced."""
    assert address_of(remote, DOMAIN) == f"{local}@{DOMAIN}"


@pytest.mark.fuzz
@given(st.text(max_size=32))
def test_any_sender_has_an_address(remote: str) -> None:
    """Another library takes it for a JID of our domain: a server that does not would end the stream of everybody."""
    jid = JID(address_of(remote, DOMAIN))
    assert (jid.domain, jid.resource) == (DOMAIN, "")
