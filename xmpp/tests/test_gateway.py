"""The SMS gateway between a real XMPP server and a simulated carrier: journeys, refusals, and what breaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from cpaas.models import Message
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from portal.events import wake
from portal.tests.factories import EndUserFactory
from portal.tests.residents import eventually
from tests.ejabberd import Ejabberd
from tests.prosody import FOREIGN_DOMAIN, Prosody
from tests.sandbox_process import NUMBERS, SandboxProcess
from tests.xmpp_peer import UcOne
from xmpp.models import GatewayMember, ImpAccount, SmsGateway, TextFromXmpp, TextToXmpp
from xmpp.tests.gateway_town import REMOTE, Town

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def carrier(sandbox_process: SandboxProcess, settings: Any, live_server: LiveServer) -> SandboxProcess:
    """Receipts by hand; its calls reach a live server of ours."""
    sandbox_process.reset()
    sandbox_process.receipts(mode="manual")
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    settings.PUBLIC_URL = live_server.url
    return sandbox_process


@pytest.fixture
def town(prosody: Prosody, carrier: SandboxProcess) -> Town:
    made = Town(prosody, carrier)
    made.hook(carrier.control)
    return made


@pytest.fixture
def peer(town: Town) -> Iterator[UcOne]:
    with town.open() as connected:
        yield connected


@pytest.fixture
def sending_peer(town: Town) -> Iterator[UcOne]:
    with town.open_with_dispatcher() as connected:
        yield connected


class TestFromXmpp:
    def test_a_text_goes_out_and_its_receipt_comes_when_the_carrier_has_delivered(self, town, sending_peer) -> None:
        """XEP-0184: `received` means delivered to the phone, nothing less."""
        stanza = sending_peer.send(town.address(), "Hello from UC-One 👋")
        [taken] = eventually(lambda: town.sandbox.taken())
        assert (taken["from"], taken["to"], taken["text"]) == (town.number.number, REMOTE, "Hello from UC-One 👋")
        town.sandbox.receipt(taken["sid"], "sent")
        eventually(lambda: Message.objects.get().status == "sent")
        sending_peer.sync()
        assert sending_peer.receipts == []
        town.sandbox.receipt(taken["sid"], "delivered")
        sending_peer.wait_receipt(stanza)
        eventually(lambda: TextFromXmpp.objects.filter(told=True))
        assert sending_peer.errors == []

    def test_a_text_that_could_not_be_delivered_comes_back_with_a_sentence(self, town, sending_peer) -> None:
        """Facts 5 #12: the user sees that it failed, and why."""
        stanza = sending_peer.send(town.address(), "Hello")
        [taken] = eventually(lambda: town.sandbox.taken())
        town.sandbox.receipt(taken["sid"], "undelivered", error="005")
        error = sending_peer.wait_error(stanza)
        assert "was not delivered" in (error.error_text or "")
        assert error.body is None
        assert sending_peer.receipts == []

    @pytest.mark.parametrize("text", ["x" * 1600, 'emoji 👩‍👩‍👧‍👦 and <b>&amp;</b> "quotes" ]]>', "line\nbreak\ttab"])
    def test_what_is_written_is_what_is_sent(self, town, peer, text) -> None:
        """Markup characters, joiners and line breaks pass unchanged."""
        peer.send(town.address(), text)
        eventually(lambda: town.sent() == [text])

    def test_the_same_stanza_again_is_the_same_text(self, town, peer) -> None:
        """A client that repeats what it thinks was lost sends nothing twice; another text under that id is refused."""
        for _ in range(3):
            peer.send(town.address(), "Once", id="the-same-id")
        peer.send(town.address(), "Other", id="the-same-id")
        error = peer.wait_error("the-same-id")
        assert error.condition == "conflict"
        assert town.sent() == ["Once"]

    def test_texts_of_one_user_keep_their_order(self, town, peer) -> None:
        texts = [f"Text {n}" for n in range(30)]
        for text in texts:
            peer.send(town.address(), text)
        eventually(lambda: len(town.sent()) == 30)
        assert town.sent() == texts

    def test_a_text_without_an_id_is_sent_too(self, town, peer) -> None:
        """Some programs (sendxmpp) give none."""
        peer.send_raw(f"<message to='{town.address()}' type='chat'><body>No id</body></message>")
        eventually(lambda: town.sent() == ["No id"])

    def test_a_resource_behind_the_number_changes_nothing(self, town, peer) -> None:
        peer.send(f"{town.address()}/phone", "To a resource")
        eventually(lambda: town.sent() == ["To a resource"])

    @pytest.mark.parametrize(
        ("local", "words"),
        [
            ("17036089795", "with + and the country code"),
            ("12345", "Short numbers"),
            ("+12", "no telephone number"),
            ("+1703608979512345678", "no telephone number"),
            ("+٧٠٣٦٠٨٩٧٩٥١", "no telephone number"),
            ("alice", "no telephone number"),
            ("+1703-608-9795", "no telephone number"),
            ("+10000000000", "not a valid telephone number"),
            ("", "Write to a telephone number"),
        ],
    )
    def test_an_address_that_is_no_number(self, town, peer, local, words) -> None:
        """Each is refused with what to write instead."""
        to = f"{local}@{town.prosody.component_domain}" if local else town.prosody.component_domain
        error = peer.wait_error(peer.send(to, "Hello"))
        assert error.condition == "item-not-found"
        assert words in (error.error_text or "")
        assert town.sent() == []

    @pytest.mark.parametrize(
        ("text", "condition"),
        [("   ", "bad-request"), ("x" * 1601, "policy-violation"), ("x" * 200_000, "policy-violation")],
    )
    def test_a_body_that_is_no_text(self, town, peer, text, condition) -> None:
        """Refused in a small stanza; nobody's stream ends."""
        error = peer.wait_error(peer.send(town.address(), text))
        assert error.condition == condition
        assert error.body is None
        peer.send(town.address(), "And on it goes")
        eventually(lambda: town.sent() == ["And on it goes"])

    def test_a_body_beyond_what_the_server_takes_harms_only_its_sender(self, town, peer) -> None:
        """Prosody ends the stream of who sends 300 kB (facts 2d); the gateway stays online."""
        peer.send(town.address(), "x" * 300_000)
        peer.wait(lambda: not peer.online)
        peer.connect()
        peer.send(town.address(), "Again")
        eventually(lambda: town.sent() == ["Again"])
        assert SmsGateway.objects.get().status == "online"

    def test_an_encrypted_message_is_not_texted(self, town, peer) -> None:
        """Its body says only that it is encrypted."""
        body = "<body>I sent you an OMEMO encrypted message.</body><encrypted xmlns='eu.siacs.conversations.axolotl'/>"
        peer.send_raw(f"<message to='{town.address()}' type='chat' id='secret'>{body}</message>")
        assert "Turn encryption off" in (peer.wait_error("secret").error_text or "")
        assert town.sent() == []

    def test_a_group_chat_is_refused(self, town, peer) -> None:
        peer.send(town.address(), "Hello all", id="group", type="groupchat")
        assert "group chat" in (peer.wait_error("group").error_text or "")

    def test_what_needs_no_answer_gets_none(self, town, peer) -> None:
        """Chat states, headlines, receipts of nothing, errors: an answer to those could go round for ever."""
        peer.chat_state(town.address(), "composing")
        peer.send(town.address(), "News", type="headline", id="headline")
        error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        peer.send_raw(f"<message to='{town.address()}' type='error' id='e'><body>x</body>{error}</message>")
        peer.send_raw(
            f"<message to='{town.address()}' type='chat'><received xmlns='urn:xmpp:receipts' id='x'/></message>"
        )
        peer.send_raw(f"<message to='alice@{town.prosody.component_domain}' type='error' id='f'>{error}</message>")
        peer.send(town.address(), "A text")
        eventually(lambda: town.sent() == ["A text"])
        peer.sync()
        assert [each for each in peer.heard if each.kind == "message"] == []


