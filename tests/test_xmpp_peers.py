"""The XMPP server and the independent clients that the tests of the bridge and of the gateway rely on."""

from __future__ import annotations

import pytest

from tests.prosody import FOREIGN_DOMAIN, Prosody
from tests.sandbox_process import wait_for
from tests.xmpp_peer import UcOne, listening, send_with


def test_two_clients_of_uc_one_talk_and_copy(prosody: Prosody) -> None:
    """A text reaches the peer, is confirmed (XEP-0184) and copied to the other client of the account (XEP-0280)."""
    alice, bob = (UcOne(prosody, *prosody.new_account()).connect() for _ in range(2))
    second = UcOne(prosody, bob.jid, bob._password, resource="second").connect()
    sent = alice.send(f"{bob.jid}/uc-one", "Lunch? 👩‍👩‍👧 <b>")
    assert bob.wait_text("Lunch? 👩‍👩‍👧 <b>").bare == alice.jid
    alice.wait_receipt(sent)
    assert second.wait(lambda: second.carbons)[0].body == "Lunch? 👩‍👩‍👧 <b>"
    assert [each.body for each in bob.history()][:1] == ["Lunch? 👩‍👩‍👧 <b>"]


def test_presence_with_its_text_after_a_request_was_accepted(prosody: Prosody) -> None:
    """Nothing is accepted by itself; state and typed text are seen once it is (S0.26, S0.27)."""
    alice, bob = (UcOne(prosody, *prosody.new_account()).connect() for _ in range(2))
    bob.subscribe(alice.jid)
    alice.wait(lambda: [each for each in alice.presences_of(bob.jid) if each.type == "subscribe"])
    bob.sync()
    assert bob.roster() == {alice.jid: "none"}
    alice.accept(bob.jid)
    alice.presence("away", "Out for lunch")
    bob.wait_presence(alice.jid, show="away", status="Out for lunch")
    assert bob.roster() == {alice.jid: "to"}


def test_another_host_of_the_server_can_be_reached(prosody: Prosody) -> None:
    """What tests show to be refused by us (S0.29) is not refused by the server already."""
    stranger = UcOne(prosody, *prosody.new_account(domain=FOREIGN_DOMAIN)).connect()
    alice = UcOne(prosody, *prosody.new_account()).connect()
    stranger.send(alice.jid, "Greetings from afar")
    alice.wait_text("Greetings from afar")


def test_a_password_in_the_file_disturbs_nobody_and_one_by_the_administrator_does(own_prosody: Prosody) -> None:
    """Facts 2d: `set_password` keeps sessions, `drop` ends them, and only the new password logs in again. Which
    mechanism was tried is told for each account."""
    jid, password = own_prosody.new_account()
    client = UcOne(own_prosody, jid, password).connect()
    own_prosody.set_password(jid, "a-new-password")
    client.sync()
    assert client.online
    own_prosody.drop(jid)
    client.wait(lambda: not client.online)
    with pytest.raises(AssertionError, match="authentication failed"):
        client.connect()
    UcOne(own_prosody, jid, "a-new-password").connect()
    assert own_prosody.mechanisms(jid) == ["SCRAM-SHA-1"] * 3


def test_it_comes_back_with_its_accounts_on_the_same_port(own_prosody: Prosody) -> None:
    """Stopped in order or killed, all is there again after the start."""
    client = UcOne(own_prosody, *own_prosody.new_account()).connect()
    own_prosody.restart()
    client.wait(lambda: not client.online)
    client.connect()
    own_prosody.kill()
    client.wait(lambda: not client.online)
    own_prosody.start()
    client.connect()


@pytest.mark.parametrize("program", ["go-sendxmpp", "sendxmpp"])
def test_another_program_sends(prosody: Prosody, program: str) -> None:
    """Clients that were not written by us, on a library that we do not use. They take PLAIN, and that is seen."""
    jid, password = prosody.new_account()
    alice = UcOne(prosody, *prosody.new_account()).connect()
    send_with(program, prosody, jid, password, alice.jid, f"Sent with {program}")
    assert alice.wait_text(f"Sent with {program}").bare == jid
    assert "PLAIN" in prosody.mechanisms(jid)


def test_another_program_receives(prosody: Prosody) -> None:
    """go-sendxmpp prints what it receives."""
    jid, password = prosody.new_account()
    alice = UcOne(prosody, *prosody.new_account()).connect()
    with listening(prosody, jid, password) as said:
        alice.send(jid, "Hello there")
        wait_for(lambda: "Hello there" in said(), what="the text to be printed")
