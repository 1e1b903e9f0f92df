"""The bridge on a real Prosody, with an independent client on the other side."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from portal.models import EndUser, Event
from portal.tests.residents import eventually
from tests.prosody import Prosody
from tests.xmpp_peer import UcOne, listening, send_with
from xmpp.models import ImMessage, ImpAccount, ImParticipant, XmppDelivery
from xmpp.states import AccountStatus
from xmpp.tests.running import bridging, heard, send, status_of, wait_status

pytestmark = pytest.mark.django_db(transaction=True)
Connect = Callable[..., UcOne]


def told(user: EndUser, type: str) -> list[object]:
    return list(Event.objects.filter(user=user, type=type).order_by("number").values_list("object_id", flat=True))


def test_a_text_goes_out_and_comes_back_confirmed(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """S0.1, XEP-0184: our user and a UC-One client write to each other; the receipt makes it `delivered`."""
    peer = uc_one()
    with bridging(account):
        message = send(user, peer.jid, "Hello")
        assert peer.wait_text("Hello").id == str(message.pk)
        eventually(lambda: ImMessage.objects.get(pk=message.pk).status == "delivered")
        peer.send(account.imp_id, "And back", id="peer-1")
        answer = heard("And back")
        peer.wait_receipt("peer-1")
    assert (answer.conversation_id, answer.sender_jid, answer.via) == (message.conversation_id, peer.jid, "direct")
    assert (answer.via_own, answer.via_xmpp) == (False, True)
    assert XmppDelivery.objects.get(pk=message.pk).state == "delivered"
    assert told(user, "im.created") == [message.pk, answer.pk]
    assert told(user, "im.updated") == [message.pk]
    place = ImParticipant.objects.get(user=user)
    assert (place.new_count, place.last_received_at) == (1, answer.at)
    account.refresh_from_db()
    assert account.last_message_received_at == answer.at


def test_status_follows_the_session(user: EndUser, account: ImpAccount) -> None:
    """S0.13, S0.16: offline before, online while a worker keeps the session, offline after; the user is told each."""
    assert status_of(account) == AccountStatus.OFFLINE
    with bridging(account):
        assert user.pk in told(user, "xmpp.updated")
    assert status_of(account) == AccountStatus.OFFLINE


@pytest.mark.parametrize(
    "text",
    ["x" * 10_000, "👩‍👩‍👧‍👦 👍🏽 ❤️‍🔥", "<b>&amp;</b> ]]> \"'", "line\nline\ttab", "אבג‏ عربي"],
    ids=["long", "emoji", "markup", "lines", "right to left"],
)
def test_bodies_pass_unchanged(user: EndUser, account: ImpAccount, uc_one: Connect, text: str) -> None:
    """S0.1: what is written arrives as it was written, both ways, and the session lives on."""
    peer = uc_one()
    with bridging(account):
        send(user, peer.jid, text)
        peer.wait_text(text)
        peer.send(account.imp_id, text + "!")
        heard(text + "!")
        assert status_of(account) == AccountStatus.ONLINE


@pytest.mark.parametrize("program", ["go-sendxmpp", "sendxmpp"])
def test_other_programs_reach_us(prosody: Prosody, user: EndUser, account: ImpAccount, program: str) -> None:
    """S0.1: any XMPP client will do; one gets our text, and one that sends no ids has its text stored once."""
    jid, password = prosody.new_account("other")
    with bridging(account):
        send_with(program, prosody, jid, password, account.imp_id, f"From {program}")
        assert heard(f"From {program}").sender_jid == jid
        with listening(prosody, jid, password) as printed:
            send(user, jid, f"To {program}")
            eventually(lambda: f"To {program}" in printed())


def test_wrong_password_is_tried_once(prosody: Prosody, account: ImpAccount) -> None:
    """S0.12 and facts 2d: one attempt by SCRAM, never PLAIN, then a final state until the password changes."""
    right = account.password
    ImpAccount.objects.filter(pk=account.pk).update(password="not-" + right)
    with bridging():
        wait_status(account, AccountStatus.AUTHENTICATION_FAILED)
        assert "refused the password" in account.status_reason
    with bridging():
        pass  # nor does the next worker try
    attempts = prosody.mechanisms(account.imp_id)
    assert len(attempts) == 1
    assert attempts[0].startswith("SCRAM")


def test_a_server_that_asks_for_too_many_rounds(prosody: Prosody, account: ImpAccount, colleague: ImpAccount) -> None:
    """RFC 5802 leaves the count to the server; the sessions of all others would stand still for minutes."""
    prosody.add_account(account.imp_id, account.password, rounds=2_000_000_000)
    with bridging():
        wait_status(account, AccountStatus.RECONNECTING)
        assert "100,000 rounds" in account.status_reason
        wait_status(colleague, AccountStatus.ONLINE)


def test_a_new_password_ends_the_final_state(prosody: Prosody, account: ImpAccount) -> None:
    """S0.16: with the right password the account goes online, without a restart of anything."""
    right = account.password
    ImpAccount.objects.filter(pk=account.pk).update(password="wrong-password-of-a-test")
    with bridging():
        wait_status(account, AccountStatus.AUTHENTICATION_FAILED)
        row = ImpAccount.objects.filter(pk=account.pk)
        row.update(password=right, version=account.version + 1, status=AccountStatus.OFFLINE)
        wait_status(account, AccountStatus.ONLINE)
    assert len(prosody.mechanisms(account.imp_id)) == 2


def test_switched_off_ends_the_session(prosody: Prosody, account: ImpAccount) -> None:
    """S0.6: disabled by staff, the session ends and the status says so."""
    with bridging(account):
        ImpAccount.objects.filter(pk=account.pk).update(enabled=False)
        eventually(lambda: account.imp_id not in prosody.shell("c2s", "show"))


def test_what_came_while_nobody_was_there(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """Facts 3.1: texts of the gap come from the archive, once, with their times and in their order (XEP-0313)."""
    peer = uc_one()
    with bridging(account):
        peer.send(account.imp_id, "before")
        before = heard("before")
    for text in ("gap 1", "gap 2", "gap 3"):
        peer.send(account.imp_id, text)
    peer.sync()
    with bridging(account):
        peer.send(account.imp_id, "after")
        heard("after")
    with bridging(account):
        pass  # another look at the archive brings nothing twice
    rows = ImMessage.objects.filter(conversation=before.conversation_id).order_by("pk")
    assert [row.text for row in rows] == ["before", "gap 1", "gap 2", "gap 3", "after"]
    assert [row.via for row in rows] == ["direct", "archive", "archive", "archive", "direct"]
    assert ImParticipant.objects.get(user=user).new_count == 5


def test_what_waits_goes_when_the_session_is_there(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """The row is the truth: a text written while no bridge runs goes out when one does, once."""
    peer = uc_one()
    message = send(user, peer.jid, "Waited")
    assert XmppDelivery.objects.get(pk=message.pk).state == "queued"
    with bridging(account):
        peer.wait_text("Waited")
        eventually(lambda: ImMessage.objects.get(pk=message.pk).status == "delivered")
    with bridging(account):
        pass
    peer.sync()
    assert peer.texts_from(account.imp_id) == ["Waited"]


def test_own_texts_from_another_client(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """XEP-0280, facts 5 #15: what the user writes in UC-One is in the conversation here, as theirs and already read."""
    peer = uc_one()
    with bridging(account):
        desk = uc_one(account)
        desk.send(peer.jid, "From my desk")
        message = heard("From my desk")
        assert (message.sender_id, message.via) == (user.pk, "carbon")
        peer.send(f"{account.imp_id}/uc-one", "To your desk")
        assert heard("To your desk").via == "carbon"
    assert ImParticipant.objects.get(user=user).new_count == 1


