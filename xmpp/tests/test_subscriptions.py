"""XMPP presence subscriptions: asked, answered, removed (S0.25-S0.31, R31)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from portal import clock
from portal.events import render
from portal.models import AuditEntry, EndUser, Event, UserSettings
from portal.tests.factories import EndUserFactory, device_token
from xmpp.models import ImpAccount, Subscription
from xmpp.services.rosters import fulfilled, note_roster, note_subscription, open_wishes
from xmpp.tests.factories import ImpAccountFactory, SubscriptionFactory
from xmpp.tests.messaging import BASE, get

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]
TOM = "tom@im.example"
Client = Callable[[EndUser], APIClient]


@pytest.fixture
def client(api: Any, mary: EndUser) -> APIClient:
    made: APIClient = api(device_token(mary))
    return made


def ask(client: APIClient, **body: Any) -> Any:
    return client.post(f"{BASE}xmpp/subscriptions/", body, format="json")


def wishes(user: EndUser) -> list[tuple[str, str, bool]]:
    """What the bridge has to say for the user; said by this."""
    found = open_wishes([user.pk])
    for wish in found:
        fulfilled(wish)
    return [(wish.kind, wish.jid, wish.forget) for wish in found]


def events(user: EndUser) -> list[tuple[str, str]]:
    """Type and state of each event of a subscription, in order; as the stream renders them."""
    told = list(Event.objects.filter(user=user, type__startswith="subscription").order_by("number"))
    return [(line["type"], line["data"]["state"]) for line in render({user: told})[user.pk]]


def test_s0_26_a_subscription_is_pending_until_the_peer_accepts(client: APIClient, mary: EndUser, tom: EndUser) -> None:
    answer = ask(client, user=str(tom.pk))
    row = answer.json()
    assert answer.status_code == 201
    assert row == {
        "id": row["id"],
        "user": str(tom.pk),
        "jid": TOM,
        "name": "Tom",
        "direction": "out",
        "state": "pending",
        "automatic": False,
        "at": row["at"],
        "may_retry_at": None,
    }
    assert wishes(mary) == [("subscribe", TOM, False)]
    note_subscription(mary.pk, TOM, "subscribed")
    [accepted] = get(client, "xmpp/subscriptions/")["results"]
    assert (accepted["id"], accepted["state"]) == (row["id"], "accepted")
    assert [type_ for type_, _ in events(mary)] == ["subscription.updated", "subscription.updated"]
    assert AuditEntry.objects.get(action="add_xmpp_presence").after == {"jid": TOM}


def test_asked_twice_is_the_open_one(client: APIClient, mary: EndUser, tom: EndUser) -> None:
    """Contracts section 6: by user or by JID, pending or accepted, and the server is asked once."""
    first = ask(client, user=str(tom.pk)).json()
    again = ask(client, jid="Tom@IM.example/phone")
    assert (again.status_code, again.json()) == (200, first)
    wishes(mary)
    note_subscription(mary.pk, TOM, "subscribed")
    assert ask(client, user=str(tom.pk)).json()["id"] == first["id"]
    assert wishes(mary) == []


def test_r31_a_declined_one_may_be_asked_again_after_a_day(client: APIClient, mary: EndUser, tom: EndUser) -> None:
    """S0.28: visible as declined."""
    ask(client, user=str(tom.pk))
    note_subscription(mary.pk, TOM, "unsubscribed")
    [row] = get(client, "xmpp/subscriptions/")["results"]
    assert row["state"] == "declined"
    refused = ask(client, user=str(tom.pk))
    assert (refused.status_code, refused.json()["code"]) == (409, "declined_recently")
    assert refused.json()["may_retry_at"] == row["may_retry_at"] is not None
    Subscription.objects.update(may_retry_at=clock.now() - timedelta(seconds=1))
    wishes(mary)
    again = ask(client, user=str(tom.pk))
    assert (again.status_code, again.json()["state"], again.json()["may_retry_at"]) == (201, "pending", None)
    assert wishes(mary) == [("subscribe", TOM, False)]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"jid": "tom@other.example"}, 400, "domain_not_allowed"),
        ({"jid": "tom"}, 400, "invalid"),
        ({"jid": "a\ufffeb@im.example"}, 400, "invalid"),
        ({"jid": "a\x1bb@im.example"}, 400, "invalid"),
        ({"jid": "x" * 400}, 400, "invalid"),
        ({"jid": "mary@im.example"}, 400, "invalid"),
        ({}, 400, "invalid"),
        ({"jid": TOM, "user": "x"}, 400, "invalid"),
        ({"user": "x"}, 404, "not_found"),
        ({"user": "stranger"}, 404, "not_found"),
        ({"user": "without"}, 409, "not_on_xmpp"),
        ({"user": "mary"}, 400, "invalid"),
    ],
)
def test_whom_nobody_can_ask(client: APIClient, mary: EndUser, body: dict[str, str], status: int, code: str) -> None:
    """S0.29, R42."""
    people = {"mary": mary.pk, "without": EndUserFactory(group=mary.group).pk, "stranger": EndUserFactory().pk}
    named = {name: str(people.get(value, value)) for name, value in body.items()}
    answer = ask(client, **named)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Subscription.objects.exists()


def test_s0_25_removed_it_stays_away_until_the_user_asks_again(client: APIClient, mary: EndUser, tom: EndUser) -> None:
    """A tombstone: what the server or auto-subscribe say does not bring it back."""
    row = ask(client, user=str(tom.pk)).json()
    wishes(mary)
    note_subscription(mary.pk, TOM, "subscribed")
    assert client.delete(f"{BASE}xmpp/subscriptions/{row['id']}/").status_code == 204
    assert wishes(mary) == [("unsubscribe", TOM, True)]
    assert get(client, "xmpp/subscriptions/")["results"] == []
    assert get(client, "xmpp/subscriptions/?state=removed")["results"][0]["id"] == row["id"]
    assert events(mary)[-1] == ("subscription.updated", "removed")
    mary.monitored.set([tom])
    client.patch(f"{BASE}settings/", {"auto_subscribe_xmpp": True}, format="json")
    note_roster(mary.pk, [{"jid": TOM, "subscription": "to"}], whole=True)
    note_subscription(mary.pk, TOM, "subscribed")
    assert Subscription.objects.get().state == "removed"
    assert client.delete(f"{BASE}xmpp/subscriptions/{row['id']}/").status_code == 404
    again = ask(client, user=str(tom.pk))
    assert (again.status_code, again.json()["id"]) == (201, row["id"])


def test_s0_31_a_request_is_one_prompt_until_it_is_answered(client: APIClient, mary: EndUser, tom: EndUser) -> None:
    """Servers repeat it at each login. Accepting does not subscribe back."""
    for _ in range(3):
        note_subscription(mary.pk, TOM, "subscribe")
    assert events(mary) == [("subscription.requested", "pending")]
    [row] = get(client, "xmpp/subscriptions/?direction=in")["results"]
    assert (row["user"], row["state"]) == (str(tom.pk), "pending")
    for _ in range(2):
        answer = client.post(f"{BASE}xmpp/subscriptions/{row['id']}/accept/", {}, format="json")
        assert (answer.status_code, answer.json()["state"]) == (200, "accepted")
    assert wishes(mary) == [("subscribed", TOM, False)]
    assert not Subscription.objects.filter(direction="out").exists()


def test_r31_a_rejected_request_is_not_asked_again_for_a_day(client: APIClient, mary: EndUser, tom: EndUser) -> None:
    """The server is told the same as the user said, without another prompt."""
    note_subscription(mary.pk, TOM, "subscribe")
    place = f"{BASE}xmpp/subscriptions/{Subscription.objects.get().pk}/"
    answer = client.post(f"{place}reject/", {}, format="json")
    assert (answer.status_code, answer.json()["state"]) == (200, "declined")
    assert wishes(mary) == [("unsubscribed", TOM, False)]
    note_subscription(mary.pk, TOM, "subscribe")
    assert wishes(mary) == [("unsubscribed", TOM, False)]
    assert client.post(f"{place}accept/", {}, format="json").json()["code"] == "not_pending"
    Subscription.objects.update(may_retry_at=clock.now() - timedelta(seconds=1))
    note_subscription(mary.pk, TOM, "subscribe")
    assert Subscription.objects.get().state == "pending"
    assert [type_ for type_, _ in events(mary)].count("subscription.requested") == 2


def test_own_requests_are_not_the_users_to_answer(client: APIClient, tom: EndUser) -> None:
    row = ask(client, user=str(tom.pk)).json()
    for action in ("accept", "reject"):
        answer = client.post(f"{BASE}xmpp/subscriptions/{row['id']}/{action}/", {}, format="json")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_pending")


def test_s0_31_with_auto_accept_nobody_is_asked(client: APIClient, mary: EndUser, tom: EndUser) -> None:
    """Nor is anybody of another server let in by it (S0.29)."""
    UserSettings.objects.filter(pk=mary.pk).update(auto_accept_xmpp=True)
    for jid in (TOM, "eve@other.example"):
        note_subscription(mary.pk, jid, "subscribe")
    assert wishes(mary) == [("subscribed", TOM, False)]
    assert events(mary) == [("subscription.updated", "accepted")]


def test_a_jid_longer_than_any_we_keep_is_not_heard(mary: EndUser) -> None:
    """It must not hold up what servers say of others."""
    note_subscription(mary.pk, f"{'x' * 400}@im.example", "subscribe")
    note_roster(mary.pk, [{"jid": f"{'x' * 400}@im.example", "subscription": "both"}], whole=True)
    assert not Subscription.objects.exists()


def test_a_watcher_can_be_sent_away(client: APIClient, mary: EndUser, tom: EndUser) -> None:
    """The peer watches no more; the user's own watching of the peer stays."""
    ask(client, user=str(tom.pk))
    note_subscription(mary.pk, TOM, "subscribed")
    note_subscription(mary.pk, TOM, "subscribe")
    row = Subscription.objects.get(direction="in")
    client.post(f"{BASE}xmpp/subscriptions/{row.pk}/accept/", {}, format="json")
    wishes(mary)
    assert client.delete(f"{BASE}xmpp/subscriptions/{row.pk}/").status_code == 204
    assert wishes(mary) == [("unsubscribed", TOM, False)]
    assert Subscription.objects.get(direction="out").state == "accepted"


