"""A contact centre for tests: a media stream with a number, agents who are there, and texts that come in."""

from __future__ import annotations

import itertools
import uuid
from datetime import timedelta
from typing import Any

from cpaas.carriers.base import InboundText, WebhookRequest
from cpaas.models import AgentPresence, Conversation, CpaasNumber, MediaStream, QueueEntry, QueueOffer
from cpaas.services.agents import note_agents
from cpaas.services.routing import route_queues
from cpaas.services.webhook_intake import take_in
from cpaas.tests.factories import CpaasNumberFactory, MediaStreamFactory
from portal import clock
from portal.models import EndUser
from portal.tests.factories import EndUserFactory

_remotes = itertools.count(1)


class Office:
    """A media stream of `routing` with so many agents, all of them there."""

    def __init__(self, *, agents: int = 2, **stream: Any) -> None:
        self.stream: MediaStream = MediaStreamFactory(**stream)
        self.number: CpaasNumber = CpaasNumberFactory(media_stream=self.stream)
        self.agents: list[EndUser] = [self.hire() for _ in range(agents)]

    def hire(self, **fields: Any) -> EndUser:
        """One more agent, who has just come."""
        agent: EndUser = EndUserFactory(group=self.stream.group, licence="agent", **fields)
        self.stream.agents.add(agent)
        note_agents([agent.pk])
        return agent

    def text(self, remote: str = "", text: str = "Hello") -> Conversation:
        """A text of a remote party (a new one when left out) as the carrier brings it; the conversation it is in."""
        remote = remote or f"+1732664{next(_remotes):04d}"
        sid = str(uuid.uuid4())
        request = WebhookRequest(headers={}, body=sid.encode(), content_type="application/json")
        event = InboundText(sid=sid, sender=remote, recipients=(self.number.number,), text=text)
        take_in(platform_id=self.number.platform_id, nonce=sid, request=request, events=[event])
        return Conversation.objects.get(number=self.number, remote=remote)

    def offered(self, conversation: Conversation) -> list[EndUser]:
        """The agents who are asked about it now."""
        found = QueueOffer.objects.filter(entry__conversation=conversation, state="open")
        keys = set(found.values_list("agent_id", flat=True))
        return [agent for agent in self.agents if agent.pk in keys]


def state_of(conversation: Conversation) -> str:
    """`waiting`, `offered`, `reserved`, or "" when it is in no queue."""
    return QueueEntry.objects.filter(conversation=conversation).values_list("state", flat=True).first() or ""


def time_out() -> None:
    """All open offers are overdue; the router looks, and looks again as it does a second later."""
    QueueOffer.objects.filter(state="open").update(expires_at=clock.now() - timedelta(seconds=1))
    route_queues()
    route_queues()


def leave(agent: EndUser, *, for_s: float = 60) -> None:
    """The agent's last sign of life is that old."""
    AgentPresence.objects.filter(pk=agent.pk).update(available_until=clock.now() - timedelta(seconds=for_s))
