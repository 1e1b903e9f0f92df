"""Who is writing, from an independent client on a real Prosody to an event stream of a real server, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal.models import EndUser
from portal.tests.factories import EndUserFactory, device_token
from portal.tests.residents import eventually
from portal.tests.servers import Server, StreamClient, running_server
from tests.faults.tcp_gate import Gate
from tests.xmpp_peer import UcOne
from xmpp.models import ImChatState, ImMessage, ImpAccount, XmppDelivery
from xmpp.services.chat_states import say_state
from xmpp.services.conversations import get_conversation
from xmpp.tests.running import bridging, heard, send

pytestmark = pytest.mark.django_db(transaction=True)
Connect = Callable[..., UcOne]
STATE = "http://jabber.org/protocol/chatstates"


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker: Any) -> Iterator[Server]:
    with django_db_blocker.unblock(), running_server() as running:
        yield running


def next_state(stream: StreamClient) -> dict[str, Any]:
    """The data of the next chat state; it has no number, as nothing live has."""
    while True:
        event = stream.event()
        if event["type"] == "im.chat_state":
            assert event["id"] is None
            return dict(event["data"])


def next_message(stream: StreamClient) -> dict[str, Any]:
    """The next message, before which nobody was said to be writing."""
    while True:
        event = stream.event()
        assert event["type"] != "im.chat_state"
        if event["type"] == "im.created":
            return dict(event["data"])


def test_who_writes_in_another_client_is_shown_until_the_message_comes(
    server: Server, user: EndUser, account: ImpAccount, uc_one: Connect
) -> None:
    """XEP-0085, to the user's own stream alone: not to a colleague's, nor to one of another organisation (R42)."""
    peer = uc_one()
    others = [EndUserFactory(group=user.group), EndUserFactory()]
    with bridging(account):
        message = send(user, peer.jid, "Hello")
        stream, *streams = [server.stream(device_token(each)) for each in (user, *others)]
        peer.chat_state(account.imp_id, "composing")
        place = {"conversation": str(message.conversation_id), "user": None, "jid": peer.jid}
        assert next_state(stream) == {**place, "state": "composing"}
        peer.send(account.imp_id, "Hello yourself")
        assert next_state(stream) == {**place, "state": "active"}
        peer.chat_state(account.imp_id, "composing")
        assert next_state(stream)["state"] == "composing"
        peer.chat_state(account.imp_id, "paused")
        assert next_state(stream)["state"] == "active"
        for other, its in zip(others, streams, strict=True):
            colleague = EndUserFactory(group=other.group)
            body = {"to": str(other.pk), "text": "Nobody else writes"}
            assert (
                server.request("POST", "/api/v1/im/messages/", body=body, token=device_token(colleague)).status == 202
            )
            assert next_message(its)["text"] == "Nobody else writes"


def test_what_is_late_or_from_elsewhere_says_nothing(
    server: Server, user: EndUser, account: ImpAccount, uc_one: Connect
) -> None:
    """XEP-0203: what was held up is over; in a stream the next word is the message after it. Nor does `active` beside
    a message write anything."""
    peer = uc_one()
    with bridging(account):
        send(user, peer.jid, "Hello")
        stream = server.stream(device_token(user))
        delay = "<delay xmlns='urn:xmpp:delay' stamp='2026-11-21T08:30:00Z'/>"
        for inside in (f"<composing xmlns='{STATE}'/>{delay}", f"<body>And this</body><active xmlns='{STATE}'/>"):
            peer.send_raw(f"<message xmlns='jabber:client' to='{account.imp_id}' type='chat'>{inside}</message>")
        heard("And this")
        assert next_message(stream)["text"] == "And this"
        assert not ImChatState.objects.exists()


def test_the_last_word_counts_however_fast_they_come(
    server: Server, user: EndUser, account: ImpAccount, uc_one: Connect
) -> None:
    """A peer that floods is told of about once a second, and what it said last in the end."""
    peer = uc_one()
    with bridging(account):
        send(user, peer.jid, "Hello")
        stream = server.stream(device_token(user))
        for _ in range(500):
            peer.chat_state(account.imp_id, "composing")
            peer.chat_state(account.imp_id, "paused")
        peer.chat_state(account.imp_id, "composing")
        peer.sync()
        eventually(lambda: ImChatState.objects.filter(composing_at__isnull=False).exists())
        told = [next_state(stream)["state"]]
        peer.send(account.imp_id, "Done")
        while told[-1] != "active" or not ImMessage.objects.filter(text="Done").exists():
            told.append(next_state(stream)["state"])
        assert len(told) < 100


def test_a_client_of_ours_is_heard_writing_in_another(
    server: Server, user: EndUser, account: ImpAccount, uc_one: Connect
) -> None:
    """XEP-0085 and 0334: from the session of the user's account, not to be kept by any server."""
    peer = uc_one()
    with bridging(account):
        message = send(user, peer.jid, "Hello")
        peer.wait_text("Hello")
        path, token = f"/api/v1/im/conversations/{message.conversation_id}/state/", device_token(user)
        for state in ("composing", "paused"):
            answer = server.request("POST", path, body={"state": state}, token=token)
            assert answer.status == 204, json.loads(answer.read())
            said = lambda: next((each for each in peer.heard if each.chat_state == state), None)  # noqa: B023, E731
            word = peer.wait(said, state)
            assert (word.bare, word.type, word.body) == (account.imp_id, "chat", None)
            assert word.xml.find("{urn:xmpp:hints}no-store") is not None
    assert all(each.chat_state is None or each.body for each in peer.history())