def test_who_is_watched_back_stays_on_the_roster(client: APIClient, mary: EndUser, tom: EndUser) -> None:
    """Taking the entry off would end the other direction too."""
    SubscriptionFactory(user=mary, peer=tom, jid=TOM)
    SubscriptionFactory(user=mary, peer=tom, jid=TOM, direction="in")
    client.delete(f"{BASE}xmpp/subscriptions/{Subscription.objects.get(direction='out').pk}/")
    assert wishes(mary) == [("unsubscribe", TOM, False)]


def test_the_roster_of_another_client_is_followed(mary: EndUser, tom: EndUser) -> None:
    """What UC-One removes or adds; and what it cannot know of yet stays."""
    ann = EndUserFactory(group=mary.group)
    ImpAccountFactory(user=ann, imp_id="ann@im.example")
    SubscriptionFactory(user=mary, peer=tom, jid=TOM)
    note_roster(mary.pk, [{"jid": TOM, "subscription": "remove"}, {"jid": "x@y", "subscription": "to"}], whole=False)
    note_roster(mary.pk, [{"jid": "ann@im.example", "subscription": "both"}], whole=True)
    states = Subscription.objects.order_by("jid").values_list("jid", "state", "peer")
    assert list(states) == [("ann@im.example", "accepted", ann.pk), (TOM, "removed", tom.pk)]


