"""XMPP presence in the merged presence, and ours on the XMPP server (S0.1, S0.27, S0.39)."""

from __future__ import annotations

from typing import Any

import pytest
from defusedxml.ElementTree import fromstring

from portal import clock
from portal.models import EndUser
from portal.tests.factories import EndUserFactory, device_token
from presence.services.online import note_online
from presence.services.own import set_own_status
from presence.services.reading import presences
from presence.states import Status
from xmpp.models import ImpAccount, Subscription
from xmpp.peers import Peer, Peers
from xmpp.services.own_presence import shown_presence
from xmpp.services.rosters import forget_peers, note_peers, note_subscription
from xmpp.services.sending import send_message
from xmpp.tests.factories import SubscriptionFactory, lease_shards
from xmpp.tests.messaging import get, go_offline

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]
TOM = "tom@im.example"


@pytest.fixture
def mary(mary: EndUser) -> EndUser:
    """Her session is online."""
    ImpAccount.objects.filter(pk=mary.pk).update(status="online")
    lease_shards()
    return mary


@pytest.fixture
def tom(mary: EndUser, tom: EndUser) -> EndUser:
    """Mary watches him."""
    SubscriptionFactory(user=mary, peer=tom, jid=TOM)
    return tom


def seen(viewer: EndUser | None, user: EndUser) -> tuple[Status, str]:
    """Status and message of `user` as `viewer` sees them."""
    pair = (viewer.pk if viewer else None, user.pk)
    presence = presences([pair])[pair].presence
    return presence.status, presence.message


def hear(user: EndUser, show: str, message: str = "", jid: str = TOM) -> None:
    note_peers([(user.pk, jid, Peer(show, message))])


@pytest.mark.parametrize(
    ("show", "status"),
    [
        ("", Status.AVAILABLE),
        ("chat", Status.AVAILABLE),
        ("away", Status.AWAY),
        ("xa", Status.AWAY),
        ("dnd", Status.DND),
        ("unavailable", Status.OFFLINE),
    ],
)
def test_s0_27_the_peer_is_shown_as_uc_one_says(mary: EndUser, tom: EndUser, show: str, status: Status) -> None:
    """State and status message, to whom the peer accepted and to nobody else; staff see what anybody hears."""
    hear(mary, show, "In a meeting")
    assert seen(mary, tom) == (status, "In a meeting")
    assert seen(None, tom) == (status, "In a meeting")
    assert seen(EndUserFactory(group=mary.group), tom) == (Status.OFFLINE, "")


def test_s0_39_one_client_that_is_available_is_enough(mary: EndUser, tom: EndUser) -> None:
    """Ours or UC-One (R17: offline only when all sources say so)."""
    hear(mary, "unavailable")
    note_online([tom.pk])
    assert seen(mary, tom)[0] == Status.AVAILABLE
    hear(mary, "")
    go_offline(tom)
    assert seen(mary, tom)[0] == Status.AVAILABLE
    hear(mary, "unavailable")
    assert seen(mary, tom)[0] == Status.OFFLINE


@pytest.mark.parametrize("state", ["pending", "declined", "removed"])
def test_s0_28_without_the_peers_consent_there_is_no_presence(mary: EndUser, tom: EndUser, state: str) -> None:
    hear(mary, "dnd", "Busy")
    Subscription.objects.update(state=state)
    assert seen(mary, tom) == (Status.OFFLINE, "")


def test_what_a_session_heard_holds_only_while_it_is_online(mary: EndUser, tom: EndUser) -> None:
    """Nobody would say that it is over; and a new session begins with knowing nothing."""
    hear(mary, "dnd")
    ImpAccount.objects.filter(pk=mary.pk).update(status="reconnecting")
    assert seen(mary, tom)[0] == Status.OFFLINE
    ImpAccount.objects.filter(pk=mary.pk).update(status="online")
    assert seen(mary, tom)[0] == Status.DND
    forget_peers([mary.pk])
    assert seen(mary, tom)[0] == Status.OFFLINE


def test_what_a_session_heard_is_over_when_nobody_keeps_it_any_more(mary: EndUser, tom: EndUser, settings: Any) -> None:
    """Killed with all its like, the bridge cannot say that the session has ended."""
    hear(mary, "dnd")
    lease_shards(ended_s=settings.LEASE_TTL_S / 2)
    assert seen(mary, tom)[0] == Status.DND
    lease_shards(ended_s=settings.LEASE_TTL_S + 1)
    assert seen(mary, tom)[0] == Status.OFFLINE


def test_a_subscription_that_ends_takes_its_presence_along(mary: EndUser, tom: EndUser) -> None:
    hear(mary, "dnd")
    note_subscription(mary.pk, TOM, "unsubscribed")
    note_subscription(mary.pk, TOM, "unsubscribe")
    assert Subscription.objects.get().show == ""


def test_only_a_change_is_written(mary: EndUser, tom: EndUser) -> None:
    """Facts: gateways flood. The time is that of the change."""
    hear(mary, "away", "Lunch")
    first = Subscription.objects.get().presence_at
    hear(mary, "away", "Lunch")
    hear(mary, "dnd", jid="nobody@im.example")
    assert Subscription.objects.get().presence_at == first


def test_a_long_status_is_cut() -> None:
    """S0.26: a row holds 500 characters of it."""
    stanza = fromstring(f"<presence xmlns='jabber:client'><status>{'x' * 1000}</status></presence>")
    peer = Peers().note(TOM, "uc-one", stanza)
    assert peer is not None
    assert peer.message == "x" * 500


def test_presence_of_somebody_who_is_no_user_stands_in_the_conversation(api: Any, mary: EndUser) -> None:
    SubscriptionFactory(user=mary, peer=None, jid="zoe@im.example")
    send_message(user=mary, to="zoe@im.example", text="Hello")
    hear(mary, "away", "Lunch", jid="zoe@im.example")
    [row] = get(api(device_token(mary)), "im/conversations/")["results"]
    found = row["participants"][0]["presence"]
    assert (found["user"], found["status"], found["message"]) == (None, "away", "Lunch")


@pytest.mark.parametrize(
    ("status", "online", "shown"),
    [
        (None, True, ("", "")),
        (None, False, ("xa", "")),
        ("available", True, ("", "Hi")),
        ("away", True, ("away", "Hi")),
        ("busy", True, ("dnd", "Hi")),
        ("dnd", True, ("dnd", "Hi")),
        ("available", False, ("xa", "Hi")),
        ("dnd", False, ("dnd", "Hi")),
    ],
)
def test_s0_1_the_server_is_shown_how_the_user_is_with_us(
    mary: EndUser, status: str | None, online: bool, shown: tuple[str, str]
) -> None:
    """With no client of ours open the user is away for long; not to be disturbed stays so."""
    if status:
        set_own_status(user=mary, status=status, message="Hi")
    if online:
        note_online([mary.pk])
    assert shown_presence([mary.pk]) == {mary.pk: shown}


def test_presence_of_many_costs_as_much_as_of_one(mary: EndUser, django_assert_num_queries: Any) -> None:
    keys = [mary.pk, *(EndUserFactory(group=mary.group).pk for _ in range(5))]
    clock.now()
    with django_assert_num_queries(2):
        assert len(shown_presence(keys)) == 6
