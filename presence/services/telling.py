"""Telling that presence has changed. It is not stored as an event: whoever is woken looks at it as it is, so many
changes in a row are told as one, and a lost wake-up costs a few seconds (portal.events.live)."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from django.db import transaction

from portal import clock
from portal.events import wake
from portal.models import EndUser
from presence.models import SignOfLife

Monitoring = EndUser.monitored.through


def tell_presence_changed(user_ids: Collection[uuid.UUID], viewer_ids: Collection[uuid.UUID] | None = None) -> None:
    """After the caller's transaction, wake the open streams of those who monitor any of these users.

    `viewer_ids`: only these can see the change (XMPP presence). Call it whenever what a source reads has changed.
    """
    if not user_ids or (viewer_ids is not None and not viewer_ids):
        return
    online = SignOfLife.objects.filter(online_until__gt=clock.now())
    watching = Monitoring.objects.filter(to_enduser__among=list(user_ids), from_enduser__in=online.values("pk"))
    if viewer_ids is not None:
        watching = watching.filter(from_enduser__among=list(viewer_ids))
    topics = {f"user:{key}" for key in watching.values_list("from_enduser_id", flat=True)}
    transaction.on_commit(lambda: wake(*topics), robust=True)
