"""Auto-subscribe: whoever wants it watches all monitored users who have XMPP (S0.30)."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.api.enduser.session import SettingsSerializer
from portal.models import EndUser, Event, Group, UserSettings
from portal.services.users import update_settings, update_user
from portal.tests.factories import EndUserFactory, GroupFactory
from xmpp.models import ImpAccount, Subscription
from xmpp.services.auto_subscribing import subscribe_all, subscribe_automatically
from xmpp.services.subscriptions import remove_subscription, subscribe
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


@pytest.fixture
def mary() -> EndUser:
    """Monitors two colleagues with XMPP and one without."""
    mary = EndUserFactory()
    BroadworksConnectionFactory(system_provider=mary.system_provider)
    ImpAccountFactory(user=mary, imp_id="mary@im.example")
    for name in ("tom", "ann"):
        ImpAccountFactory(user=EndUserFactory(group=mary.group), imp_id=f"{name}@im.example")
    mary.monitored.set([*EndUser.objects.exclude(pk=mary.pk), EndUserFactory(group=mary.group)])
    return mary


def switch(user: EndUser, on: bool) -> None:
    update_settings(user=user, changes={"auto_subscribe_xmpp": on})


def watched() -> dict[str, str]:
    rows = Subscription.objects.order_by("jid").values_list("jid", "state", "wish", "automatic")
    assert all(wish == "subscribe" and automatic for _, state, wish, automatic in rows if state == "pending")
    return {jid: state for jid, state, _, _ in rows}


def test_s0_30_is_off_by_default(mary: EndUser) -> None:
    """And says why it may better stay so."""
    assert "buddy list" in SettingsSerializer().fields["auto_subscribe_xmpp"].help_text
    update_user(actor=None, user=mary, changes={"name": "Mary"})
    assert subscribe_all() == 0
    assert not Subscription.objects.exists()


def test_s0_30_switched_on_all_monitored_users_are_asked(mary: EndUser) -> None:
    """Who has no XMPP is left out. Switched off, what is there stays."""
    switch(mary, True)
    assert watched() == {"ann@im.example": "pending", "tom@im.example": "pending"}
    switch(mary, False)
    assert len(watched()) == 2


def test_s0_30_who_is_monitored_from_now_on_is_asked(mary: EndUser) -> None:
    switch(mary, True)
    new = ImpAccountFactory(user=EndUserFactory(group=mary.group), imp_id="new@im.example").user
    update_user(actor=None, user=mary, changes={}, monitored=[new])
    assert watched()["new@im.example"] == "pending"
    assert len(watched()) == 3


def test_s0_30_many_are_asked_in_as_few_queries_as_two(mary: EndUser) -> None:
    UserSettings.objects.filter(pk=mary.pk).update(auto_subscribe_xmpp=True)
    with CaptureQueriesContext(connection) as for_two:
        assert subscribe_automatically(mary.pk) == 2
    more = [ImpAccountFactory(user=EndUserFactory(group=mary.group)).user for _ in range(10)]
    mary.monitored.add(*more)
    with CaptureQueriesContext(connection) as for_ten:
        assert subscribe_automatically(mary.pk) == 10
    assert len(for_ten) == len(for_two)
    assert {row.peer for row in Subscription.objects.all()} >= set(more)
    assert Event.objects.filter(user=mary, type="subscription.updated").count() == 12


@pytest.mark.parametrize("late", ["peer", "self", "enterprise"])
def test_s0_30_the_sweep_finds_what_becomes_possible_later(mary: EndUser, late: str) -> None:
    """The peer's XMPP, the user's own, or that the two are of one organisation; once."""
    other = EndUserFactory(group=GroupFactory(reseller=mary.group.reseller))
    ImpAccountFactory(user=other, imp_id="late@im.example")
    accounts = ImpAccount.objects.filter(pk=mary.pk if late == "self" else other.pk)
    mary.monitored.set([other])
    if late != "enterprise":
        Group.objects.update(enterprise="Acme")
        accounts.update(enabled=False)
    switch(mary, True)
    assert watched() == {}
    accounts.update(enabled=True)
    Group.objects.update(enterprise="Acme")
    assert subscribe_all() == 1
    assert subscribe_all() == 0
    assert watched() == {"late@im.example": "pending"}


def test_s0_30_never_more_than_the_cap(mary: EndUser, settings: Any) -> None:
    """All whom the user watches count; when there is room again the next is asked."""
    settings.XMPP_AUTO_SUBSCRIBE_CAP = 2
    row, _ = subscribe(user=mary, jid="zoe@im.example")
    switch(mary, True)
    assert len(watched_by_sweep()) == 2
    remove_subscription(user=mary, subscription=row)
    assert len(watched_by_sweep()) == 3


def watched_by_sweep() -> list[Subscription]:
    subscribe_all()
    return list(Subscription.objects.all())


def test_s0_30_a_removed_one_is_not_brought_back(mary: EndUser) -> None:
    switch(mary, True)
    remove_subscription(user=mary, subscription=Subscription.objects.get(jid="tom@im.example"))
    switch(mary, False)
    switch(mary, True)
    assert subscribe_all() == 0
    assert watched() == {"ann@im.example": "pending", "tom@im.example": "removed"}


def test_s0_30_nobody_asks_for_a_deactivated_user(mary: EndUser) -> None:
    UserSettings.objects.filter(pk=mary.pk).update(auto_subscribe_xmpp=True)
    EndUser.objects.filter(pk=mary.pk).update(is_active=False)
    assert subscribe_all() == 0