class TestRules:
    """The rules of SMS hold because it is the same service that sends."""

    def test_consent(self, town, peer) -> None:
        type(town.number).objects.update(opt_in_state="declined")
        error = peer.wait_error(peer.send(town.address(), "Hello"))
        assert "declined" in (error.error_text or "")
        type(town.number).objects.update(opt_in_state="pending")
        error = peer.wait_error(peer.send(town.address(), "Hello"))
        assert "Confirm first" in (error.error_text or "")
        assert town.sent() == []

    def test_stop_of_the_remote(self, town, peer) -> None:
        """R20, and START opens it again."""
        town.receive("STOP")
        peer.wait_text("STOP")
        error = peer.wait_error(peer.send(town.address(), "But wait"))
        assert error.condition == "not-allowed"
        town.receive("START")
        peer.wait_text("START")
        peer.send(town.address(), "Thank you")
        eventually(lambda: "Thank you" in town.sent())

    def test_licence(self, town, peer) -> None:
        type(town.user).objects.filter(pk=town.user.pk).update(licence="none")
        error = peer.wait_error(peer.send(town.address(), "Hello"))
        assert "licence" in (error.error_text or "")

    def test_limits(self, town, peer) -> None:
        """R39; the client is told that it may try later."""
        town.platform.options["per_number_per_minute"] = 2
        town.platform.save()
        ids = [peer.send(town.address(), f"Text {n}") for n in range(3)]
        error = peer.wait_error(ids[2])
        assert (error.error_type, error.condition) == ("wait", "resource-constraint")

    def test_country(self, town, peer) -> None:
        error = peer.wait_error(peer.send(town.address("+442079460000"), "Hello"))
        assert "country" in (error.error_text or "")

    def test_a_blocked_remote_does_not_come_through(self, town, peer) -> None:
        """R19."""
        from cpaas.models import BlockedParty

        type(town.number).objects.update(can_block="on")
        BlockedParty.objects.create(number=town.number, remote=REMOTE)
        town.receive("From the blocked")
        town.receive("From another", remote="+17036089796")
        peer.wait_text("From another")
        assert [each.body for each in peer.messages] == ["From another"]

    def test_without_a_number(self, town, peer) -> None:
        type(town.number).objects.update(user=EndUserFactory(group=town.user.group))
        error = peer.wait_error(peer.send(town.address(), "Hello"))
        assert "no number" in (error.error_text or "")

    def test_of_several_numbers_the_one_that_was_used_with_the_remote(self, town, peer) -> None:
        """Or a sentence that says what to do."""
        second = CpaasNumberFactory(number=NUMBERS[1], user=town.user, platform=town.platform)
        town.hook("")
        error = peer.wait_error(peer.send(town.address(), "From which?"))
        assert "Send the first text from the portal" in (error.error_text or "")
        town.receive("To the second", to=second.number)
        peer.wait_text("To the second")
        peer.send(town.address(), "Answer")
        message = eventually(lambda: Message.objects.filter(direction="out").first())
        assert message.number_id == second.pk


