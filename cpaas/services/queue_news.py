"""Telling that a queue has changed. Queue events are not stored: whoever is woken looks at the queue as it is."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from django.db import transaction

from cpaas.models import AgentPresence, MediaStream
from portal import clock
from portal.events import wake

# The topic the router listens to.
QUEUE_TOPIC = "queue"


def tell_queue_changed(media_stream_ids: Collection[uuid.UUID]) -> None:
    """After the caller's transaction, wake the router and the agents of these media streams who are there."""
    if media_stream_ids:
        tell_agents(media_stream_ids)
        transaction.on_commit(lambda: wake(QUEUE_TOPIC), robust=True)


def tell_agents(media_stream_ids: Collection[uuid.UUID]) -> None:
    """As above, without the router, which needs not be told what it did itself."""
    there = AgentPresence.objects.filter(available_until__gt=clock.now())
    members = MediaStream.agents.through.objects.filter(
        mediastream_id__in=media_stream_ids, enduser_id__in=there.values("pk")
    )
    topics = {f"user:{key}" for key in members.values_list("enduser_id", flat=True)}
    transaction.on_commit(lambda: wake(*topics), robust=True)
