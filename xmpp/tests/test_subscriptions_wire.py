"""Presence subscriptions on a real server, with UC-One on the other side (S0.25-S0.31, journey J10)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from portal.models import EndUser, UserSettings
from portal.tests.residents import eventually
from presence.services.reading import presences
from presence.states import Status
from tests.xmpp_peer import UcOne
from xmpp.models import ImpAccount, Subscription
from xmpp.services.subscriptions import accept_request, reject_request, remove_subscription, subscribe
from xmpp.tests.running import bridging

pytestmark = pytest.mark.django_db(transaction=True)
Connect = Callable[..., UcOne]


@pytest.fixture
def colleague(colleague: ImpAccount) -> ImpAccount:
    """Only in UC-One: we have no password of theirs, and so no session."""
    ImpAccount.objects.filter(pk=colleague.pk).update(password="")
    return colleague


def state_of(direction: str) -> str:
    row = Subscription.objects.filter(direction=direction).first()
    return row.state if row else ""


def types_heard(peer: UcOne, account: ImpAccount) -> list[str]:
    """The presence types that the peer heard of the account, in order; "" is available. Servers say `unavailable`
    besides, on their own."""
    types = [heard.type or "" for heard in peer.presences_of(account.imp_id)]
    return [word for word in types if word != "unavailable"]


def seen(viewer: EndUser, user: EndUser) -> tuple[Status, str]:
    pair = (viewer.pk, user.pk)
    presence = presences([pair])[pair].presence
    return presence.status, presence.message


def test_s0_27_a_colleague_in_uc_one_is_watched_in_real_time(
    user: EndUser, account: ImpAccount, colleague: ImpAccount, uc_one: Connect
) -> None:
    """Asked once, accepted in UC-One, then state and status message as they change, and nothing once removed."""
    phone = uc_one(colleague)
    phone.presence("away", "Lunch")
    with bridging(account):
        row, _ = subscribe(user=user, peer_id=str(colleague.pk))
        phone.wait(lambda: "subscribe" in types_heard(phone, account), "the request")
        assert state_of("out") == "pending"
        phone.accept(account.imp_id)
        eventually(lambda: seen(user, colleague.user) == (Status.AWAY, "Lunch"), "away")
        phone.presence("dnd", "Back at two")
        eventually(lambda: seen(user, colleague.user) == (Status.DND, "Back at two"), "do not disturb")
        phone.disconnect()
        eventually(lambda: seen(user, colleague.user)[0] == Status.OFFLINE, "offline")
        phone.connect()
        eventually(lambda: seen(user, colleague.user)[0] == Status.AVAILABLE, "available")
        remove_subscription(user=user, subscription=row)
        phone.wait(lambda: "unsubscribe" in types_heard(phone, account), "the end")
        assert seen(user, colleague.user)[0] == Status.OFFLINE
    assert types_heard(phone, account).count("subscribe") == 1


def test_s0_28_who_declines_is_seen_as_declined(
    user: EndUser, account: ImpAccount, colleague: ImpAccount, uc_one: Connect
) -> None:
    phone = uc_one(colleague)
    with bridging(account):
        subscribe(user=user, peer_id=str(colleague.pk))
        phone.wait(lambda: "subscribe" in types_heard(phone, account), "the request")
        phone.decline(account.imp_id)
        eventually(lambda: state_of("out") == "declined", "declined")
    assert Subscription.objects.get().may_retry_at is not None


def test_s0_31_a_request_waits_for_the_users_answer(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    """Nothing is accepted by itself, and accepting does not subscribe back."""
    peer = uc_one()
    with bridging(account):
        peer.subscribe(account.imp_id)
        eventually(lambda: state_of("in") == "pending", "the request")
        assert types_heard(peer, account) == []
        accept_request(user=user, subscription=Subscription.objects.get())
        peer.wait(lambda: types_heard(peer, account)[:1] == ["subscribed"], "the answer")
        peer.wait(lambda: "" in types_heard(peer, account), "the user's presence")
    assert "subscribe" not in types_heard(peer, account)
    assert state_of("out") == ""


def test_r31_a_rejected_request_is_refused_again_without_a_prompt(
    user: EndUser, account: ImpAccount, uc_one: Connect
) -> None:
    peer = uc_one()
    with bridging(account):
        peer.subscribe(account.imp_id)
        eventually(lambda: state_of("in") == "pending", "the request")
        reject_request(user=user, subscription=Subscription.objects.get())
        peer.wait(lambda: types_heard(peer, account) == ["unsubscribed"], "the answer")
        peer.subscribe(account.imp_id)
        peer.wait(lambda: types_heard(peer, account) == ["unsubscribed"] * 2, "the second answer")
    assert state_of("in") == "declined"


def test_s0_31_with_auto_accept_uc_one_sees_us_at_once(user: EndUser, account: ImpAccount, uc_one: Connect) -> None:
    UserSettings.objects.filter(pk=user.pk).update(auto_accept_xmpp=True)
    peer = uc_one()
    with bridging(account):
        peer.subscribe(account.imp_id)
        peer.wait(lambda: "" in types_heard(peer, account), "the user's presence")
    assert types_heard(peer, account)[0] == "subscribed"
    assert state_of("in") == "accepted"


def test_what_is_decided_while_no_worker_runs_is_said_later(
    user: EndUser, account: ImpAccount, colleague: ImpAccount, uc_one: Connect
) -> None:
    """The row is the truth: the bridge finds the wish when it comes."""
    phone = uc_one(colleague)
    subscribe(user=user, peer_id=str(colleague.pk))
    with bridging(account):
        phone.wait(lambda: "subscribe" in types_heard(phone, account), "the request")
        eventually(lambda: Subscription.objects.get().wish == "", "the wish is said")
