"""The live page of a media stream: who waits, who handles what, and what its agents are doing (S4.3)."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count
from django.urls import reverse
from django.utils.timesince import timesince

from cpaas.models import AgentPresence, MediaStream, QueueEntry, QueueOffer
from cpaas.models.queue import OfferState, QueueState
from cpaas.services.agents import licensed_members
from portal import clock
from portal.admin.scoped import visible
from portal.models import EndUser, PortalAccount
from portal.phone_numbers import national_digits

_MOST_SHOWN = 50
_MOST_AGENTS = 200


@dataclass(frozen=True)
class Waiting:
    """A conversation nobody has, and the agents who are asked about it."""

    remote: str
    since: datetime
    waited: str
    asked: str


@dataclass(frozen=True)
class Handled:
    """A conversation an agent has reserved."""

    key: str
    release_url: str
    remote: str
    agent: EndUser | None
    since: datetime


@dataclass(frozen=True)
class AgentLine:
    """An agent and what he or she is doing; `kind` is the colour of the badge."""

    agent: EndUser
    state: str
    kind: str
    conversations: int
    since: datetime | None


def live_context(stream: MediaStream, account: PortalAccount) -> dict[str, Any]:
    """What the live page shows of one media stream now."""
    entries = visible(QueueEntry, account).filter(media_stream=stream).select_related("conversation")
    entries = entries.order_by("waiting_since", "id")
    waiting = list(entries.filter(state__in=(QueueState.WAITING, QueueState.OFFERED))[: _MOST_SHOWN + 1])
    reserved = list(entries.filter(state=QueueState.RESERVED)[: _MOST_SHOWN + 1])
    agents = list(visible(EndUser, account).filter(media_streams=stream).order_by("name", "id")[:_MOST_AGENTS])
    names = {agent.pk: agent for agent in agents}
    asked = defaultdict(list)
    for entry_id, agent_id in _open_offers(stream):
        asked[entry_id].append(str(names.get(agent_id, "")))
    return {
        "waiting": [
            Waiting(
                _shown(entry), entry.waiting_since, _waited(entry.waiting_since), ", ".join(sorted(asked[entry.pk]))
            )
            for entry in waiting[:_MOST_SHOWN]
        ],
        "waiting_count": _count(waiting),
        "handled": [
            Handled(
                str(entry.pk),
                reverse("admin:cpaas_mediastream_release", args=[entry.pk]),
                _shown(entry),
                names.get(entry.reserved_by_id),
                entry.reserved_at,
            )
            for entry in reserved[:_MOST_SHOWN]
        ],
        "handled_count": _count(reserved),
        "may_release": account.may_write,
        "agents": _agent_lines(stream, agents),
    }


def _shown(entry: QueueEntry) -> str:
    remote = entry.conversation.remote
    return national_digits(remote) if remote.startswith("+") else remote


def _waited(since: datetime) -> str:
    """To the minute, which is what somebody in charge looks for."""
    now = clock.now()
    return timesince(since, now) if now - since >= timedelta(minutes=1) else "Less than a minute"


def _count(rows: list[QueueEntry]) -> str:
    return f"{_MOST_SHOWN}+" if len(rows) > _MOST_SHOWN else str(len(rows))


def _open_offers(stream: MediaStream) -> list[tuple[Any, Any]]:
    offers = QueueOffer.objects.filter(entry__media_stream=stream, state=OfferState.OPEN)
    return list(offers.values_list("entry_id", "agent_id")[:1000])


def _agent_lines(stream: MediaStream, agents: list[EndUser]) -> list[AgentLine]:
    keys = [agent.pk for agent in agents]
    presence = AgentPresence.objects.in_bulk(keys)
    able = set(licensed_members(stream.pk).values_list("pk", flat=True))
    ringing = Counter(
        QueueOffer.objects.filter(agent_id__in=keys, state=OfferState.OPEN).values_list("agent_id", flat=True)
    )
    reserved = QueueEntry.objects.filter(state=QueueState.RESERVED, reserved_by__in=keys)
    busy = dict(reserved.values_list("reserved_by").annotate(Count("pk")))
    now = clock.now()
    lines = []
    for agent in agents:
        sign = presence.get(agent.pk)
        is_there = sign is not None and sign.available_until > now
        state, kind = _state(agent.pk in able, is_there, bool(ringing[agent.pk]), bool(busy.get(agent.pk)))
        since = None if sign is None else sign.idle_since if is_there else sign.available_until
        lines.append(AgentLine(agent, state, kind, busy.get(agent.pk, 0), None if state == "Busy" else since))
    return lines


def _state(is_able: bool, is_there: bool, is_ringing: bool, is_busy: bool) -> tuple[str, str]:
    if not is_able:
        return "Needs an active account and a licence", "p-bad"
    if not is_there:
        return "Away", ""
    if is_ringing:
        return "Being asked", "p-wait"
    return ("Busy", "p-wait") if is_busy else ("Available", "p-good")