def test_own_texts_of_the_gap(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """Facts 5 #5: carbons do not cover the time offline; the archive does."""
    peer = uc_one()
    with bridging(account):
        pass  # the archive is empty: what is in it next time is new
    uc_one(account).send(peer.jid, "While you were out")
    peer.wait_text("While you were out")
    with bridging(account):
        message = heard("While you were out")
    assert (message.sender_id, message.via) == (user.pk, "archive")


@pytest.mark.parametrize("stanza_id", ["id='u1'", ""], ids=["with id", "without any id"])
def test_both_sides_are_ours(account: ImpAccount, colleague: ImpAccount, uc_one: Connect, stanza_id: str) -> None:
    """Facts 5 #4: a text between UC-One clients of two of our users is told by both sessions, and is one row."""
    with bridging(account, colleague):
        desk = uc_one(colleague)
        for n in (1, 2):
            given = stanza_id.replace("u1", f"u{n}")
            desk.send_raw(f"<message type='chat' to='{account.imp_id}' {given}><body>Same</body></message>")
        eventually(lambda: ImMessage.objects.count() >= 2)
        desk.send(account.imp_id, "last")
        heard("last")
    assert ImMessage.objects.filter(text="Same", sender=colleague.user).count() == 2
    assert ImParticipant.objects.get(user=account.user).new_count == 3
    assert ImParticipant.objects.get(user=colleague.user).new_count == 0


def test_unknown_peer_fails(prosody: Prosody, user: EndUser, account: ImpAccount) -> None:
    """Facts 5 #12: a text to nobody fails and says why."""
    with bridging(account):
        message = send(user, f"nobody@{prosody.domain}", "Anybody?")
        eventually(lambda: ImMessage.objects.get(pk=message.pk).status == "failed")
    message.refresh_from_db()
    assert message.error
    assert told(user, "im.updated") == [message.pk]
