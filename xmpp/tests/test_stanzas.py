"""Reading and writing stanzas: whatever a server or a peer says, nothing breaks and nothing forged is believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.xml_text import has_illegal_characters
from xmpp import building, stanzas
from xmpp.stanzas import ArchivePage, ChatState, Received, Refused, Said, read_message

OWN = "me@im.example"
PEER = "peer@im.example/uc-one"


def element(inner: str, **attributes: str) -> Element:
    """A message of the peer to us with this inside."""
    given_attributes = {"from": PEER, "to": OWN, "type": "chat", "id": "m1", **attributes}
    text = " ".join(f"{name.rstrip('_')}='{value}'" for name, value in given_attributes.items() if value)
    return ET.fromstring(f"<message xmlns='jabber:client' {text}>{inner}</message>")


def carbon(kind: str, inner: str, sender: str = OWN, **attributes: str) -> Element:
    return element(
        f"<{kind} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
        f"{ET.tostring(element(inner, **attributes)).decode()}</forwarded></{kind}>",
        **{"from": sender},
    )


def archived(inner: str, sender: str = "", stamp: str = "2026-11-21T08:30:00Z", **attributes: str) -> Element:
    return element(
        f"<result xmlns='urn:xmpp:mam:2' id='a1'><forwarded xmlns='urn:xmpp:forward:0'>"
        f"<delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>{ET.tostring(element(inner, **attributes)).decode()}"
        "</forwarded></result>",
        **{"from": sender},
    )


BODY = "<body>Hello</body>"
SAID = Said(peer="peer@im.example", outgoing=False, text="Hello", origin_id="m1")


def test_plain_message() -> None:
    assert read_message(element(BODY), OWN) == SAID


def test_origin_id_wins_over_the_id() -> None:
    """XEP-0359: servers may give a stanza another id on its way."""
    said = read_message(element(f"{BODY}<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>"), OWN)
    assert isinstance(said, Said)
    assert said.origin_id == "o1"


@pytest.mark.parametrize(("by", "known"), [(OWN, "s1"), ("me@im.example/x", "s1"), ("peer@im.example", "")])
def test_stanza_id_is_believed_of_the_own_archive_only(by: str, known: str) -> None:
    """XEP-0359 §6: anybody may write one."""
    said = read_message(element(f"{BODY}<stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='s1'/>"), OWN)
    assert isinstance(said, Said)
    assert said.stanza_id == known


def test_receipt_is_answered_where_it_is_asked() -> None:
    """XEP-0184: to the client that wrote, unless it gave no id to confirm."""
    asked = f"{BODY}<request xmlns='urn:xmpp:receipts'/>"
    said, without_id = read_message(element(asked), OWN), read_message(element(asked, id=""), OWN)
    assert isinstance(said, Said)
    assert isinstance(without_id, Said)
    assert (said.receipt_to, without_id.receipt_to) == (PEER, "")


def test_carbons() -> None:
    """XEP-0280: received by, and sent from, another client of ours; no receipt is given for either."""
    asked = f"{BODY}<request xmlns='urn:xmpp:receipts'/>"
    assert read_message(carbon("received", asked), OWN) == Said(**{**SAID.__dict__, "via": "carbon"})
    sent = read_message(carbon("sent", BODY, **{"from": f"{OWN}/desk", "to": PEER}), OWN)
    assert sent == Said("peer@im.example", True, "Hello", origin_id="m1", via="carbon")


@pytest.mark.parametrize("sender", [PEER, "im.example", "me@im.example.org"])
@pytest.mark.parametrize("kind", ["sent", "received"])
def test_forged_carbons(sender: str, kind: str) -> None:
    """XEP-0280 §11: whoever else forwards something as a carbon says nothing."""
    assert read_message(carbon(kind, BODY, sender=sender), OWN) is None


def test_archived_message() -> None:
    """XEP-0313: with the archive's id and time; the sender's own stamp inside is older and counts."""
    said = read_message(archived(BODY), OWN)
    assert said == Said(
        **{**SAID.__dict__, "via": "archive", "stanza_id": "a1", "at": datetime(2026, 11, 21, 8, 30, tzinfo=UTC)}
    )
    delayed = f"{BODY}<delay xmlns='urn:xmpp:delay' stamp='2026-11-20T10:00:00+02:00'/>"
    late = read_message(archived(delayed), OWN)
    assert isinstance(late, Said)
    assert late.at == datetime(2026, 11, 20, 8, tzinfo=UTC)


def test_forged_archive() -> None:
    assert read_message(archived(BODY, sender=PEER), OWN) is None


@pytest.mark.parametrize(
    ("stanza", "news"),
    [
        (element("<received xmlns='urn:xmpp:receipts' id='x'/>"), Received("peer@im.example", "x")),
        (element("<received xmlns='urn:xmpp:receipts'/>"), None),
        (element("<body/>"), None),
        (element(BODY, type="groupchat"), None),
        (element(BODY, type="headline"), None),
        (element(f"{BODY}<x xmlns='http://jabber.org/protocol/muc#user'/>"), None),
        (element(BODY, **{"from": "im.example"}), None),
        (element(BODY, **{"from": ""}), None),
        (element(BODY, **{"from": "peer@elsewhere.example/x"}), None),
        (element(BODY, **{"from": "+12015550100@sms.im.example"}), None),
        (
            element("<error><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", type="error"),
            Refused("peer@im.example", "m1", "item not found"),
        ),
        (
            element(
                "<error><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
                "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>No.</text></error>",
                type="error",
            ),
            Refused("peer@im.example", "m1", "No."),
        ),
        (element(BODY, type="error"), Refused("peer@im.example", "m1", "undefined condition")),
        (element(BODY, type="error", id=""), None),
    ],
)
def test_everything_else(stanza: Element, news: object) -> None:
    assert read_message(stanza, OWN) == news


def state(name: str) -> str:
    return f"<{name} xmlns='http://jabber.org/protocol/chatstates'/>"


DELAYED = "<delay xmlns='urn:xmpp:delay' stamp='2026-11-21T08:30:00Z'/>"


@pytest.mark.parametrize("name", ["composing", "active", "paused", "inactive", "gone"])
def test_chat_states(name: str) -> None:
    """XEP-0085: alone, or as a carbon of what another client of ours received."""
    said = ChatState("peer@im.example", name == "composing", "m1")
    assert read_message(element(state(name)), OWN) == said
    assert read_message(carbon("received", state(name)), OWN) == said


@pytest.mark.parametrize(
    "stanza",
    [
        element(state("composing") + DELAYED),
        element(state("composing"), type="groupchat"),
        element(state("composing"), type="error", id=""),
        element(state("writing")),
        element(f"{state('composing')}<x xmlns='http://jabber.org/protocol/muc#user'/>"),
        carbon("sent", state("composing"), **{"from": f"{OWN}/desk", "to": PEER}),
        carbon("received", state("composing"), sender=PEER),
        carbon("received", state("composing") + DELAYED),
        archived(state("composing")),
        element(state("composing"), **{"from": "peer@elsewhere.example/x"}),
    ],
)
def test_chat_states_that_say_nothing_to_us(stanza: Element) -> None:
    """Late ones, groups, errors, our own from another client, and forged ones."""
    assert read_message(stanza, OWN) is None


@pytest.mark.parametrize("name", ["active", "composing"])
def test_beside_a_body_a_chat_state_says_nothing(name: str) -> None:
    """XEP-0085 §5.3: the message ends the writing."""
    assert read_message(element(BODY + state(name)), OWN) == SAID


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200).filter(
    lambda text: not has_illegal_characters(text)
)


def written(text: str) -> Element:
    """As the server reads it."""
    return ET.fromstring(f"<s xmlns='{stanzas.CLIENT}'>{text}</s>")[0]


@pytest.mark.fuzz
@given(text=TEXTS, to=TEXTS, key=TEXTS)
def test_what_is_written_is_read(text: str, to: str, key: str) -> None:
    """S0.1: any text that XML can write comes through as it is."""
    message = written(building.build_message(to=to, text=text, origin_id=key))
    assert message.findtext("{jabber:client}body", "") == text
    receipt = written(building.build_receipt(to=to, origin_id=key))
    assert receipt.find("{urn:xmpp:receipts}received") is not None
    word = written(building.build_chat_state(to=to, state="paused", stanza_id=key))
    assert [child.tag for child in word] == [
        "{http://jabber.org/protocol/chatstates}paused",
        "{urn:xmpp:hints}no-store",
    ]
    presence = written(building.build_presence(show="dnd", status=text))
    assert presence.findtext("{jabber:client}status", "") == text
    query = written(building.build_archive_query(page_size=10, after=key))
    assert query.findtext(f"{{{stanzas.RESULT_SET}}}set/{{{stanzas.RESULT_SET}}}after", "") == key


@pytest.mark.fuzz
@given(jid=TEXTS.filter(lambda text: not set(text) & set("\t\n")))
def test_any_jid_is_written(jid: str) -> None:
    assert written(building.build_subscription(to=jid, kind="subscribe")).get("to") == jid
    assert written(building.build_roster_removal(jid))[0].get("jid") == jid


def test_archive_queries_ask_for_times_in_utc() -> None:
    """XEP-0313 §4.1.2, XEP-0082."""
    at = datetime(2026, 11, 27, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    for bound, query in (
        ("start", building.build_archive_query(page_size=5, since=at)),
        ("end", building.build_newest_query(at)),
    ):
        fields = {field.get("var"): "".join(field.itertext()) for field in written(query).iter("{jabber:x:data}field")}
        assert fields == {"FORM_TYPE": stanzas.ARCHIVE, bound: "2026-11-26T23:30:00Z"}


_NAMES = st.sampled_from(
    [
        "{jabber:client}body",
        "{jabber:client}error",
        "{jabber:client}message",
        "{urn:xmpp:carbons:2}sent",
        "{urn:xmpp:carbons:2}received",
        "{urn:xmpp:forward:0}forwarded",
        "{urn:xmpp:mam:2}result",
        "{urn:xmpp:mam:2}fin",
        "{urn:xmpp:delay}delay",
        "{urn:xmpp:receipts}request",
        "{urn:xmpp:receipts}received",
        "{urn:xmpp:sid:0}stanza-id",
        "{urn:xmpp:sid:0}origin-id",
        "{http://jabber.org/protocol/rsm}set",
        "{http://jabber.org/protocol/rsm}last",
        "{http://jabber.org/protocol/chatstates}active",
        "{http://jabber.org/protocol/chatstates}composing",
        "other",
    ]
)
_ATTRIBUTES = st.dictionaries(
    st.sampled_from(["from", "to", "type", "id", "by", "stamp", "complete"]),
    st.one_of(
        st.sampled_from([OWN, PEER, "error", "chat", "groupchat", "2026-13-45T99:99:99Z", "", "@", "/"]), st.text()
    ),
)


def _built(name: str, attributes: dict[str, str], text: str, children: list[Element]) -> Element:
    found = Element(name, attributes)
    found.text = text
    found.extend(children)
    return found


_ELEMENTS = st.recursive(
    st.builds(_built, _NAMES, _ATTRIBUTES, st.text(max_size=20), st.just([])),
    lambda inner: st.builds(_built, _NAMES, _ATTRIBUTES, st.text(max_size=20), st.lists(inner, max_size=4)),
    max_leaves=12,
)


@pytest.mark.fuzz
@given(_ATTRIBUTES, st.lists(_ELEMENTS, max_size=5))
def test_any_message_is_read(attributes: dict[str, str], children: list[Element]) -> None:
    """Nothing a server says breaks the reader, nor grows beyond what is stored."""
    news = read_message(_built("{jabber:client}message", attributes, "", children), OWN)
    if isinstance(news, Said):
        assert len(news.peer) <= stanzas.LONGEST_JID
        assert max(len(news.stanza_id), len(news.origin_id)) <= stanzas.LONGEST_ID
    if isinstance(news, ChatState):
        assert len(news.peer) <= stanzas.LONGEST_JID
        assert len(news.stanza_id) <= stanzas.LONGEST_ID
    stanzas.read_archive_end(_built("{jabber:client}iq", attributes, "", children))


@pytest.mark.fuzz
@given(st.text())
def test_any_time_is_read(stamp: str) -> None:
    assert stanzas.read_time(stamp) is None or stanzas.read_time(stamp).tzinfo is UTC


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        ("2026-11-21T08:30:00Z", datetime(2026, 11, 21, 8, 30, tzinfo=UTC)),
        ("2026-11-21T10:30:00.123456789+02:00", datetime(2026, 11, 21, 8, 30, 0, 123456, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("2026-11-21", None),
        ("20261121T08:30:00", None),
    ],
)
def test_times(stamp: str, at: datetime | None) -> None:
    """XEP-0082, whatever is wrong with it."""
    assert stanzas.read_time(stamp) == at


def test_archive_ends() -> None:
    fin = "<fin xmlns='urn:xmpp:mam:2' complete='{}'><set xmlns='http://jabber.org/protocol/rsm'>{}</set></fin>"
    page = lambda complete, inner: ET.fromstring(f"<iq>{fin.format(complete, inner)}</iq>")  # noqa: E731
    assert stanzas.read_archive_end(page("false", "<last>x</last>")) == ArchivePage("x", complete=False)
    assert stanzas.read_archive_end(page("true", "<last>x</last>")) == ArchivePage("x", complete=True)
    assert stanzas.read_archive_end(page("false", "")) == ArchivePage("", complete=True)
    assert stanzas.read_archive_end(ET.fromstring("<iq/>")) == ArchivePage("", complete=True)
