"""Auto-subscribe: a user who wants it watches everybody they monitor, by and by and up to a limit (S0.30)."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Lower

from portal.events import News, wake
from portal.models import EndUser, UserSettings
from portal.services.organisation import colleagues_of
from xmpp.models import Subscription
from xmpp.services.jids import jids_of
from xmpp.services.sending import XMPP_TOPIC
from xmpp.services.subscriptions import lock_account
from xmpp.states import Direction, SubscriptionState

Monitoring = EndUser.monitored.through


def subscribe_of_user(row: EndUser | UserSettings) -> None:
    """Follows a change of a user or of their settings, in the caller's transaction: whom they monitor may be another
    now, or that they want to watch them."""
    subscribe_automatically(row.pk)


def subscribe_automatically(user_id: uuid.UUID) -> int:
    """Ask those whom the user monitors and whom nobody has asked or removed yet; returns how many.

    Switched off, nothing is asked and nothing is taken back.
    """
    with transaction.atomic():
        account = lock_account(user_id)
        wanted = UserSettings.objects.filter(pk=user_id, auto_subscribe_xmpp=True, user__is_active=True).exists()
        if account is None or not account.is_on or not wanted:
            return 0
        rows = [_wish(user_id, peer_id, jid) for peer_id, jid in _to_ask(account.user).items()]
        Subscription.objects.bulk_create(rows)
        news = News()
        for row in rows:
            news.add(user_id, "subscription.updated", row.pk)
        news.write()
        if rows:
            transaction.on_commit(lambda: wake(XMPP_TOPIC), robust=True)
        return len(rows)


def _wish(user_id: uuid.UUID, peer_id: uuid.UUID, jid: str) -> Subscription:
    return Subscription(
        user_id=user_id, peer_id=peer_id, jid=jid, direction=Direction.OUT, automatic=True, wish="subscribe"
    )


def _to_ask(user: EndUser) -> dict[uuid.UUID, str]:
    """The JIDs of monitored colleagues without any row of this user, a tombstone included, as many as there is room
    for: the buddy list of UC-One, which is the same, would become too long."""
    rows = Subscription.objects.filter(user=user, direction=Direction.OUT)
    there = rows.exclude(state=SubscriptionState.REMOVED).count()
    room = max(settings.XMPP_AUTO_SUBSCRIBE_CAP - there, 0)
    monitored = colleagues_of(user).filter(monitored_by=user).exclude(pk=user.pk).order_by("pk")
    jids = jids_of(list(monitored.values_list("pk", flat=True)))
    known = set(rows.filter(jid__in=list(jids.values())).values_list("jid", flat=True))
    return dict([(key, jid) for key, jid in jids.items() if jid not in known][:room])


def subscribe_all() -> int:
    """The sweep: what became possible without anybody changing the user, and what was missed. Returns how many."""
    return sum(subscribe_automatically(key) for key in _candidates().iterator())


def _candidates() -> QuerySet[UserSettings, uuid.UUID]:
    """Users with somebody to ask. Whoever is at the limit stays among them, which costs a look each time."""
    row = Subscription.objects.filter(
        user=OuterRef("from_enduser"), direction=Direction.OUT, jid=Lower(OuterRef("to_enduser__imp__imp_id"))
    )
    unasked = Monitoring.objects.filter(
        ~Exists(row),
        from_enduser=OuterRef("pk"),
        to_enduser__is_active=True,
        to_enduser__imp__assigned=True,
        to_enduser__imp__enabled=True,
    ).exclude(to_enduser__imp__imp_id="")
    rows = UserSettings.objects.filter(
        Exists(unasked), auto_subscribe_xmpp=True, user__imp__assigned=True, user__imp__enabled=True
    )
    return rows.order_by("pk").values_list("pk", flat=True)
