"""XMPP presence as a source: what the server tells a user's own session of peers that accepted (S0.27).

It holds only while that session is online; what it heard before may be wrong by now, so nothing is said then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Mod

from portal.scoping import TenantQuerySet
from presence.merge import Kind, Report
from presence.sources import Pair
from presence.states import Status
from xmpp.models import Subscription
from xmpp.services.members import abandoned_shards
from xmpp.states import AccountStatus, Direction, SubscriptionState

SOURCE = "xmpp"
_STATUSES = {
    "available": Status.AVAILABLE,
    "chat": Status.AVAILABLE,
    "away": Status.AWAY,
    "xa": Status.AWAY,
    "dnd": Status.DND,
    "unavailable": Status.OFFLINE,
}


class XmppPresence:
    """Reports by pairs: each viewer hears it from the own session. The staff site is shown what anybody heard last."""

    def reports(self, pairs: Collection[Pair]) -> Mapping[Pair, Sequence[Report]]:
        rows = heard().filter(peer__among=list({user_id for _, user_id in pairs}))
        viewer_ids = {viewer_id for viewer_id, _ in pairs}
        if None not in viewer_ids:
            rows = rows.filter(user__among=list(viewer_ids))
        said: dict[Pair, list[Report]] = {}
        for row in rows:
            if row.peer_id is not None:
                said[row.user_id, row.peer_id] = said[None, row.peer_id] = [report_of(row)]
        return {pair: said[pair] for pair in pairs if pair in said} if said else {}


def heard() -> TenantQuerySet[Subscription]:
    """The subscriptions by which sessions that are online now hear somebody, the newest word last."""
    abandoned = abandoned_shards()
    rows: TenantQuerySet[Any] = Subscription.objects.alias(
        shard=Mod(F("user__imp__slot"), settings.XMPP_SHARDS)
    ).filter(
        direction=Direction.OUT,
        state=SubscriptionState.ACCEPTED,
        show__in=_STATUSES,
        user__imp__status=AccountStatus.ONLINE,
    )
    return rows.exclude(shard__in=abandoned).order_by("presence_at")


def report_of(row: Subscription) -> Report:
    return Report(Kind.RICH, SOURCE, _STATUSES[row.show], message=row.message, at=row.presence_at)
