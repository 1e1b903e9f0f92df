"""Presence subscriptions between our users and UC-One clients (S0.25-S0.31, R31)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from portal.models import EndUser, Event, UserSettings
from portal.tests.residents import eventually
from presence.services.own import set_own_status
from tests.prosody import FOREIGN_DOMAIN, Prosody
from tests.xmpp_peer import UcOne
from xmpp.models import ImMessage, ImpAccount, Subscription
from xmpp.services.subscriptions import lock_account
from xmpp.tests.running import bridging

pytestmark = pytest.mark.django_db(transaction=True)
Connect = Callable[..., UcOne]


@pytest.fixture
def settings_row(user: EndUser) -> UserSettings:
    return UserSettings.objects.get_or_create(user=user)[0]


def row(user: EndUser, direction: str) -> Subscription | None:
    return Subscription.objects.filter(user=user, direction=direction).first()


def state(user: EndUser, direction: str) -> str:
    found = row(user, direction)
    return found.state if found else ""


def wish(user: EndUser, jid: str, kind: str, direction: str = "out", state: str = "pending") -> None:
    """What a service writes when somebody decides; the bridge's next look finds it."""
    with transaction.atomic():
        lock_account(user.pk)
        Subscription.objects.update_or_create(
            user=user, jid=jid, direction=direction, defaults={"wish": kind, "state": state}
        )


