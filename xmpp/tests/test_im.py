"""Instant messages through the API: one conversation whatever the platform (S0.2, S0.32-S0.38, R42)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from portal.directory.tests.factories import make_contact
from portal.models import EndUser, Group, UserSettings
from portal.tests.factories import EndUserFactory, GroupFactory, device_token
from presence.services.online import note_online
from xmpp.models import ImConversation, ImMessage, XmppDelivery
from xmpp.tests.factories import ImpAccountFactory
from xmpp.tests.messaging import BASE, get, send

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]
Client = Callable[[EndUser], APIClient]


@pytest.fixture
def client(api: Any) -> Client:
    return lambda user: api(device_token(user))


def prefer(user: EndUser, priority: str) -> None:
    UserSettings.objects.filter(pk=user.pk).update(im_priority=priority)


def test_s0_2_both_see_one_conversation_and_one_message(client: Client, mary: EndUser, tom: EndUser) -> None:
    """S0.2, S0.35: carried by both platforms, it is one row for both of them, new for who received it."""
    sent = send(client(mary), tom, "Hello", client_id="c-1")
    assert sent.status_code == 202
    message = sent.json()
    assert message == {
        "id": message["id"],
        "conversation": message["conversation"],
        "direction": "out",
        "sender": {"user": str(mary.pk), "jid": "mary@im.example", "name": "Mary"},
        "platforms": ["own", "xmpp"],
        "via": "direct",
        "text": "Hello",
        "status": "sent",
        "error": None,
        "client_id": "c-1",
        "at": message["at"],
    }
    [mine] = get(client(mary), "im/conversations/")["results"]
    [theirs] = get(client(tom), "im/conversations/")["results"]
    assert mine["id"] == theirs["id"] == message["conversation"]
    assert (mine["new_count"], theirs["new_count"]) == (0, 1)
    assert mine["last_message_received_at"] is None
    assert theirs["last_message_received_at"] == theirs["last_message_at"] == message["at"]
    assert theirs["last_message"] == {**message, "direction": "in", "client_id": None}
    assert theirs["last_message"] == get(client(tom), f"im/conversations/{mine['id']}/messages/")["results"][0]
    delivery = XmppDelivery.objects.get()
    assert (str(delivery.pk), delivery.account_id, delivery.to_jid) == (message["id"], mary.pk, "tom@im.example")
    reply = send(client(tom), mary, "Hi").json()
    assert reply["conversation"] == message["conversation"]


@pytest.mark.parametrize(
    ("priority", "platforms", "stanzas", "seen_by_peer"),
    [("own", ["own"], 0, 1), ("xmpp", ["xmpp"], 1, 0), ("both", ["own", "xmpp"], 1, 1)],
)
def test_s0_32_the_priority_says_which_platforms_carry_it(
    client: Client, mary: EndUser, tom: EndUser, priority: str, platforms: list[str], stanzas: int, seen_by_peer: int
) -> None:
    """S0.33: own only, no stanza. S0.34: XMPP only, nothing in the peer's own client. S0.35: both. The sender sees it
    once whatever it is, and the tooltip says the same as the message (S0.37)."""
    prefer(mary, priority)
    assert send(client(mary), tom, "Hello").json()["platforms"] == platforms
    assert XmppDelivery.objects.count() == stanzas
    [mine] = get(client(mary), "im/conversations/")["results"]
    assert len(get(client(mary), f"im/conversations/{mine['id']}/messages/")["results"]) == 1
    assert [other["platforms"] for other in mine["participants"]] == [platforms]
    assert len(get(client(tom), "im/conversations/")["results"]) == seen_by_peer


def test_s0_34_what_went_by_xmpp_only_stays_hidden_from_the_peer_later(
    client: Client, mary: EndUser, tom: EndUser
) -> None:
    """Nor is it their last message, or counted as new."""
    send(client(mary), tom, "First")
    prefer(mary, "xmpp")
    hidden = send(client(mary), tom, "Second").json()
    [theirs] = get(client(tom), "im/conversations/")["results"]
    assert (theirs["new_count"], theirs["last_message"]["text"]) == (1, "First")
    assert [row["text"] for row in get(client(tom), f"im/conversations/{theirs['id']}/messages/")["results"]] == [
        "First"
    ]
    read = client(tom).post(f"{BASE}im/conversations/{theirs['id']}/read/", {"up_to": hidden["id"]}, format="json")
    assert read.status_code == 404


def test_participants_are_the_others_with_name_platforms_and_presence(
    client: Client, mary: EndUser, tom: EndUser, ann: EndUser
) -> None:
    """S0.37; the presence is what `GET presence/{user}/` shows."""
    note_online([tom.pk])
    send(client(mary), tom, "Hello")
    send(client(mary), ann, "Hello")
    send(client(mary), "Zoe@im.example", "Hello")
    make_contact(mary, "Zoe of sales", jid="zoe@im.example")
    found = [row["participants"] for row in get(client(mary), "im/conversations/")["results"]]
    assert [[(p["user"], p["jid"], p["name"], p["platforms"]) for p in others] for others in found] == [
        [(None, "zoe@im.example", "Zoe of sales", ["xmpp"])],
        [(str(ann.pk), None, "Ann", ["own"])],
        [(str(tom.pk), "tom@im.example", "Tom", ["own", "xmpp"])],
    ]
    assert found[0][0]["presence"] is None
    assert found[2][0]["presence"] == get(client(mary), f"presence/{tom.pk}/")
    assert found[2][0]["presence"]["status"] == "available"


@pytest.mark.parametrize(
    ("priority", "to", "code"),
    [
        ("xmpp", "ann", "not_reachable"),
        ("own", "zoe@im.example", "not_reachable"),
        ("both", "zoe@other.example", "domain_not_allowed"),
        ("both", "@im.example", "invalid"),
        ("both", "a\ufffeb@im.example", "invalid"),
        ("both", "a\x1bb@im.example", "invalid"),
        ("both", "a\u0085b@im.example", "invalid"),
        ("both", "a＠b@im.example", "invalid"),
        ("both", f"{'x' * 400}@im.example", "invalid"),
        ("both", f"{'ﷺ' * 100}@im.example", "invalid"),
        ("both", f"zoe@{'x' * 100_000}", "invalid"),
        ("both", {"jid": "zoe@im.example"}, "invalid"),
        ("both", "mary@im.example", "invalid"),
        ("both", "nobody", "invalid"),
        ("both", "mary", "invalid"),
        ("both", [], "invalid"),
        ("both", [["tom"]], "invalid"),
        ("both", None, "invalid"),
    ],
)
def test_whom_a_message_cannot_go_to(
    client: Client, mary: EndUser, ann: EndUser, priority: str, to: Any, code: str
) -> None:
    """S0.29: no server but the preconfigured one; and nobody who cannot be reached by the chosen priority."""
    prefer(mary, priority)
    named = {"ann": str(ann.pk), "mary": str(mary.pk)}.get(to, to) if isinstance(to, str) else to
    answer = client(mary).post(f"{BASE}im/messages/", {"to": named, "text": "Hello"}, format="json")
    assert answer.json()["code"] == code, answer.json()
    assert answer.status_code == (409 if code == "not_reachable" else 400)
    assert not ImMessage.objects.exists()
    assert not ImConversation.objects.exists()


def test_s0_29_who_has_no_xmpp_reaches_nobody_by_it(client: Client, ann: EndUser, tom: EndUser) -> None:
    assert send(client(ann), tom, "Hello").json()["platforms"] == ["own"]
    assert send(client(ann), "zoe@im.example", "Hello").json()["code"] == "not_reachable"


def stranger(kind: str, mary: EndUser) -> EndUser:
    homes: dict[str, Callable[[], Group]] = {
        "another group": lambda: GroupFactory(reseller=mary.group.reseller),
        "another tenant": GroupFactory,
        "deactivated": lambda: mary.group,
    }
    return EndUserFactory(group=homes[kind](), is_active=kind != "deactivated")


@pytest.mark.parametrize("kind", ["another group", "another tenant", "deactivated"])
def test_r42_users_outside_the_organisation_do_not_exist(client: Client, mary: EndUser, kind: str) -> None:
    """R42: the answer is that for a user who never was, alone and in a group."""
    unknown = str(uuid.uuid4())
    somebody = stranger(kind, mary)
    for to in (lambda key: key, lambda key: [key], lambda key: [key, "tom@im.example"]):
        answers = [
            client(mary).post(f"{BASE}im/messages/", {"to": to(key), "text": "Hello"}, format="json")
            for key in (str(somebody.pk), unknown)
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()


def test_r42_groups_of_an_enterprise_reach_each_other(client: Client, mary: EndUser) -> None:
    Group.objects.filter(pk=mary.group_id).update(enterprise="Acme")
    other = EndUserFactory(group=GroupFactory(reseller=mary.group.reseller, enterprise="Acme"))
    assert send(client(mary), other, "Hello").status_code == 202


def test_r42_the_jid_of_a_user_outside_the_organisation_is_only_a_jid(client: Client, mary: EndUser) -> None:
    """As that of anybody on the server: neither name nor presence tell that there is such a user."""
    other = EndUserFactory(group=GroupFactory(reseller=mary.group.reseller), name="Secret")
    ImpAccountFactory(user=other, imp_id="secret@im.example")
    assert send(client(mary), "secret@im.example", "Hello").json()["platforms"] == ["xmpp"]
    [[found]] = [row["participants"] for row in get(client(mary), "im/conversations/")["results"]]
    assert (found["user"], found["name"], found["presence"]) == (None, "secret@im.example", None)
    assert get(client(other), "im/conversations/")["results"] == []


def test_a_colleague_named_by_jid_is_the_same_conversation(client: Client, mary: EndUser, tom: EndUser) -> None:
    first = send(client(mary), tom, "One").json()
    assert send(client(mary), "TOM@im.example/phone", "Two").json()["conversation"] == first["conversation"]
    assert send(client(mary), [str(tom.pk)], "Three").json()["conversation"] == first["conversation"]


def test_a_jid_is_the_same_however_it_is_written(client: Client, mary: EndUser) -> None:
    """RFC 6122, appendix A: as the server writes it in the answers, so that these come into the same conversation."""
    for jid in ("strasse@im.example", "STRASSE@IM.example", "straße@im.example", "ｓｔｒａｓｓｅ@im.example/home"):
        assert send(client(mary), jid, "Hello").status_code == 202
    assert set(XmppDelivery.objects.values_list("to_jid", flat=True)) == {"strasse@im.example"}
    assert ImConversation.objects.count() == 1


def test_conversations_of_others_do_not_exist(client: Client, mary: EndUser, tom: EndUser, ann: EndUser) -> None:
    message = send(client(mary), tom, "Hello").json()
    place = f"{BASE}im/conversations/{message['conversation']}/"
    for method, url, body in (
        ("get", place, None),
        ("patch", place, {"docked": False}),
        ("get", f"{place}messages/", None),
        ("post", f"{place}read/", {"up_to": message["id"]}),
    ):
        assert getattr(client(ann), method)(url, body, format="json").status_code == 404


def test_read_clears_what_is_new_and_older_never_brings_it_back(client: Client, mary: EndUser, tom: EndUser) -> None:
    """R41. Whoever read a message has it: the sender sees it delivered."""
    prefer(mary, "own")
    sent = [send(client(mary), tom, text).json() for text in ("One", "Two", "Three")]
    place = f"im/conversations/{sent[0]['conversation']}/"

    def read(up_to: str) -> int:
        answer = client(tom).post(f"{BASE}{place}read/", {"up_to": up_to}, format="json")
        assert answer.status_code == 200
        return int(answer.json()["new_count"])

    assert read(sent[1]["id"]) == 1
    shown = get(client(mary), f"{place}messages/")["results"]
    assert [row["status"] for row in shown] == ["sent", "delivered", "delivered"]
    assert read(sent[0]["id"]) == 1
    assert read(sent[2]["id"]) == 0
    assert read(sent[0]["id"]) == 0


def test_docked_is_kept_for_each_user(client: Client, mary: EndUser, tom: EndUser) -> None:
    """S0.2: docked or not, as the setting says at first."""
    UserSettings.objects.filter(pk=tom.pk).update(im_docked=False)
    place = f"im/conversations/{send(client(mary), tom, 'Hello').json()['conversation']}/"
    assert [get(client(user), place)["docked"] for user in (mary, tom)] == [True, False]
    changed = client(mary).patch(f"{BASE}{place}", {"docked": False}, format="json")
    assert (changed.status_code, changed.json()["docked"]) == (200, False)
    assert client(mary).patch(f"{BASE}{place}", {"docked": "no"}, format="json").status_code == 400


def test_lists_are_paged_by_key(client: Client, mary: EndUser, tom: EndUser, ann: EndUser) -> None:
    for peer in (tom, ann, tom):
        send(client(mary), peer, peer.name)
    pages = []
    cursor = ""
    while cursor is not None:
        page = get(client(mary), f"im/conversations/?limit=1{cursor and f'&cursor={cursor}'}")
        pages += [row["participants"][0]["name"] for row in page["results"]]
        cursor = page["next"]
    assert pages == ["Tom", "Ann"]
    [first, _] = get(client(mary), "im/conversations/")["results"]
    page = get(client(mary), f"im/conversations/{first['id']}/messages/?limit=1")
    assert page["results"][0]["id"] == first["last_message"]["id"]
    assert client(mary).get(f"{BASE}im/conversations/?cursor={page['next']}").json()["code"] == "invalid_cursor"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("patch", "", {"docked": None}),
        ("patch", "", {"docked": 1}),
        ("patch", "", {"undocked": True}),
        ("post", "read/", {}),
        ("post", "read/", {"up_to": 5}),
        ("post", "read/", {"up_to": None}),
        ("post", "read/", {"up_to": ["x"]}),
    ],
)
def test_what_is_no_answer_to_a_conversation_is_refused(
    client: Client, mary: EndUser, tom: EndUser, method: str, path: str, body: dict[str, Any]
) -> None:
    place = f"{BASE}im/conversations/{send(client(mary), tom, 'Hello').json()['conversation']}/"
    answer = getattr(client(tom), method)(place + path, body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert get(client(tom), place.removeprefix(BASE))["new_count"] == 1


def test_a_client_id_is_one_message(client: Client, mary: EndUser, tom: EndUser, ann: EndUser) -> None:
    """Whatever is sent with it the second time; to somebody else's it is nothing."""
    first = send(client(mary), tom, "Hello", client_id="c-1").json()
    assert send(client(mary), tom, "Hello again", client_id="c-1").json() == first
    assert send(client(mary), ann, "Hello", client_id="c-1").json() == first
    assert send(client(tom), mary, "Hello", client_id="c-1").json()["id"] != first["id"]
    assert ImMessage.objects.count() == 2


