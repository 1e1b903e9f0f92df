"""Two at the same moment in a contact centre: agents, routers, texts (S4.3). Only PostgreSQL lets them meet."""

from __future__ import annotations

import asyncio

import pytest
from django.db import DatabaseError, connection, transaction

from cpaas.models import Conversation, Message, QueueEntry, QueueOffer
from cpaas.router import QueueRouter
from cpaas.services import queueing, routing
from cpaas.services.deletion import delete_number_messages
from cpaas.services.media_streams import update_media_stream
from cpaas.services.routing import expire_offers, route_queues, route_stream
from cpaas.tests.contact_centre import Office, state_of
from cpaas.tests.interleaving import Beside, wait_for_waiters
from portal.models import Event
from portal.problems import Problem
from portal.residents.database import close_database_threads, in_database

pytestmark = pytest.mark.django_db(transaction=True)


def attempt(call, **arguments: object) -> str:
    """The code of the problem, "" when it went well."""
    try:
        call(**arguments)
    except Problem as problem:
        return problem.code
    return ""


def test_s4_3_of_agents_who_reserve_at_once_one_gets_it() -> None:
    office = Office(agents=4)
    conversation = office.text()
    with transaction.atomic():
        Conversation.objects.select_for_update().get(pk=conversation.pk)
        hands = [
            Beside(lambda agent=agent: attempt(queueing.reserve_conversation, user=agent, conversation=conversation))  # type: ignore[misc]
            for agent in office.agents
        ]
        wait_for_waiters(4)
    assert sorted(hand.result() for hand in hands) == ["", *["already_reserved"] * 3]
    entry = QueueEntry.objects.get()
    assert entry.state == "reserved"
    assert {entry.reserved_by_id} == set(Message.objects.values_list("user_id", flat=True))


@pytest.mark.parametrize("text_first", [True, False])
def test_a_text_that_comes_while_it_is_reserved_is_the_agents(text_first: bool) -> None:
    office = Office(agents=1)
    agent = office.agents[0]
    conversation = office.text()
    calls = [
        lambda: office.text(conversation.remote),
        lambda: queueing.reserve_conversation(user=agent, conversation=conversation),
    ]
    with transaction.atomic():
        Conversation.objects.select_for_update().get(pk=conversation.pk)
        both = []
        for n, call in enumerate(calls if text_first else reversed(calls), 1):
            both.append(Beside(call))
            wait_for_waiters(n)
    for each in both:
        each.result()
    assert set(Message.objects.values_list("user_id", flat=True)) == {agent.pk}
    assert Event.objects.filter(type="message.created").count() == (0 if text_first else 1)
    assert QueueEntry.objects.get().state == "reserved"


def test_a_text_that_comes_while_it_is_closed_starts_anew() -> None:
    office = Office(agents=1)
    conversation = office.text()
    queueing.reserve_conversation(user=office.agents[0], conversation=conversation)
    with transaction.atomic():
        queueing.close_conversation(user=office.agents[0], conversation=conversation)
        text = Beside(lambda: office.text(conversation.remote))
        wait_for_waiters(1)
    text.result()
    assert state_of(conversation) == "waiting"
    assert Message.objects.latest("position").user_id is None


def test_two_routers_make_each_offer_once_and_keep_the_turns() -> None:
    office = Office(agents=4, routing="round_robin")
    conversations = [office.text() for _ in range(4)]
    with transaction.atomic():
        type(office.stream).objects.select_for_update(no_key=True).get(pk=office.stream.pk)
        routers = [Beside(route_queues) for _ in range(3)]
        wait_for_waiters(3)
    assert sum(router.result() for router in routers) == 4
    offered = [office.offered(conversation) for conversation in conversations]
    assert sorted(len(agents) for agents in offered) == [1, 1, 1, 1]
    assert len({agent.pk for [agent] in offered}) == 4


def test_a_router_that_dies_before_its_commit_has_offered_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had written is gone with it, and the next one offers the same."""
    office = Office(agents=2, routing="round_robin")
    conversation = office.text()

    def die(*_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patch:
        patch.setattr(routing, "tell_agents", die)
        with pytest.raises(Exception, match="terminat"):
            Beside(lambda: route_stream(office.stream.pk)).result()
    assert (state_of(conversation), QueueOffer.objects.count()) == ("waiting", 0)
    assert route_queues() == 1
    assert len(office.offered(conversation)) == 1


def test_a_router_leaves_out_what_is_being_reserved() -> None:
    office = Office(agents=2)
    first, second = office.text(), office.text()
    with transaction.atomic():
        queueing.reserve_conversation(user=office.agents[0], conversation=first)
        assert Beside(route_queues).result() == 2
    assert (state_of(first), state_of(second)) == ("reserved", "offered")
    assert not office.offered(first)


def test_an_offer_that_runs_out_while_it_is_reserved_stays_reserved() -> None:
    office = Office(agents=1)
    conversation = office.text()
    route_queues()
    QueueOffer.objects.update(expires_at="2020-01-01T00:00:00Z")
    with transaction.atomic():
        queueing.reserve_conversation(user=office.agents[0], conversation=conversation)
        expiry = Beside(expire_offers)
        wait_for_waiters(1)
    assert expiry.result() == 0
    assert state_of(conversation) == "reserved"


def test_agents_are_taken_away_while_their_texts_come_in() -> None:
    """Both lock the conversation first, so that neither waits for the other for ever."""
    office = Office(agents=2)
    conversations = [office.text(), office.text()]
    for agent, conversation in zip(office.agents, conversations, strict=True):
        queueing.reserve_conversation(user=agent, conversation=conversation)
    with transaction.atomic():
        Conversation.objects.select_for_update().get(pk=max(conversation.pk for conversation in conversations))
        change = Beside(lambda: update_media_stream(actor=None, media_stream=office.stream, changes={}, agents=[]))
        wait_for_waiters(1)
        texts = [Beside(lambda c=c: office.text(c.remote)) for c in conversations]  # type: ignore[misc]
        wait_for_waiters(2)  # the second text is stored together with the first
    for each in [change, *texts]:
        each.result()
    assert {state_of(conversation) for conversation in conversations} == {"waiting"}
    assert set(Message.objects.values_list("user_id", flat=True)) == {None}


def test_messages_are_deleted_while_the_router_offers_them() -> None:
    office = Office(agents=1)
    office.text()
    with transaction.atomic():
        assert route_stream(office.stream.pk) == 1
        deletion = Beside(transaction.atomic(lambda: delete_number_messages(office.number)))
        wait_for_waiters(1)
    assert deletion.result() == 1
    assert not QueueOffer.objects.exists()
    assert not QueueEntry.objects.exists()


def test_s4_3_a_text_whose_process_died_before_it_entered_the_queue_waits_all_the_same() -> None:
    office = Office(agents=1)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE cpaas_queueentry IN EXCLUSIVE MODE")
        dying = Beside(office.text)
        wait_for_waiters(1)
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    with pytest.raises(DatabaseError):
        dying.result()
    conversation = Conversation.objects.get(new_count=1)
    assert state_of(conversation) == ""
    asyncio.run(route_until(lambda: state_of(conversation) == "offered"))
    close_database_threads()
    assert state_of(conversation) == "offered"
    assert QueueEntry.objects.get().waiting_since == conversation.last_received_at
    assert queueing.enqueue_overlooked() == 0


async def route_until(is_done) -> None:
    """Run a router for so long."""
    router = QueueRouter(holder="a test")
    running = asyncio.create_task(router.run())
    for _ in range(600):
        if await in_database(is_done):
            break
        await asyncio.sleep(0.1)
    await router.stop()
    await running