class TestStrangers:
    """Only users of the system provider whose account is on; all others get the same words."""

    def refusal_of(self, town: Town, jid: str, password: str) -> str:
        stranger = UcOne(town.prosody, jid, password).connect()
        error = stranger.wait_error(stranger.send(town.address(), "Hello"))
        stranger.disconnect()
        assert town.sent() == []
        assert error.condition == "registration-required"
        return error.error_text or ""

    def test_all_of_them_hear_the_same(self, town, peer) -> None:
        other_tenant = CpaasPlatformFactory().system_provider
        elsewhere = EndUserFactory(group__reseller__system_provider=other_tenant)
        off = EndUserFactory(group=town.user.group)
        inactive = EndUserFactory(group=town.user.group, is_active=False)
        accounts = [
            town.prosody.new_account(),
            town.prosody.new_account(domain=FOREIGN_DOMAIN),
            town.add_account(elsewhere),
            town.add_account(off, enabled=False),
            town.add_account(inactive),
        ]
        assert len({self.refusal_of(town, *account) for account in accounts}) == 1

    def test_an_account_that_goes_off_ends_it(self, town, peer) -> None:
        ImpAccount.objects.filter(user=town.user).update(enabled=False)
        assert peer.wait_error(peer.send(town.address(), "Hello")).condition == "registration-required"