def test_a_word_that_was_lost_is_not_said_later(
    user: EndUser, account: ImpAccount, gate: Gate, uc_one: Connect
) -> None:
    """XEP-0198: a session that goes on sends again what the server did not get, but for what is over by then."""
    peer = uc_one()
    with bridging(account):
        first = send(user, peer.jid, "Hello")
        eventually(lambda: ImMessage.objects.get(pk=first.pk).status == "delivered")
        gate.hold()
        say_state(user=user, row=get_conversation(user, first.conversation_id), state="composing")
        eventually(lambda: not ImChatState.objects.filter(is_due=True).exists())
        message = send(user, peer.jid, "Here you are")
        eventually(lambda: XmppDelivery.objects.get(pk=message.pk).state == "sent")
        gate.cut()
        gate.open()
        for text in ("Here you are", "And more"):
            message = message if text == "Here you are" else send(user, peer.jid, text)
            peer.wait_text(text)
            eventually(lambda: ImMessage.objects.get(pk=message.pk).status == "delivered")  # noqa: B023
        peer.sync()
    assert [each.chat_state for each in peer.heard if each.chat_state] == ["active"] * 3
    assert peer.texts_from(account.imp_id) == ["Hello", "Here you are", "And more"]


def test_colleagues_with_sessions_of_ours_hear_each_other_once(
    server: Server, user: EndUser, account: ImpAccount, colleague: ImpAccount
) -> None:
    """By our own platform; that their sessions hear it too goes round in no circle."""
    with bridging(account, colleague):
        token = device_token(user)
        body = {"to": str(colleague.pk), "text": "Hello"}
        answer = server.request("POST", "/api/v1/im/messages/", body=body, token=token)
        conversation = json.loads(answer.read())["conversation"]
        stream = server.stream(device_token(colleague.user))
        path = f"/api/v1/im/conversations/{conversation}/state/"
        assert server.request("POST", path, body={"state": "composing"}, token=token).status == 204
        place = {"conversation": conversation, "user": str(user.pk), "jid": None}
        assert next_state(stream) == {**place, "state": "composing"}
        eventually(lambda: not ImChatState.objects.filter(is_due=True).exists())
        assert server.request("POST", path, body={"state": "active"}, token=token).status == 204
        assert next_state(stream) == {**place, "state": "active"}
        eventually(lambda: not ImChatState.objects.filter(is_due=True).exists())
    assert ImChatState.objects.get().participant.user == user
