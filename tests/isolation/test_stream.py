"""The event stream and strangers, on a real server: it is bound to the user of its token, whatever place is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from portal.events import live, publish
from portal.models import EndUser, EventStream
from portal.tests.servers import Server, running_server
from tests.isolation.visitors import Answer, Visitor, visitors
from tests.isolation.world import ACME, CORVANE, ZENITH, World, make_world

pytestmark = pytest.mark.django_db(transaction=True)
EVENTS = "/api/v1/events/"


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker) -> Iterator[Server]:
    with django_db_blocker.unblock(), running_server() as running:
        yield running


@pytest.fixture
def world() -> World:
    return make_world()


def read(server: Server, token: str | None, after: int, **headers: str) -> Answer:
    """The JSON form: what the stream would say from that place on."""
    answer = server.get(f"{EVENTS}?after={after}", token=token, Accept="application/json", **headers)
    return Answer(answer.status, answer.read(), "", frozenset())


def test_no_place_in_the_stream_shows_a_strangers_event(server: Server, world: World) -> None:
    """Numbers count per user: another's Last-Event-ID is a place in one's own stream, or lies ahead of it."""
    acme, zenith = world[ACME], world[ZENITH]
    publish(zenith.user.pk, "number.updated", zenith.user.pk)
    newest = EventStream.objects.get(pk=zenith.user.pk).last_id
    visitor: Visitor = visitors(world)["end user"]
    for place in (0, newest - 1, newest, newest + 100):
        answer = read(server, acme.device_token, 0, Last_Event_ID=str(place))
        assert answer.status == 200
        assert visitor.seen(answer) == []
    assert json.loads(answer.body)["reset"] is True


def test_an_event_about_a_strangers_row_is_gone(server: Server, world: World) -> None:
    acme, zenith = world[ACME], world[ZENITH]
    for model, kind in (("CpaasNumber", "number.updated"), ("Conversation", "conversation.updated")):
        rows = next(rows for of, rows in zenith.rows.items() if of.__name__ == model)
        publish(acme.user.pk, kind, rows[0].pk)
    events = json.loads(read(server, acme.device_token, 0).body)["events"][-2:]
    assert [set(event["data"]) for event in events] == [{"id", "gone"}] * 2


def test_what_is_live_names_no_stranger_whomever_one_monitors(world: World) -> None:
    """R42: of all the users there are, those of the own organisation are told, and notes on nobody else."""
    user = world[ACME].user
    user.monitored.set(EndUser.objects.all())
    viewer = visitors(world)["end user"]
    viewer.strangers = [party for party in viewer.strangers if party.mark != CORVANE]
    [news] = live.news([(user, {})])
    told = {data["user"] for kind, data in news.events if kind == "presence.updated"}
    assert told == {str(key) for key in EndUser.objects.filter(group=user.group).values_list("pk", flat=True)}
    assert {kind for kind, _ in news.events} >= {"presence.updated", "im.chat_state"}
    answer = Answer(200, json.dumps(news.events).encode(), "", frozenset())
    assert viewer.seen(answer) == []


@pytest.mark.parametrize("kind", ["nothing", "a staff token", "an expired token", "a token that is none"])
def test_without_a_device_token_there_is_no_stream(server: Server, world: World, kind: str) -> None:
    tokens = {
        "nothing": None,
        "a staff token": world[ACME].staff_tokens["system_provider", "administrator"],
        "an expired token": world[ACME].expired["device"],
        "a token that is none": world[ACME].device_token + "x",
    }
    answer = read(server, tokens[kind], 0)
    assert answer.status == 401
    assert set(json.loads(answer.body)) == {"type", "code", "title", "status", "detail", "errors"}