class TestToXmpp:
    def test_a_received_text_comes_from_the_number_and_can_be_answered(self, town, peer) -> None:
        town.receive("Hi there 👋")
        heard = peer.wait_text("Hi there 👋")
        assert (heard.bare, heard.type, heard.delayed_to) == (town.address(), "chat", None)
        eventually(lambda: TextToXmpp.objects.filter(state="delivered"))
        peer.send(heard.sender, "Hello back")
        eventually(lambda: town.sent() == ["Hello back"])

    def test_a_sender_with_a_name_has_an_address_that_harms_nobody(self, town, peer) -> None:
        """XEP-0106. Unescaped, Prosody would end the gateway's connection over each of these, again and again."""
        logins = town.prosody.log.count("successfully authenticated")
        names = {"alerts@bank.com": "alerts\\40bank.com", "O2/Info": "o2\\2finfo", "Bell\x07": "bell_", "@": "\\40"}
        for name in names:
            town.receive(f"From {name!r}", remote=name)
        for name, local in names.items():
            heard = peer.wait_text(f"From {name!r}")
            assert heard.bare == town.address(local)
        town.wait_heard(peer)
        assert town.prosody.log.count("successfully authenticated") == logins

    def test_a_text_over_which_the_server_ends_the_connection_is_given_up(self, town) -> None:
        """It goes out alone after the first time, so that those before it come twice at most, and the others arrive."""
        with town.open():
            eventually(lambda: GatewayMember.objects.exists())
        for text in ("Before", "Too large", "After"):
            town.receive(text)
        # No carrier has such; Prosody takes half a megabyte.
        Message.objects.filter(text="Too large").update(text="x" * 600_000)
        with town.open() as peer:
            peer.wait_text("After")
            assert {each.body for each in peer.messages} == {"Before", "After"}
            assert len([each for each in peer.messages if each.body == "Before"]) <= 2
            assert "ended the connection" in TextToXmpp.objects.get(state="failed").error

    def test_every_text_once_and_in_order(self, town, peer) -> None:
        texts = [f"Text {n}" for n in range(40)]
        for text in texts:
            town.receive(text)
        eventually(lambda: len(peer.messages) == 40)
        assert [each.body for each in peer.messages] == texts
        assert len({each.id for each in peer.messages}) == 40

    def test_a_file_comes_as_a_link(self, town, peer) -> None:
        """In the body and out of band (XEP-0066), after the text; the link leads to the file."""
        import base64

        import requests

        from cpaas.services.media import fetch_due_media

        picture = (
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
            b"\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\xa1\x1d\xd6\xfd\x00\x00\x00\x00IEND\xaeB`\x82"
        )
        encoded = base64.b64encode(picture).decode()
        media = [{"name": "dot.png", "content_type": "image/png", "base64": encoded}]
        town.receive("Look", media=media)
        fetch_due_media()
        linked = peer.wait(lambda: [each for each in peer.messages if each.link])[0]
        assert linked.body == linked.link
        assert requests.get(linked.link, timeout=10).content == picture
        assert peer.messages[0].body == "Look"

    def test_held_texts_come_when_they_are_delivered(self, town, peer) -> None:
        """R8: in their place before what came after them."""
        from portal.services.users import update_user

        update_user(actor=None, user=town.user, changes={"licence": "none"})
        town.receive("While held")
        eventually(lambda: Message.objects.get().status == "held")
        town.user.refresh_from_db()
        update_user(actor=None, user=town.user, changes={"licence": "desktop"})
        town.receive("Afterwards")
        peer.wait_text("Afterwards")
        assert [each.body for each in peer.messages] == ["While held", "Afterwards"]

    def test_what_came_before_the_account_was_on_stays_in_the_portal(self, prosody, carrier) -> None:
        town = Town(prosody, carrier, enabled=False)
        town.hook("")
        with town.open() as peer:
            town.receive("Too early")
            ImpAccount.objects.update(enabled=True)
            eventually(lambda: GatewayMember.objects.exists())
            town.receive("In time")
            peer.wait_text("In time")
            assert [each.body for each in peer.messages] == ["In time"]

    def test_a_client_that_is_offline_gets_it_later(self, town, peer) -> None:
        """The server keeps it."""
        peer.disconnect()
        town.receive("While offline")
        eventually(lambda: TextToXmpp.objects.filter(state="sent"))
        peer.connect()
        peer.wait_text("While offline")

    def test_a_bounce_is_noted_and_not_answered(self, town, peer) -> None:
        """An account that is gone at the server: the row says so, and the gateway goes on."""
        town.prosody.remove_account(town.jid)
        peer.disconnect()
        town.receive("To nobody")
        row = eventually(lambda: TextToXmpp.objects.filter(state="failed").first())
        assert "service-unavailable" in row.error
        assert SmsGateway.objects.get().status == "online"