def test_request_is_one_prompt(prosody: Prosody, user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """S0.31, facts 5 #9: servers repeat an open request at each login; the user is asked once, and answers nothing
    by itself (facts 2d "subscriptions")."""
    peer = uc_one()
    with bridging(account):
        peer.subscribe(account.imp_id)
        eventually(lambda: state(user, "in") == "pending")
    with bridging(account):
        peer.subscribe(account.imp_id)
        peer.sync()
    assert Event.objects.filter(user=user, type="subscription.requested").count() == 1
    answers = {each.type for each in peer.presences_of(account.imp_id)}
    assert not answers & {"", "subscribe", "subscribed", "unsubscribed"}
    assert Subscription.objects.filter(user=user).count() == 1


def test_accepted_request(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """S0.31: what the user decides reaches the peer, who sees the user's presence; nobody subscribes back."""
    peer = uc_one()
    with bridging(account):
        peer.subscribe(account.imp_id)
        eventually(lambda: state(user, "in") == "pending")
        wish(user, peer.jid, "subscribed", "in", "accepted")
        peer.wait(lambda: any(each.type == "" for each in peer.presences_of(account.imp_id)), "presence")
        eventually(lambda: row(user, "in").wish == "")
    assert peer.roster()[account.imp_id] == "to"
    assert row(user, "out") is None


def test_automatic_acceptance(user: EndUser, account: ImpAccount, uc_one: Connect, settings_row: UserSettings) -> None:
    """S0.31: with the setting on every request is accepted without a prompt."""
    UserSettings.objects.filter(pk=user.pk).update(auto_accept_xmpp=True)
    peer = uc_one()
    with bridging(account):
        peer.subscribe(account.imp_id)
        peer.wait(lambda: peer.roster().get(account.imp_id) == "to", "subscription")
    assert state(user, "in") == "accepted"
    assert not Event.objects.filter(user=user, type="subscription.requested").exists()


def test_request_from_elsewhere(prosody: Prosody, user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """S0.29: nobody outside the preconfigured domain gets a prompt or an answer, or is heard."""
    stranger = UcOne(prosody, *prosody.new_account("stranger", FOREIGN_DOMAIN)).connect()
    with bridging(account):
        stranger.subscribe(account.imp_id)
        stranger.send(account.imp_id, "Do you know me?")
        stranger.sync()
        peer = uc_one()
        peer.send(account.imp_id, "You know me")
        eventually(lambda: ImMessage.objects.filter(text="You know me").exists())
    stranger.disconnect()
    assert row(user, "in") is None
    assert ImMessage.objects.count() == 1


def test_accepted_subscription_shows_state_and_text(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """S0.26, S0.27: pending until the peer accepts; then state and typed message follow live; offline too."""
    peer = uc_one()
    with bridging(account):
        wish(user, peer.jid, "subscribe")
        peer.wait(lambda: any(each.type == "subscribe" for each in peer.presences_of(account.imp_id)), "request")
        assert state(user, "out") == "pending"
        peer.accept(account.imp_id)
        eventually(lambda: state(user, "out") == "accepted")
        peer.presence("dnd", "In a meeting")
        eventually(lambda: (row(user, "out").show, row(user, "out").message) == ("dnd", "In a meeting"))
        peer.presence(None, "Back")
        eventually(lambda: (row(user, "out").show, row(user, "out").message) == ("available", "Back"))
        peer.disconnect()
        eventually(lambda: row(user, "out").show == "unavailable")


def test_declined_subscription(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """S0.28, R31: a refusal is seen as such, and says when it may be asked again."""
    peer = uc_one()
    with bridging(account):
        wish(user, peer.jid, "subscribe")
        peer.wait(lambda: any(each.type == "subscribe" for each in peer.presences_of(account.imp_id)), "request")
        peer.decline(account.imp_id)
        eventually(lambda: state(user, "out") == "declined")
    assert row(user, "out").may_retry_at > timezone.now() + timedelta(hours=23)


def test_request_again_after_a_refusal(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """R31: within a day after the user's refusal the same peer is refused without a prompt."""
    peer = uc_one()
    tomorrow = timezone.now() + timedelta(hours=20)
    Subscription.objects.create(user=user, jid=peer.jid, direction="in", state="declined", may_retry_at=tomorrow)
    with bridging(account):
        peer.subscribe(account.imp_id)
        peer.wait(lambda: any(e.type == "unsubscribed" for e in peer.presences_of(account.imp_id)), "refusal")
    assert state(user, "in") == "declined"
    assert not Event.objects.filter(user=user, type="subscription.requested").exists()


def test_what_another_client_changes(
    user: EndUser, account: ImpAccount, colleague: ImpAccount, uc_one: Connect
) -> None:
    """S0.25: a colleague added or removed in UC-One is added or removed here too."""
    desk, peer = uc_one(account), uc_one(colleague)
    with bridging(account):
        desk.subscribe(colleague.imp_id)
        peer.accept(account.imp_id)
        eventually(lambda: state(user, "out") == "accepted")
        assert row(user, "out").peer == colleague.user
        desk.unsubscribe(colleague.imp_id)
        eventually(lambda: state(user, "out") == "removed")


def test_own_state_is_shown(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """S0.1: contacts in UC-One see the state that the user has in our platform, and who has no client open as away."""
    peer = uc_one()
    Subscription.objects.create(user=user, jid=peer.jid, direction="in", state="accepted")
    with bridging(account):
        peer.subscribe(account.imp_id)
        peer.wait_presence(account.imp_id, show="xa")
        set_own_status(user=user, status="dnd", message="Do not disturb")
        peer.wait_presence(account.imp_id, show="dnd", status="Do not disturb")
        set_own_status(user=user, status=None, message="")
        peer.wait_presence(account.imp_id, show="xa")


def test_removed_leaves_the_roster(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """S0.25, S0.30: whom the user removes here is no buddy in UC-One any more, unless they watch the user."""
    peer = uc_one()
    with bridging(account):
        wish(user, peer.jid, "subscribe")
        peer.wait(lambda: any(each.type == "subscribe" for each in peer.presences_of(account.imp_id)), "request")
        peer.accept(account.imp_id)
        eventually(lambda: state(user, "out") == "accepted")
        wish(user, peer.jid, "unsubscribe", state="removed")
        peer.wait(lambda: peer.roster().get(account.imp_id, "none") == "none", "end of the subscription")
        assert peer.jid not in uc_one(account).roster()
    assert state(user, "out") == "removed"


def test_peer_who_left_during_the_gap(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """Facts 5 #13: what an earlier session heard is forgotten by the next, which hears only who is there."""
    peer = uc_one()
    with bridging(account):
        wish(user, peer.jid, "subscribe")
        peer.wait(lambda: any(each.type == "subscribe" for each in peer.presences_of(account.imp_id)), "request")
        peer.accept(account.imp_id)
        eventually(lambda: row(user, "out") and row(user, "out").show == "available")
    peer.disconnect()
    with bridging(account):
        eventually(lambda: row(user, "out").show in ("", "unavailable"))
