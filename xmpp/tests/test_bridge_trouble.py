"""What goes wrong with one account, message or row stays its own trouble: everybody else is served on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from portal import clock
from portal.models import EndUser
from portal.services.users import delete_user
from portal.tests.factories import EndUserFactory
from portal.tests.residents import eventually
from tests.prosody import Prosody
from tests.xmpp_peer import UcOne
from xmpp.models import ImMessage, ImpAccount, Subscription, XmppDelivery
from xmpp.services.routing import Route
from xmpp.services.sending import send_to
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory
from xmpp.tests.running import bridging

pytestmark = pytest.mark.django_db(transaction=True)
Connect = Callable[..., UcOne]


@pytest.fixture
def elsewhere(own_prosody: Prosody) -> ImpAccount:
    """An account of another system provider at a server of its own, which the test may break."""
    account = ImpAccountFactory.at_server(own_prosody)
    BroadworksConnectionFactory.of_server(own_prosody, system_provider=account.system_provider)
    return account


@pytest.fixture
def paused(own_prosody: Prosody) -> Iterator[Prosody]:
    yield own_prosody
    own_prosody.program.resume()


def send(account: ImpAccount, jid: str, text: str) -> ImMessage:
    return send_to(user=EndUser(pk=account.pk), route=Route(jid, own=False, jid=jid), text=text)


def heard(text: str) -> ImMessage:
    """The message with that text, once it is stored."""
    return eventually(lambda: ImMessage.objects.filter(text=text).first(), text)


def state_of(message: ImMessage) -> str:
    return XmppDelivery.objects.get(pk=message.pk).state


def queue(account: ImpAccount, jid: str, count: int) -> None:
    """So many messages of the account, waiting before the bridge hears of any."""
    first = send(account, jid, "first")
    messages = [
        ImMessage(conversation_id=first.conversation_id, sender_id=account.pk, text=f"text {n}", via_xmpp=True)
        for n in range(count)
    ]
    ImMessage.objects.bulk_create(messages)
    XmppDelivery.objects.bulk_create(XmppDelivery(message=message, account=account, to_jid=jid) for message in messages)


def test_a_server_that_goes_away_under_load_keeps_nobody_waiting(
    prosody: Prosody, own_prosody: Prosody, elsewhere: ImpAccount, account: ImpAccount, uc_one: Connect
) -> None:
    """Architecture 6: what waits for a server that is away is not claimed again and again, so that who comes online
    afterwards is served."""
    peer = uc_one()
    with bridging(account, elsewhere):
        queue(elsewhere, "somebody@im.example", 5000)
        eventually(lambda: XmppDelivery.objects.filter(account=elsewhere).exclude(state="queued").exists())
        own_prosody.kill()
        late = ImpAccountFactory.at_server(prosody, user=EndUserFactory(group=account.user.group))
        send(late, peer.jid, "To a living server")
        peer.wait_text("To a living server")
        assert XmppDelivery.objects.filter(account=elsewhere, state="queued").exists()


def test_a_server_that_hangs_keeps_nobody_waiting(
    paused: Prosody, elsewhere: ImpAccount, account: ImpAccount, uc_one: Connect
) -> None:
    """S0.30: taking somebody off a roster waits for the server's answer; messages of others do not, and it is said
    again once the server answers."""
    peer = uc_one()
    with bridging(account, elsewhere):
        paused.program.pause()
        gone = Subscription.objects.create(
            user_id=elsewhere.pk, jid="gone@im.example", direction="out", state="removed", wish="unsubscribe"
        )
        for n in range(3):
            send(account, peer.jid, f"Text {n}")
            peer.wait_text(f"Text {n}")
            assert Subscription.objects.get(pk=gone.pk).wish == "unsubscribe"
        paused.program.resume()
        eventually(lambda: Subscription.objects.get(pk=gone.pk).wish == "")


def test_a_user_deleted_with_a_message_under_way(
    account: ImpAccount, colleague: ImpAccount, operator: object, uc_one: Connect
) -> None:
    """Facts 2d: a message that nobody can have any more does not stop those of the others."""
    peer = uc_one()
    with bridging(account, colleague):
        delete_user(actor=operator, user=colleague.user)
        peer.send(colleague.imp_id, "Too late")
        peer.send(account.imp_id, "In time")
        assert heard("In time").sender_jid == peer.jid
        peer.send(account.imp_id, "And on")
        heard("And on")


def test_a_message_the_server_breaks_off_over_is_given_up(tight_prosody: Prosody) -> None:
    """Facts 2d: a stanza larger than this server takes ends the stream each time. It fails, and the next one goes."""
    account = ImpAccountFactory.at_server(tight_prosody)
    BroadworksConnectionFactory.of_server(tight_prosody, system_provider=account.system_provider)
    peer = UcOne(tight_prosody, *tight_prosody.new_account("peer")).connect()
    with bridging(account):
        large = send(account, peer.jid, "x" * 30_000)
        eventually(lambda: state_of(large) == "failed")
        large.refresh_from_db()
        assert large.status == "failed"
        assert "does not take this message" in large.error
        send(account, peer.jid, "A small one")
        peer.wait_text("A small one")
    peer.disconnect()


@pytest.fixture
def tight_prosody() -> Iterator[Prosody]:
    """Takes stanzas up to 10,000 bytes, the least that RFC 6120 §13.12 allows."""
    with Prosody(stanza_limit=10_000) as server:
        yield server


def test_a_stanza_id_used_again(account: ImpAccount, uc_one: Connect) -> None:
    """RFC 6120 §8.1.3: ids are unique within a stream only. Another text with the same one is another message; the
    same again is not."""
    peer = uc_one()
    with bridging(account):
        for text in ("First", "First", "Second"):
            peer.send(account.imp_id, text, id="1")
        heard("Second")
    assert list(ImMessage.objects.order_by("pk").values_list("text", flat=True)) == ["First", "Second"]


def test_r34_what_nobody_confirmed_for_hours_is_not_sent_again(account: ImpAccount, uc_one: Connect) -> None:
    peer = uc_one()
    old = send(account, peer.jid, "Of yesterday")
    XmppDelivery.objects.update(state="sent")
    ImMessage.objects.update(created_at=clock.now() - timedelta(hours=5))
    with bridging(account):
        send(account, peer.jid, "Of today")
        peer.wait_text("Of today")
    old.refresh_from_db()
    assert (old.status, old.error) == ("failed", "The connection was lost. Perhaps the message arrived.")
    assert [each.body for each in peer.messages] == ["Of today"]


def test_r34_what_waited_for_hours_fails(account: ImpAccount, uc_one: Connect) -> None:
    late = send(account, "nobody@im.example", "Late")
    ImMessage.objects.update(created_at=clock.now() - timedelta(hours=5))
    with bridging(account):
        eventually(lambda: state_of(late) == "failed")
    late.refresh_from_db()
    assert "waited too long" in late.error


def test_a_request_the_server_never_heard_is_said_again(account: ImpAccount, uc_one: Connect) -> None:
    """S0.28: the worker died with the word on its lips; the server's roster shows that it was not said."""
    peer = uc_one()
    Subscription.objects.create(user_id=account.pk, jid=peer.jid, direction="out", state="pending", wish="")
    with bridging(account):
        peer.wait(lambda: any(each.type == "subscribe" for each in peer.presences_of(account.imp_id)), "request")


def test_a_server_without_an_address(account: ImpAccount, uc_one: Connect) -> None:
    """S0.13: an account whose server cannot be found is reconnecting; others are served meanwhile."""
    lost = ImpAccountFactory(imp_id="someone@nowhere.invalid")
    BroadworksConnectionFactory(system_provider=lost.system_provider, imp_domain="nowhere.invalid", xmpp_host="")
    peer = uc_one()
    with bridging(account):
        send(account, peer.jid, "Hello")
        peer.wait_text("Hello")
        eventually(lambda: ImpAccount.objects.get(pk=lost.pk).status == "reconnecting")
