"""Offering what waits in a queue to its agents: ring all, longest idle, round robin (S4.3).

Offers are rows with a deadline by the database's clock. Whoever calls `route_queues` moves on what is due: a router
that is killed leaves the rows as they were, and any number may run, because the stream's lock makes them take turns.
A conversation that everybody was asked about waits again, and is then offered from the beginning.
"""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count

from cpaas.models import AgentPresence, AgentTurn, MediaStream, QueueEntry, QueueOffer
from cpaas.models.queue import OfferState, QueueState
from cpaas.services.agents import available_agents, streams_to_serve
from cpaas.services.queue_news import tell_agents
from portal import clock

# The longest waiting conversations of a stream that one pass looks at.
_MOST_AT_ONCE = 50
# For so many conversations at a time an agent is rung by ring all; the other ways ring for one.
_MOST_RINGING = 5


def route_queues() -> int:
    """Take back offers that are due and offer what waits; returns how many offers were made."""
    expire_offers()
    return sum(route_stream(stream_id) for stream_id in streams_to_serve())


def expire_offers() -> int:
    """Take back offers that nobody answered in time; returns how many."""
    due = QueueOffer.objects.filter(state=OfferState.OPEN, expires_at__lte=clock.now())
    entries = set(due.order_by("expires_at").values_list("entry_id", flat=True)[:1000])
    return sum(_expire(entry_id) for entry_id in sorted(entries))


def _expire(entry_id: uuid.UUID) -> int:
    with transaction.atomic():
        entry = QueueEntry.objects.select_for_update().filter(pk=entry_id, state=QueueState.OFFERED).first()
        if entry is None:
            return 0
        offers = QueueOffer.objects.filter(entry=entry, state=OfferState.OPEN)
        expired = offers.filter(expires_at__lte=clock.now()).update(state=OfferState.EXPIRED)
        if not offers.exists():
            entry.state = QueueState.WAITING
            entry.save(update_fields=["state"])
        if expired:
            tell_agents([entry.media_stream_id])
    return expired


@dataclass
class _Round:
    """What one pass over a stream knows: who is there in the order of their turns, who was asked about each entry, and
    for how many conversations each agent is being rung."""

    turns: list[uuid.UUID]
    most_ringing: int
    asked: defaultdict[uuid.UUID, set[uuid.UUID]]
    ringing: Counter[uuid.UUID]
    offers: list[QueueOffer] = field(default_factory=list)

    def choose(self, entry: QueueEntry, most: int) -> list[uuid.UUID]:
        """The next agents to ask about `entry`, at most so many."""
        free = [key for key in self.turns if self.ringing[key] < self.most_ringing]
        return [key for key in free if key not in self.asked[entry.pk]][:most]

    def offer(self, entry: QueueEntry, agents: Sequence[uuid.UUID], until: datetime) -> None:
        for agent_id in agents:
            self.offers.append(QueueOffer(entry=entry, agent_id=agent_id, expires_at=until))
            self.ringing[agent_id] += 1
        self.turns = [key for key in self.turns if key not in agents] + list(agents)

    def has_asked_all(self, entry: QueueEntry) -> bool:
        return self.asked[entry.pk] >= set(self.turns)


def route_stream(media_stream_id: uuid.UUID) -> int:
    """Offer what waits in one stream to its agents who are there; returns how many offers were made."""
    with transaction.atomic():
        stream = MediaStream.objects.select_for_update(no_key=True).filter(pk=media_stream_id).first()
        agents = available_agents(media_stream_id)
        if stream is None or not agents:
            return 0
        rings_all = stream.routing == "ring_all"
        entries = _entries_to_offer(stream, rings_all)
        state = _round(stream, agents, entries)
        until = clock.now() + timedelta(seconds=stream.offer_timeout_s)
        begun, over = [], []
        for entry in entries:
            chosen = state.choose(entry, len(agents) if rings_all else 1)
            if chosen:
                state.offer(entry, chosen, until)
                begun.append(entry.pk)
            elif entry.state == QueueState.WAITING and state.has_asked_all(entry):
                over.append(entry.pk)
        QueueOffer.objects.bulk_create(state.offers)
        QueueEntry.objects.filter(pk__in=begun).update(state=QueueState.OFFERED)
        # The next pass begins their next round.
        QueueOffer.objects.filter(entry_id__in=over).delete()
        _note_turns(stream, {offer.agent_id for offer in state.offers})
        if begun:
            tell_agents([stream.pk])
    return len(state.offers)


def _entries_to_offer(stream: MediaStream, rings_all: bool) -> list[QueueEntry]:
    """The longest waiting first; with ring all also those that ring already, for agents who have come since. What
    somebody is just reserving is left out."""
    states = (QueueState.WAITING, QueueState.OFFERED) if rings_all else (QueueState.WAITING,)
    entries = QueueEntry.objects.filter(media_stream=stream, state__in=states).order_by("waiting_since", "id")
    return list(entries.select_for_update(skip_locked=True)[:_MOST_AT_ONCE])


def _round(stream: MediaStream, agents: Sequence[uuid.UUID], entries: Sequence[QueueEntry]) -> _Round:
    asked: defaultdict[uuid.UUID, set[uuid.UUID]] = defaultdict(set)
    offers = QueueOffer.objects.filter(entry__in=[entry.pk for entry in entries])
    for entry_id, agent_id in offers.values_list("entry_id", "agent_id"):
        asked[entry_id].add(agent_id)
    open_offers = QueueOffer.objects.filter(agent_id__in=agents, state=OfferState.OPEN)
    ringing = Counter(open_offers.values_list("agent_id", flat=True))
    in_turn = _longest_idle if stream.routing == "longest_idle" else _longest_not_asked
    most_ringing = _MOST_RINGING if stream.routing == "ring_all" else 1
    return _Round(in_turn(stream, agents), most_ringing, asked, ringing)


def _longest_not_asked(stream: MediaStream, agents: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Round robin: whom the stream has never asked first, then whom it asked longest ago."""
    turns = dict(AgentTurn.objects.filter(media_stream=stream).values_list("agent_id", "offered_at"))
    never = [key for key in agents if key not in turns]
    return sorted(never) + sorted((key for key in agents if key in turns), key=lambda key: (turns[key], key))


def _longest_idle(stream: MediaStream, agents: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Who has no conversation first, and among equals whoever finished the last one, or came, longest ago."""
    idle_since = dict(AgentPresence.objects.filter(pk__in=agents).values_list("pk", "idle_since"))
    reserved = QueueEntry.objects.filter(state=QueueState.RESERVED, reserved_by__in=agents)
    busy = dict(reserved.values_list("reserved_by").annotate(Count("pk")))
    return sorted(agents, key=lambda key: (busy.get(key, 0), idle_since[key], key))


def _note_turns(stream: MediaStream, agents: Iterable[uuid.UUID]) -> None:
    now = clock.now()
    turns = [AgentTurn(media_stream=stream, agent_id=key, offered_at=now) for key in sorted(agents)]
    AgentTurn.objects.bulk_create(
        turns, update_conflicts=True, unique_fields=["media_stream", "agent"], update_fields=["offered_at"]
    )
