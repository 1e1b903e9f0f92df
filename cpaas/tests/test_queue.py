"""The contact centre: who waits, whom it is offered to, who has it, and who may say what about it (S4.3)."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from cpaas.models import Conversation, Message, QueueEntry, QueueOffer
from cpaas.services import queueing
from cpaas.services.agents import end_work, note_agents
from cpaas.services.claiming import begin_texts, reserve_texts
from cpaas.services.held import deliver_overlooked
from cpaas.services.media_streams import update_media_stream
from cpaas.services.numbers import delete_messages
from cpaas.services.retention import purge
from cpaas.services.routing import route_queues
from cpaas.services.sending import send_message
from cpaas.tests.contact_centre import Office, leave, state_of, time_out
from cpaas.tests.factories import CpaasNumberFactory, MessageFactory
from portal import clock
from portal.models import AuditEntry, Event
from portal.problems import Problem
from portal.services.users import delete_user, update_user
from portal.tests.factories import EndUserFactory, device_token

pytestmark = [pytest.mark.django_db, pytest.mark.core]
BASE = "/api/v1/"


@pytest.fixture
def office(db: None) -> Office:
    return Office()


def reserve(agent, conversation: Conversation) -> Conversation:
    return queueing.reserve_conversation(user=agent, conversation=conversation)


def refused(call, **arguments: object) -> Problem:
    with pytest.raises(Problem) as caught:
        call(**arguments)
    return caught.value


class TestEnteringTheQueue:
    def test_s4_3_a_text_waits_from_the_moment_it_is_stored(self, office: Office):
        conversation = office.text()
        entry = QueueEntry.objects.get()
        assert (entry.conversation_id, entry.media_stream_id, entry.state) == (
            conversation.pk,
            office.stream.pk,
            "waiting",
        )
        assert entry.waiting_since == conversation.last_received_at
        assert not Event.objects.exists()

    def test_a_second_text_changes_nothing(self, office: Office):
        conversation = office.text()
        before = QueueEntry.objects.get()
        office.text(conversation.remote)
        assert QueueEntry.objects.get().waiting_since == before.waiting_since
        assert office.text(conversation.remote).new_count == 3

    def test_a_users_number_has_no_queue(self, office: Office):
        office.number = CpaasNumberFactory()
        assert state_of(office.text()) == ""

    def test_r8_a_held_text_waits_when_the_number_is_enabled(self, office: Office):
        type(office.number).objects.filter(pk=office.number.pk).update(status="provisioning")
        conversation = office.text()
        assert state_of(conversation) == ""
        type(office.number).objects.filter(pk=office.number.pk).update(status="enabled")
        deliver_overlooked()
        assert state_of(conversation) == "waiting"


class TestReserving:
    def test_s4_3_one_agent_has_it_alone_and_is_told_what_comes(self, office: Office):
        first, second = office.agents
        conversation = office.text()
        assert reserve(first, conversation).user_id == first.pk
        assert reserve(first, conversation).user_id == first.pk
        problem = refused(queueing.reserve_conversation, user=second, conversation=conversation)
        assert (problem.code, problem.status, problem.extra) == ("already_reserved", 409, {"by": str(first.pk)})
        assert first.name in problem.detail
        Event.objects.all().delete()
        office.text(conversation.remote)
        assert list(Event.objects.order_by("number").values_list("user_id", "type")) == [
            (first.pk, "message.created"),
            (first.pk, "conversation.updated"),
        ]
        assert set(Message.objects.values_list("user_id", flat=True)) == {first.pk}
        assert state_of(conversation) == "reserved"

    def test_only_who_has_it_may_send_read_release_or_close(self, office: Office):
        first, second = office.agents
        conversation = office.text()
        arguments = {"user": second, "number": office.number, "to": conversation.remote, "text": "Hi"}
        assert refused(send_message, **arguments).code == "not_reserved"
        reserve(first, conversation)
        assert refused(send_message, **arguments).code == "not_reserved"
        for action in (queueing.release_conversation, queueing.close_conversation):
            assert refused(action, user=second, conversation=conversation).code == "not_reserved"
        message = send_message(**{**arguments, "user": first})
        assert (message.user_id, message.conversation_id) == (first.pk, conversation.pk)
        assert refused(send_message, **{**arguments, "user": first, "to": "+17326640999"}).code == "not_reserved"

    def test_release_lets_it_wait_again(self, office: Office):
        first, second = office.agents
        conversation = office.text()
        reserve(first, conversation)
        queueing.release_conversation(user=first, conversation=conversation)
        assert state_of(conversation) == "waiting"
        assert set(Message.objects.values_list("user_id", flat=True)) == {None}
        route_queues()
        assert office.offered(conversation) == [second]
        reserve(second, conversation)
        assert state_of(conversation) == "reserved"

    def test_close_ends_it_and_the_next_text_starts_anew(self, office: Office):
        agent = office.agents[0]
        conversation = office.text()
        reserve(agent, conversation)
        queueing.close_conversation(user=agent, conversation=conversation)
        conversation.refresh_from_db()
        assert (state_of(conversation), conversation.user_id, conversation.new_count) == ("", None, 0)
        office.text(conversation.remote)
        assert state_of(conversation) == "waiting"

    def test_each_step_is_on_the_streams_trail_without_the_text(self, office: Office):
        conversation = office.text(text="secret words")
        reserve(office.agents[0], conversation)
        queueing.close_conversation(user=office.agents[0], conversation=conversation)
        trail = AuditEntry.objects.filter(object_id=office.stream.pk).order_by("id")
        assert list(trail.values_list("action", "group_id")) == [
            ("reserve", office.stream.group_id),
            ("close", office.stream.group_id),
        ]
        assert "secret" not in str(list(trail.values()))

    def test_s4_39_deleted_messages_leave_the_queue(self, office: Office):
        office.text()
        route_queues()
        delete_messages(actor=None, number=office.number)
        assert not QueueEntry.objects.exists()
        assert not QueueOffer.objects.exists()

    def test_s1_21_a_purged_conversation_leaves_the_queue(self, office: Office):
        office.text()
        purge(as_of=clock.now() + timedelta(days=91))
        assert not QueueEntry.objects.exists()


class TestLosingAnAgent:
    def test_who_is_no_agent_any_more_keeps_nothing(self, office: Office):
        first, second = office.agents
        conversation = office.text()
        reserve(first, conversation)
        update_media_stream(actor=None, media_stream=office.stream, changes={}, agents=[second])
        conversation.refresh_from_db()
        assert (state_of(conversation), conversation.user_id) == ("waiting", None)
        assert not Conversation.objects.visible_to(first).exists()

    @pytest.mark.parametrize("change", [{"is_active": False}, {"licence": "none"}])
    def test_nor_who_is_deactivated_or_loses_the_licence(self, office: Office, change):
        conversation = office.text()
        reserve(office.agents[0], conversation)
        update_user(actor=None, user=office.agents[0], changes=change)
        assert state_of(conversation) == "waiting"
        route_queues()
        assert office.offered(conversation) == [office.agents[1]]

    def test_nor_who_is_deleted(self, office: Office):
        """News to nobody would keep out the texts of the conversation, and keep all queues from being swept."""
        agent = office.agents[0]
        conversation = office.text()
        reserve(agent, conversation)
        delete_user(actor=None, user=agent)
        office.text(conversation.remote)
        conversation.refresh_from_db()
        assert (state_of(conversation), conversation.user_id, conversation.new_count) == ("waiting", None, 2)

    def test_who_reserves_while_being_deleted_keeps_no_queue_from_being_swept(self, office: Office):
        first, second = office.agents
        conversations = [office.text(), office.text()]
        for agent, conversation in zip(office.agents, conversations, strict=True):
            reserve(agent, conversation)
        first.delete()  # as if the reservation came right after delete_user had looked for some
        leave(second, for_s=310)
        assert queueing.release_abandoned() == 2
        assert [state_of(conversation) for conversation in conversations] == ["waiting", "waiting"]

    @pytest.mark.parametrize("change", [{"is_active": False}, {"licence": "none"}])
    def test_r33_nor_goes_what_they_have_written_and_was_not_sent_yet(self, office: Office, change):
        agent = office.agents[0]
        conversation = office.text()
        reserve(agent, conversation)
        sent, waits = [
            send_message(user=agent, number=office.number, to=conversation.remote, text=text) for text in ("a", "b")
        ]
        [begun] = begin_texts(reserve_texts(10, uuid.uuid4()))
        update_user(actor=None, user=agent, changes=change)
        for message in (sent, waits):
            message.refresh_from_db()
        assert begun.message_id == sent.pk
        assert (sent.status, waits.status, waits.error_code) == ("sending", "failed", "not_licensed")

    def test_r33_but_the_answer_to_a_stop_does(self, office: Office):
        agent = office.agents[0]
        office.number.platform.options = {"stop_reply": "Bye."}
        office.number.platform.save()
        conversation = office.text()
        reserve(agent, conversation)
        office.text(conversation.remote, "STOP")
        update_user(actor=None, user=agent, changes={"is_active": False})
        assert Message.objects.get(direction="out").status == "queued"

    def test_nor_who_is_away_for_long(self, office: Office):
        first = office.agents[0]
        conversations = [office.text(), office.text()]
        for agent, conversation in zip(office.agents, conversations, strict=True):
            reserve(agent, conversation)
        leave(first, for_s=290)
        assert queueing.release_abandoned() == 0
        leave(first, for_s=310)
        assert queueing.release_abandoned() == 1
        assert [state_of(conversation) for conversation in conversations] == ["waiting", "reserved"]
        assert list(AuditEntry.objects.filter(action="release").values_list("actor_kind", flat=True)) == ["system"]


class TestRouting:
    def test_ring_all_asks_everybody_and_whoever_comes_later(self):
        office = Office(routing="ring_all")
        conversation = office.text()
        assert route_queues() == 2
        assert office.offered(conversation) == office.agents
        office.agents.append(office.hire())
        assert route_queues() == 1
        assert office.offered(conversation) == office.agents
        assert state_of(conversation) == "offered"

    def test_who_is_away_is_not_asked(self):
        office = Office(routing="ring_all")
        leave(office.agents[0])
        conversation = office.text()
        route_queues()
        assert office.offered(conversation) == [office.agents[1]]

    def test_round_robin_is_fair_and_moves_on_in_time(self):
        office = Office(routing="round_robin", agents=3)
        conversation = office.text()
        asked = []
        for _ in range(6):
            route_queues()
            [agent] = office.offered(conversation)
            asked.append(agent)
            time_out()
        # Everybody once, then everybody again in the same order.
        assert set(asked[:3]) == set(office.agents)
        assert asked[3:] == asked[:3]

    def test_round_robin_gives_each_new_conversation_to_the_next(self):
        office = Office(routing="round_robin", agents=3)
        taken = []
        for _ in range(6):
            conversation = office.text()
            route_queues()
            [agent] = office.offered(conversation)
            reserve(agent, conversation)
            taken.append(agent)
        assert taken[3:] == taken[:3]
        assert len(set(taken)) == 3

    def test_one_who_rings_is_not_asked_about_another(self):
        office = Office(routing="round_robin", agents=2)
        conversations = [office.text() for _ in range(3)]
        assert route_queues() == 2
        assert [len(office.offered(conversation)) for conversation in conversations] == [1, 1, 0]
        assert state_of(conversations[2]) == "waiting"

    def test_longest_idle_asks_who_finished_longest_ago_and_the_busy_last(self):
        office = Office(routing="longest_idle", agents=3)
        first, second, third = office.agents
        for agent in (second, first):
            end_work([agent.pk])
        busy = office.text()
        reserve(third, busy)
        order = []
        conversation = office.text()
        for _ in range(3):
            route_queues()
            [agent] = office.offered(conversation)
            order.append(agent)
            queueing.decline_conversation(user=agent, conversation=conversation)
        assert order == [second, first, third]

    def test_a_declined_offer_goes_on_at_once(self):
        office = Office(routing="round_robin", agents=2)
        conversation = office.text()
        route_queues()
        [agent] = office.offered(conversation)
        queueing.decline_conversation(user=agent, conversation=conversation)
        assert state_of(conversation) == "waiting"
        assert refused(queueing.decline_conversation, user=agent, conversation=conversation).code == "not_offered"
        route_queues()
        assert agent not in office.offered(conversation)

    def test_with_nobody_there_it_waits_until_somebody_comes(self):
        office = Office(routing="longest_idle", agents=1)
        leave(office.agents[0])
        conversation = office.text()
        assert route_queues() == 0
        note_agents([office.agents[0].pk])
        assert route_queues() == 1
        assert office.offered(conversation) == office.agents


class TestTheApi:
    @pytest.fixture
    def clients(self, api, office: Office):
        return [api(device_token(agent)) for agent in office.agents]

    def test_the_queue(self, clients, office: Office):
        first, second = [office.text(), office.text()]
        route_queues()
        rows = clients[0].get(f"{BASE}queue/").json()["results"]
        assert [row["conversation"] for row in rows] == [str(first.pk), str(second.pk)]
        row = rows[0]
        assert row["media_stream"] == {"id": str(office.stream.pk), "name": office.stream.name}
        assert row["remote"]["number"] == first.remote
        assert (row["state"], row["reserved_by"]) == ("offered", None)
        assert row["offered_to"] == sorted(str(agent.pk) for agent in office.agents)
        only = clients[0].get(f"{BASE}queue/?state=waiting&media_stream={office.stream.pk}").json()
        assert only["results"] == []

    def test_reserve_release_close(self, clients, office: Office):
        conversation = office.text()
        url = f"{BASE}conversations/{conversation.pk}"
        me = str(office.agents[0].pk)
        assert clients[0].get(f"{BASE}conversations/").json()["results"] == []
        assert clients[0].post(f"{url}/reserve/").json()["reserved_by"] == me
        assert [row["id"] for row in clients[0].get(f"{BASE}conversations/").json()["results"]] == [
            str(conversation.pk)
        ]
        answer = clients[1].post(f"{url}/reserve/")
        assert (answer.status_code, answer.json()["code"], answer.json()["by"]) == (409, "already_reserved", me)
        sent = {"from": office.number.number, "to": conversation.remote, "text": "Hello"}
        assert clients[1].post(f"{BASE}messages/", sent).json()["code"] == "not_reserved"
        assert clients[0].post(f"{BASE}messages/", sent).status_code == 202
        assert len(clients[1].get(f"{url}/messages/").json()["results"]) == 2
        assert clients[1].get(f"{BASE}queue/").json()["results"][0]["reserved_by"] == me
        assert clients[0].post(f"{url}/release/").json()["reserved_by"] is None
        assert clients[0].post(f"{url}/close/").json()["code"] == "not_reserved"
        assert clients[1].post(f"{url}/reserve/").status_code == 200
        assert clients[1].post(f"{url}/close/").status_code == 200
        assert clients[1].get(f"{BASE}queue/").json()["results"] == []
        of_number = clients[1].get(f"{BASE}conversations/?number={office.number.pk}").json()["results"]
        assert [row["id"] for row in of_number] == [str(conversation.pk)]

    def test_what_waits_is_not_read_by_who_only_looks(self, clients, office: Office):
        conversation = office.text()
        body = {"up_to": str(Message.objects.get().pk)}
        answer = clients[0].post(f"{BASE}conversations/{conversation.pk}/read/", body)
        assert answer.json()["code"] == "not_reserved"

    def test_the_session_says_who_is_an_agent_and_lists_own_numbers_only(self, api, clients, office: Office):
        session = clients[0].get(f"{BASE}session/").json()
        assert session["features"]["contact_centre"] is True
        assert session["numbers"] == clients[0].get(f"{BASE}numbers/").json()["results"] == []
        colleague = EndUserFactory(group=office.stream.group)
        assert api(device_token(colleague)).get(f"{BASE}session/").json()["features"]["contact_centre"] is False

    @pytest.mark.parametrize("kind", ["colleague", "agent of another stream", "agent of another tenant"])
    def test_who_is_no_agent_of_the_stream_sees_nothing(self, api, office: Office, kind: str):
        conversation = office.text()
        stranger = {
            "colleague": lambda: EndUserFactory(group=office.stream.group),
            "agent of another stream": lambda: Office(agents=1, group=office.stream.group).agents[0],
            "agent of another tenant": lambda: Office(agents=1).agents[0],
        }[kind]()
        client = api(device_token(stranger))
        for action in ("reserve", "release", "close", "decline"):
            assert client.post(f"{BASE}conversations/{conversation.pk}/{action}/").status_code == 404
        for page in ("", "messages/"):
            assert client.get(f"{BASE}conversations/{conversation.pk}/{page}").status_code == 404
        assert client.get(f"{BASE}messages/{Message.objects.get().pk}/").status_code == 404
        answer = client.get(f"{BASE}queue/")
        assert answer.status_code == 404 or answer.json()["results"] == []
        sent = {"from": str(office.number.pk), "to": conversation.remote, "text": "Hello"}
        assert client.post(f"{BASE}messages/", sent).status_code == 404

    def test_s4_16_an_agent_blocks_for_the_whole_stream(self, clients, office: Office):
        type(office.number).objects.filter(pk=office.number.pk).update(can_block="on")
        body = {"number": str(office.number.pk), "remote": "+17326640500"}
        row = clients[0].post(f"{BASE}blocked/", body).json()
        assert state_of(office.text("+17326640500")) == ""
        listed = f"{BASE}blocked/?number={office.number.pk}"
        assert [each["id"] for each in clients[1].get(listed).json()["results"]] == [row["id"]]
        assert clients[1].get(f"{BASE}blocked/").json()["results"] == []
        assert clients[1].delete(f"{BASE}blocked/{row['id']}/").status_code == 204
        assert state_of(office.text("+17326640500")) == "waiting"

    def test_r20_a_stop_waits_like_any_text_and_is_obeyed(self, clients, office: Office):
        conversation = office.text(text="STOP")
        assert state_of(conversation) == "waiting"
        clients[0].post(f"{BASE}conversations/{conversation.pk}/reserve/")
        sent = {"from": office.number.number, "to": conversation.remote, "text": "Hello"}
        assert clients[0].post(f"{BASE}messages/", sent).json()["code"] == "remote_opted_out"

    def test_an_own_conversation_is_in_no_queue(self, api, office: Office):
        number = CpaasNumberFactory()
        message = MessageFactory(conversation__number=number)
        answer = api(device_token(number.user)).post(f"{BASE}conversations/{message.conversation_id}/reserve/")
        assert answer.status_code == 404

    def test_an_agent_without_licence_reserves_nothing(self, office: Office):
        office.agents[0].licence = "none"
        office.agents[0].save()
        assert (
            refused(queueing.reserve_conversation, user=office.agents[0], conversation=office.text()).code
            == "not_licensed"
        )