def test_a_roster_that_is_as_before_is_not_written(mary: EndUser, tom: EndUser) -> None:
    """After a restart of the server all accounts fetch theirs at once."""
    row = SubscriptionFactory(user=mary, peer=tom, jid=TOM)
    items = [{"jid": TOM, "subscription": "both"}]
    with CaptureQueriesContext(connection) as captured:
        note_roster(mary.pk, items, whole=True)
    written = [query["sql"] for query in captured if query["sql"].startswith(("UPDATE", "INSERT"))]
    assert written == []
    assert Subscription.objects.get() == row


def test_who_gets_the_jid_later_is_whom_it_watches_then(client: APIClient, mary: EndUser) -> None:
    """Asked for by JID before there was such a colleague: the same subscription is the colleague's from then on, at
    the next login or when the colleague is to be added; and nobody's who left the organisation (R42)."""
    row = ask(client, jid=TOM).json()
    note_subscription(mary.pk, TOM, "subscribed")
    wishes(mary)
    assert row["user"] is None
    tom = EndUserFactory(group=mary.group, name="Tom")
    account = ImpAccountFactory(user=tom, imp_id=TOM)
    again = ask(client, user=str(tom.pk)).json()
    assert (again["id"], again["user"], again["name"], again["state"]) == (row["id"], str(tom.pk), "Tom", "accepted")
    ImpAccount.objects.filter(pk=account.pk).update(imp_id="thomas@im.example")
    note_roster(mary.pk, [{"jid": TOM, "subscription": "to"}], whole=True)
    assert Subscription.objects.get().peer is None
    ImpAccount.objects.filter(pk=account.pk).update(imp_id=TOM)
    note_roster(mary.pk, [{"jid": TOM, "subscription": "to"}], whole=True)
    assert Subscription.objects.get().peer == tom


def test_s0_5_without_xmpp_there_are_no_subscriptions(client: APIClient, mary: EndUser, tom: EndUser) -> None:
    """Assigned and enabled, both."""
    row = SubscriptionFactory(user=mary, direction="in", state="pending")
    ImpAccount.objects.filter(pk=mary.pk).update(enabled=False)
    place = f"{BASE}xmpp/subscriptions/"
    answers = [
        client.get(place),
        ask(client, user=str(tom.pk)),
        client.get(f"{place}{row.pk}/"),
        client.delete(f"{place}{row.pk}/"),
        client.post(f"{place}{row.pk}/accept/", {}, format="json"),
        client.post(f"{place}{row.pk}/reject/", {}, format="json"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 6


def test_subscriptions_of_others_do_not_exist(client: APIClient, tom: EndUser) -> None:
    row = SubscriptionFactory(user=tom, direction="in", state="pending")
    for key in (row.pk, uuid.uuid4()):
        place = f"{BASE}xmpp/subscriptions/{key}/"
        answers = [client.get(place), client.delete(place), *(client.post(f"{place}{act}/") for act in ("accept",))]
        assert [answer.status_code for answer in answers] == [404] * 3
    assert get(client, "xmpp/subscriptions/")["results"] == []
