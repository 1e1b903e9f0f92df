"""Presence on event streams, on a real server (contracts section 4, Events)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from portal import clock
from portal.tests.factories import EndUserFactory, device_token
from portal.tests.servers import Server, StreamClient, running_server
from presence.live import NEWS_FOR, LivePresence
from presence.merge import Kind, Report
from presence.models import Note, SignOfLife
from presence.services.notes import write_note
from presence.services.own import set_own_status
from presence.states import Status
from presence.tests.factories import OwnStatusFactory, TableOfUsers, registered

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker) -> Iterator[Server]:
    with django_db_blocker.unblock(), running_server() as running:
        yield running


def next_of(stream: StreamClient, kind: str, **fields: object) -> dict:
    """The data of the next event of that kind with these fields."""
    while True:
        event = stream.event()
        if event["type"] == kind and all(event["data"].get(name) == value for name, value in fields.items()):
            assert event["id"] is None
            return event["data"]


def test_after_hello_comes_one_frame_for_each_monitored_user(server: Server) -> None:
    """Contracts, Events: the whole object as `GET presence/{user}/` shows it."""
    mary = EndUserFactory()
    busy, idle = EndUserFactory.create_batch(2, group=mary.group)
    OwnStatusFactory(user=busy, message="lunch")
    mary.monitored.set([busy, idle])
    token = device_token(mary)
    stream = server.stream(token)
    told = [stream.event() for _ in range(2)]
    assert [(event["type"], event["id"], event["data"]["status"]) for event in told] == [
        ("presence.updated", None, "offline"),
        ("presence.updated", None, "busy"),
    ]
    answer = server.get(f"/api/v1/presence/{busy.pk}/", token=token)
    assert answer.status == 200
    assert json.loads(answer.read()) == told[1]["data"]


def test_whoever_monitors_hears_what_changes_and_nobody_else(server: Server) -> None:
    mary, tom, ann = [EndUserFactory(group=group) for group in [EndUserFactory().group] * 3]
    mary.monitored.set([tom])
    stream, others = server.stream(device_token(mary)), server.stream(device_token(ann))
    next_of(stream, "presence.updated", user=str(tom.pk), status="offline")
    server.stream(device_token(tom))
    assert next_of(stream, "presence.updated", user=str(tom.pk))["status"] == "available"
    set_own_status(user=tom, status="away", message="Back soon")
    found = next_of(stream, "presence.updated", user=str(tom.pk))
    assert (found["status"], found["message"]) == ("away", "Back soon")
    # Ann monitors nobody: the first she hears is the note, which is for everybody.
    write_note(actor=mary, user=tom, text="Gone home")
    assert others.event()["type"] == "note.updated"


def test_s0_3_whose_web_process_is_killed_goes_offline(server: Server) -> None:
    """Nobody renews the sign of life any more, and nobody needs to say so."""
    mary, tom = EndUserFactory.create_batch(2, group=EndUserFactory().group)
    mary.monitored.set([tom])
    with running_server() as other:
        other.stream(device_token(tom))
        stream = server.stream(device_token(mary))
        next_of(stream, "presence.updated", user=str(tom.pk), status="available")
        other.process.kill()
        next_of(stream, "presence.updated", user=str(tom.pk), status="offline")


def test_s3_7_a_note_is_told_to_the_whole_organisation_and_to_no_one_else(server: Server) -> None:
    mary, tom = EndUserFactory.create_batch(2, group=EndUserFactory().group)
    linked = EndUserFactory(group__reseller=mary.group.reseller, group__enterprise="Alps")
    stranger = EndUserFactory(group__reseller=mary.group.reseller)
    mary.group.enterprise = "Alps"
    mary.group.save()
    streams = [server.stream(device_token(user)) for user in (mary, tom, linked)]
    outside = server.stream(device_token(stranger))
    write_note(actor=mary, user=tom, text="On holiday")
    for stream in streams:
        found = next_of(stream, "note.updated", user=str(tom.pk))
        assert (found["note"]["text"], found["note"]["by"]) == ("On holiday", mary.name)
    write_note(actor=linked, user=tom, text="")
    for stream in streams:
        assert next_of(stream, "note.updated", user=str(tom.pk))["note"] is None
    write_note(actor=stranger, user=stranger, text="Mine")
    assert outside.event()["data"]["note"]["text"] == "Mine"


def test_whom_i_monitor_no_more_is_gone_and_whom_i_begin_to_monitor_is_told(server: Server) -> None:
    mary, tom, ann = EndUserFactory.create_batch(3, group=EndUserFactory().group)
    mary.monitored.set([tom])
    stream = server.stream(device_token(mary))
    next_of(stream, "presence.updated", user=str(tom.pk))
    mary.monitored.set([ann])
    assert next_of(stream, "presence.updated", user=str(ann.pk))["status"] == "offline"
    assert next_of(stream, "presence.updated", user=str(tom.pk)) == {"user": str(tom.pk), "gone": True}
    ann.is_active = False
    ann.save()
    assert next_of(stream, "presence.updated", user=str(ann.pk)) == {"user": str(ann.pk), "gone": True}


def test_a_poll_is_a_sign_of_life_too(server: Server) -> None:
    tom = EndUserFactory()
    server.get("/api/v1/events/?wait=0", token=device_token(tom), Accept="application/json").read()
    assert SignOfLife.objects.filter(user=tom).exists()


def test_changes_in_a_transaction_are_told_after_it_and_as_one(server: Server) -> None:
    """Coalesced: the stream looks at the state as it is when it is woken."""
    mary, tom = EndUserFactory.create_batch(2, group=EndUserFactory().group)
    mary.monitored.set([tom])
    stream = server.stream(device_token(mary))
    next_of(stream, "presence.updated", user=str(tom.pk))
    with transaction.atomic():
        for status in ("away", "dnd", "available", "busy"):
            set_own_status(user=tom, status=status)
    assert next_of(stream, "presence.updated", user=str(tom.pk))["status"] == "busy"


def test_many_streams_are_read_in_as_many_queries_as_one() -> None:
    """Twenty viewers of ten users cost what one viewer of one costs."""
    group = EndUserFactory().group
    users = EndUserFactory.create_batch(10, group=group)
    viewers = EndUserFactory.create_batch(20, group=group)
    for viewer in viewers:
        viewer.monitored.set(users)
    source = LivePresence()
    source.listening({viewer.pk for viewer in viewers})
    with CaptureQueriesContext(connection) as for_one:
        first = source.news([(viewers[0], {})])[0]
    assert len(first.events) == 10
    wanted = [(viewer, {}) for viewer in viewers]
    with CaptureQueriesContext(connection) as for_all:
        found = source.news([(viewers[0], first.told), *wanted])
    assert len(for_all) == len(for_one)
    assert [len(news.events) for news in found] == [0, *[10] * 20]
    # What does not change is told to nobody again.
    again = source.news([(viewer, news.told) for (viewer, _), news in zip(wanted, found[1:], strict=True)])
    assert not any(news.events for news in again)


def test_what_looks_the_same_is_told_once_whoever_says_it() -> None:
    """Coalesced: another report that changes nothing of what is shown is no news, one that does is told once."""
    mary, tom = EndUserFactory.create_batch(2, group=EndUserFactory().group)
    mary.monitored.set([tom])
    source, phones = LivePresence(), TableOfUsers()
    [news] = source.news([(mary, {})])
    with registered(phones):
        phones.table[tom.pk] = [Report(Kind.TELEPHONY, "sip", Status.BUSY), Report(Kind.TELEPHONY, "b", Status.BUSY)]
        [busy] = source.news([(mary, news.told)])
        assert [data["status"] for _, data in busy.events] == ["busy"]
        phones.table[tom.pk].reverse()
        [same] = source.news([(mary, busy.told)])
        assert same.events == []


def test_who_monitors_nobody_asks_no_further_but_while_notes_are_new(django_assert_num_queries) -> None:
    mary, tom = EndUserFactory.create_batch(2, group=EndUserFactory().group)
    stranger, source = EndUserFactory(), LivePresence()
    source.listening({mary.pk, stranger.pk})
    with django_assert_num_queries(3):  # signs of life, whom they monitor, new notes
        assert source.listening({mary.pk, stranger.pk}) == set()
    write_note(actor=tom, user=tom, text="Gone fishing")
    assert source.listening({mary.pk, stranger.pk}) == {mary.pk}
    [news] = source.news([(mary, {})])
    assert [kind for kind, _ in news.events] == ["note.updated"]
    Note.objects.update(at=clock.now() - NEWS_FOR)
    [later] = source.news([(mary, news.told)])
    assert (later.events, later.told) == ([], {})