class TestPresence:
    def test_a_number_accepts_and_asks_back(self, town, peer) -> None:
        """Both ways, so that servers which pass on only the roster's texts let them through (facts 5 #8)."""
        peer.subscribe(town.address())
        for kind in ("subscribed", "", "subscribe"):
            peer.wait(lambda kind=kind: [e for e in peer.presences_of(town.address()) if e.type == kind], kind)
        peer.accept(town.address())
        peer.sync()
        assert peer.roster() == {town.address(): "both"}

    def test_an_unknown_account_is_declined(self, town, peer) -> None:
        stranger = UcOne(town.prosody, *town.prosody.new_account()).connect()
        stranger.subscribe(town.address())
        stranger.wait(lambda: [e for e in stranger.presences_of(town.address()) if e.type == "unsubscribed"])
        stranger.disconnect()

    def test_the_gateway_describes_itself(self, town, peer) -> None:
        """XEP-0030: a gateway for SMS that gives receipts."""
        peer.send_raw(
            f"<iq to='{town.address()}' type='get' id='disco'>"
            "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        )
        info = peer._run(_awaited(peer.client.plugin["xep_0030"].get_info(jid=town.address())))
        assert ("gateway", "sms", None, "Text messages") in info["disco_info"]["identities"]
        assert "urn:xmpp:receipts" in info["disco_info"]["features"]


class TestOtherServers:
    def test_one_that_passes_on_only_the_rosters_texts(self, carrier) -> None:
        """Facts 5 #8: the first text is refused, the user is asked once to let the number through, and the next one
        arrives."""
        with Prosody(modules="contacts_only") as prosody:
            town = Town(prosody, carrier)
            town.hook("")
            with town.open() as peer:
                town.receive("Refused")
                asked = peer.wait(lambda: [e for e in peer.presences_of(town.address()) if e.type == "subscribe"])
                assert "cannot reach you" in (asked[0].text_of("status") or "")
                assert TextToXmpp.objects.get().state == "failed"
                peer.accept(town.address())
                peer.sync()
                town.receive("Let through")
                peer.wait_text("Let through")
                assert len([e for e in peer.presences_of(town.address()) if e.type == "subscribe"]) == 1

    def test_one_that_has_no_room_just_now_is_asked_again(self, carrier) -> None:
        """RFC 6120 section 8.3.2, type `wait`: the text is not lost."""
        with Prosody(modules="full_once") as prosody:
            town = Town(prosody, carrier)
            town.hook("")
            with town.open() as peer:
                town.receive("Full, says the server")
                eventually(lambda: TextToXmpp.objects.filter(state="deferred"))
                wake("*")
                peer.wait_text("Full, says the server")
                eventually(lambda: TextToXmpp.objects.filter(state="delivered"))

    def test_one_that_drops_what_comes_from_strangers(self, carrier) -> None:
        """Prosody's mod_block_strangers says nothing; a number that is a contact both ways comes through."""
        with Prosody(modules="block_strangers") as prosody:
            town = Town(prosody, carrier)
            town.hook("")
            with town.open() as peer:
                peer.subscribe(town.address())
                peer.wait(lambda: [e for e in peer.presences_of(town.address()) if e.type == "subscribe"])
                peer.accept(town.address())
                peer.sync()
                town.receive("From a contact")
                peer.wait_text("From a contact")

    def test_ejabberd(self, carrier) -> None:
        """Texts, receipts and refusals in both directions on the other server of deploy/."""
        with Ejabberd() as ejabberd:
            town = Town(ejabberd, carrier)
            town.hook("")
            with town.open_with_dispatcher() as peer:
                stanza = peer.send(town.address(), "By ejabberd")
                [taken] = eventually(lambda: town.sandbox.taken())
                town.sandbox.receipt(taken["sid"], "delivered")
                peer.wait_receipt(stanza)
                town.receive("Back again")
                assert peer.wait_text("Back again").bare == town.address()
                error = peer.wait_error(peer.send(f"911@{ejabberd.component_domain}", "Help"))
                assert error.condition == "item-not-found"
                eventually(lambda: TextToXmpp.objects.filter(state="delivered"))


async def _awaited(future: Any) -> Any:
    return await future