# --- Texts ------------------------------------------------------------------------------------------------------------
FAMILY = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"
MARKUP = "<body>&amp; <![CDATA[ ]]> \"quoted\" 'too' </message>"


@pytest.mark.parametrize("text", ["x" * 10_000, FAMILY * 100, MARKUP, " \tLine\r\nnext \n", "\ufeff\u202eabc"])
def test_a_text_passes_unchanged(client: Client, mary: EndUser, tom: EndUser, text: str) -> None:
    assert send(client(mary), tom, text).json()["text"] == text
    assert ImMessage.objects.get().text == text


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1b", "\x7f\x01", "\ud83d", "\udc00x", "\ufffe", "\uffff"])
def test_what_xml_cannot_write_is_refused(client: Client, mary: EndUser, tom: EndUser, character: str) -> None:
    """Facts 2 d: a server ends the stream over it."""
    answer = send(client(mary), tom, f"Hello {character}")
    assert (answer.status_code, answer.json()["code"]) == (400, "illegal_characters")
    assert "text" in answer.json()["errors"]
    assert not ImMessage.objects.exists()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("x" * 65_536, 202),
        ("x" * 65_537, 413),
        ("\N{OCTOPUS}" * 75_000, 413),
        ("'" * 10_000, 202),
        ("'" * 20_000, 413),
    ],
)
def test_a_text_has_at_most_64_kb(client: Client, mary: EndUser, tom: EndUser, text: str, status: int) -> None:
    """As it is written to the stream, where a quote takes six bytes: servers end the stream over too much."""
    answer = send(client(mary), tom, text)
    assert answer.status_code == status
    assert status == 202 or answer.json()["code"] == "too_large"


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": " \n"}, {"text": 5}, {"text": None}, {"text": ["x"]}])
def test_a_message_without_a_text_is_refused(client: Client, mary: EndUser, tom: EndUser, body: dict[str, Any]) -> None:
    answer = client(mary).post(f"{BASE}im/messages/", {"to": str(tom.pk), **body}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


@pytest.mark.fuzz
def test_any_text_is_kept_as_it_is_or_refused(client: Client, mary: EndUser, tom: EndUser) -> None:
    """The same rule as XML 1.0 §2.2 has for characters, and no other."""
    caller = client(mary)

    @given(st.text(st.characters(codec=None), min_size=1, max_size=200))
    def try_it(text: str) -> None:
        answer = send(caller, tom, text)
        legal = all(
            code in (9, 10, 13) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
            for code in map(ord, text)
        )
        if answer.status_code == 202:
            assert legal
            assert answer.json()["text"] == text
        else:
            assert answer.json()["code"] == ("invalid" if not text.strip() else "illegal_characters")
            assert not legal or not text.strip()

    try_it()
