"""The queue on the event streams of agents, on a real server (contracts section 4, Events)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cpaas.services import queueing
from cpaas.services.media_streams import update_media_stream
from cpaas.services.routing import route_queues
from cpaas.tests.contact_centre import Office
from portal.tests.factories import EndUserFactory, device_token
from portal.tests.servers import Server, running_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker) -> Iterator[Server]:
    with django_db_blocker.unblock(), running_server() as running:
        yield running


def next_of(stream, kind: str, **fields: object) -> dict:
    """The data of the next event of that kind with these fields."""
    while True:
        event = stream.event()
        data = event["data"]
        if event["type"] == kind and all(data.get(name) == value for name, value in fields.items()):
            assert event["id"] is None or not kind.startswith("queue.")
            return data


def test_s4_3_agents_see_the_queue_as_it_changes(server: Server) -> None:
    office = Office(routing="round_robin", agents=2)
    streams = [server.stream(device_token(agent)) for agent in office.agents]
    conversation = office.text()
    for stream in streams:
        assert next_of(stream, "queue.updated", state="waiting")["conversation"] == str(conversation.pk)
    route_queues()
    [asked] = office.offered(conversation)
    at = office.agents.index(asked)
    assert next_of(streams[at], "queue.offered")["offered_to"] == [str(asked.pk)]
    assert next_of(streams[1 - at], "queue.updated", state="offered")["offered_to"] == [str(asked.pk)]
    queueing.reserve_conversation(user=asked, conversation=conversation)
    for stream in streams:
        assert next_of(stream, "queue.updated", state="reserved")["reserved_by"] == str(asked.pk)
    office.text(conversation.remote, "And now?")
    assert next_of(streams[at], "message.created")["text"] == "And now?"
    queueing.close_conversation(user=asked, conversation=conversation)
    seen = []
    while not seen or seen[-1]["type"] != "queue.updated":
        seen.append(streams[1 - at].event())
    assert seen[-1]["data"]["gone"] is True
    # The other agent was told nothing of the texts.
    assert {event["type"] for event in seen} == {"queue.updated"}


def test_who_connects_is_told_the_state_and_who_is_no_agent_nothing(server: Server) -> None:
    office = Office(agents=1)
    first, second = office.text(), office.text()
    route_queues()
    stream = server.stream(device_token(office.agents[0]))
    told = [stream.event() for _ in range(4)]
    assert [event["type"] for event in told] == ["queue.updated", "queue.offered"] * 2
    assert [event["data"]["conversation"] for event in told[::2]] == [str(first.pk), str(second.pk)]
    outsider = EndUserFactory(group=office.stream.group)
    others = server.stream(device_token(outsider))
    # Once made an agent the stream that is open already tells it too; taken away, it is told that all is gone.
    update_media_stream(actor=None, media_stream=office.stream, changes={}, agents=[outsider])
    assert next_of(others, "queue.updated")["conversation"] == str(first.pk)
    assert next_of(stream, "queue.updated", gone=True)["conversation"] == str(first.pk)
