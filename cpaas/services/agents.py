"""Agents of media streams: who is one, and who is there to take a conversation (S4.3).

Today's sign of life is an open event stream, or asking for the queue. Everybody else asks `available_agents`, so that
presence can be added here.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from cpaas.models import AgentPresence, MediaStream, QueueEntry
from cpaas.models.queue import QueueState
from cpaas.services.queue_news import QUEUE_TOPIC
from portal import clock
from portal.events import wake
from portal.models import EndUser, Licence
from portal.sql import execute, places

# Longer than the pause between two looks at the open streams, so that a slow one loses nobody.
AVAILABLE_FOR = timedelta(seconds=30)
_RENEW_BEFORE = timedelta(seconds=20)
# So long an agent may be away before what he has reserved goes back to the queue.
GONE_AFTER = timedelta(minutes=5)
_SIGN_OF_LIFE = """
    INSERT INTO cpaas_agentpresence AS p (agent_id, available_until, idle_since) VALUES {rows}
    ON CONFLICT (agent_id) DO UPDATE SET
        idle_since = CASE WHEN p.available_until < excluded.idle_since THEN excluded.idle_since ELSE p.idle_since END,
        available_until = excluded.available_until
"""
_Membership = MediaStream.agents.through


def is_licensed_agent(user: EndUser) -> bool:
    """Whether the user is an agent of any media stream and licensed to be one."""
    return user.is_licensed and user.is_active and _Membership.objects.filter(enduser_id=user.pk).exists()


def is_agent_of(user: EndUser, media_stream_id: uuid.UUID) -> bool:
    members = _Membership.objects.filter(enduser_id=user.pk, mediastream_id=media_stream_id)
    return user.is_active and members.exists()


def streams_of(user: EndUser) -> list[uuid.UUID]:
    """The media streams the user is an agent of."""
    return list(_Membership.objects.filter(enduser_id=user.pk).values_list("mediastream_id", flat=True))


def agents_among(user_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these users who are agents of a media stream."""
    members = _Membership.objects.filter(enduser_id__among=list(user_ids))
    return set(members.values_list("enduser_id", flat=True))


def note_agents(agent_ids: Collection[uuid.UUID]) -> None:
    """These agents are there now. Writes only for those whose last sign is some seconds old."""
    now = clock.now()
    signs = dict(AgentPresence.objects.filter(pk__among=list(agent_ids)).values_list("pk", "available_until"))
    due = sorted(key for key in agent_ids if key not in signs or signs[key] < now + _RENEW_BEFORE)
    if not due:
        return
    values = [value for key in due for value in (key, now + AVAILABLE_FOR, now)]
    execute(_SIGN_OF_LIFE.format(rows=", ".join([f"({places(range(3))})"] * len(due))), values)
    if any(key not in signs or signs[key] < now for key in due):
        transaction.on_commit(lambda: wake(QUEUE_TOPIC), robust=True)


def licensed_members(media_stream_id: uuid.UUID | OuterRef) -> QuerySet[EndUser]:
    """The agents of a stream who are active and have a licence (S4.2)."""
    return EndUser.objects.filter(media_streams=media_stream_id, is_active=True).exclude(licence=Licence.NONE)


def available_agents(media_stream_id: uuid.UUID) -> list[uuid.UUID]:
    """The agents of a stream who could take a conversation now."""
    there = AgentPresence.objects.filter(available_until__gt=clock.now())
    return list(licensed_members(media_stream_id).filter(pk__in=there.values("pk")).values_list("pk", flat=True))


def streams_to_serve() -> list[uuid.UUID]:
    """The media streams in which somebody waits and somebody is there."""
    there = AgentPresence.objects.filter(available_until__gt=clock.now())
    waiting = QueueEntry.objects.filter(media_stream=OuterRef("mediastream_id")).exclude(state=QueueState.RESERVED)
    members = _Membership.objects.filter(Exists(waiting), enduser_id__in=there.values("pk"))
    return list(members.order_by("mediastream_id").values_list("mediastream_id", flat=True).distinct())


def end_work(agent_ids: Iterable[uuid.UUID]) -> None:
    """These agents have just finished with a conversation: their idle time begins anew."""
    AgentPresence.objects.filter(pk__in=list(agent_ids)).update(idle_since=clock.now())


def still_there() -> Exists:
    """A condition on queue entries: the agent who has reserved one may still answer it, and was there lately."""
    lately = AgentPresence.objects.filter(available_until__gt=clock.now() - GONE_AFTER)
    return Exists(
        licensed_members(OuterRef("media_stream")).filter(pk=OuterRef("reserved_by"), pk__in=lately.values("pk"))
    )
