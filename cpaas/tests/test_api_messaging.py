"""Numbers, conversations and messages of end users over REST (contracts section 4)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from cpaas.models import Attempt, Conversation, CpaasNumber, CpaasPlatform, Message, OptInEvidence
from cpaas.tests.factories import (
    AttemptFactory,
    ConversationFactory,
    CpaasNumberFactory,
    CpaasPlatformFactory,
    MessageFactory,
)
from portal.models import EndUser, IdempotencyKey, OutgoingMail
from portal.tests.tenants import Tenant
from portal.tests.test_api_conventions import problem

pytestmark = pytest.mark.core
BASE = "/api/v1/"
REMOTE = "+17326643222"


@pytest.fixture
def platform(tenant: Tenant) -> CpaasPlatform:
    return CpaasPlatformFactory(system_provider=tenant.system_provider)


@pytest.fixture
def number(tenant: Tenant, platform: CpaasPlatform) -> CpaasNumber:
    return CpaasNumberFactory(user=tenant.user, platform=platform, number="+12019920770", friendly_name="Chris Cell")


@pytest.fixture
def client(api, tenant: Tenant):
    return api(tenant.device_token)


def send(client, to: object = REMOTE, text: object = "Hello", **more):
    return client.post(f"{BASE}messages/", {"to": to, "text": text, **more})


class TestNumbersAndOptIn:
    @pytest.fixture
    def asked(self, number: CpaasNumber) -> CpaasNumber:
        CpaasNumber.objects.filter(pk=number.pk).update(opt_in_state="pending", opt_in_at=None)
        return number

    def test_enabled_numbers_only(self, client, tenant: Tenant, number: CpaasNumber, platform: CpaasPlatform):
        CpaasNumberFactory(user=tenant.user, platform=platform, status="provisioning")
        CpaasNumberFactory(user=tenant.colleague, platform=platform)
        listed = client.get(f"{BASE}numbers/").json()["results"]
        assert [row["display"] for row in listed] == ["Chris Cell (2019920770)"]
        session = client.get(f"{BASE}session/").json()
        assert session["numbers"] == listed
        assert (listed[0]["usable"], listed[0]["opt_in"]["prompt"]) == (True, None)

    def test_yes_makes_it_usable_at_once(self, client, asked: CpaasNumber):
        prompt = client.get(f"{BASE}session/").json()["numbers"][0]["opt_in"]["prompt"]
        assert [choice["answer"] for choice in prompt["choices"]] == ["yes", "no", "cancel"]
        path = f"{BASE}numbers/{asked.pk}/opt-in/"
        answer = client.post(path, {"answer": "yes", "prompt": prompt["id"]})
        assert answer.status_code == 200
        assert (answer.json()["usable"], answer.json()["opt_in"]["state"]) == (True, "accepted")
        again = client.post(path, {"answer": "yes"})
        assert (again.status_code, OptInEvidence.objects.count()) == (200, 1)
        problem(client.post(path, {"answer": "no"}), 409, "opt_in_closed")
        assert OptInEvidence.objects.get().prompt_text == prompt["text"]

    def test_no_mails_the_system_provider(self, client, asked: CpaasNumber):
        answer = client.post(f"{BASE}numbers/{asked.pk}/opt-in/", {"answer": "no"})
        assert (answer.json()["usable"], answer.json()["opt_in"]["state"]) == (False, "declined")
        assert OutgoingMail.objects.count() == 1
        problem(send(client), 409, "opt_in_declined")

    def test_another_text_by_now(self, client, asked: CpaasNumber, platform: CpaasPlatform):
        prompt = client.get(f"{BASE}session/").json()["numbers"][0]["opt_in"]["prompt"]
        CpaasPlatform.objects.filter(pk=platform.pk).update(opt_in_prompt="Something else?")
        body = {"answer": "yes", "prompt": prompt["id"]}
        problem(client.post(f"{BASE}numbers/{asked.pk}/opt-in/", body), 409, "prompt_changed")

    @pytest.mark.parametrize("body", [{"answer": "maybe"}, {}, {"answer": None}, {"answer": "yes", "when": "now"}])
    def test_what_is_no_answer(self, client, asked: CpaasNumber, body):
        problem(client.post(f"{BASE}numbers/{asked.pk}/opt-in/", body), 400, "invalid")

    def test_somebody_elses_number(self, api, tenant: Tenant, asked: CpaasNumber):
        path = f"{BASE}numbers/{asked.pk}/opt-in/"
        problem(api(tenant.device_tokens["colleague"]).post(path, {"answer": "yes"}), 404, "not_found")
        assert not OptInEvidence.objects.exists()


class TestSending:
    def test_a_text_is_queued(self, client, number: CpaasNumber):
        response = send(client, to="(732) 664-3222", text="Grüße")
        assert response.status_code == 202, response.json()
        message = response.json()
        assert (message["from"], message["to"], message["text"]) == (number.number, REMOTE, "Grüße")
        assert (message["direction"], message["status"], message["kind"]) == ("out", "queued", "sms")
        assert (message["encoding"], message["segments"], message["characters"]) == ("gsm7", 1, 5)
        assert client.get(f"{BASE}messages/{message['id']}/").json() == message
        conversation = client.get(f"{BASE}conversations/").json()["results"][0]
        assert conversation["last_message"] == message
        assert conversation["remote"]["national"] == "7326643222"

    @pytest.mark.parametrize("form", ["id", "number", "national"])
    def test_the_sender_by_id_or_number(self, client, tenant, number, platform, form):
        CpaasNumberFactory(user=tenant.user, platform=platform)
        sender = {"id": str(number.pk), "number": number.number, "national": "2019920770"}[form]
        assert send(client, **{"from": sender}).json()["from"] == number.number

    def test_with_several_numbers_one_must_be_named(self, client, tenant, number, platform):
        CpaasNumberFactory(user=tenant.user, platform=platform)
        problem(send(client), 400, "from_required")

    def test_somebody_elses_number_is_no_sender(self, client, tenant, number, platform):
        other = CpaasNumberFactory(user=tenant.colleague, platform=platform)
        for sender in (str(other.pk), other.number, "nonsense"):
            problem(send(client, **{"from": sender}), 404, "not_found")

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"text": ""}, "empty"),
            ({"text": "   "}, "empty"),
            ({"text": "x" * 1601}, "too_long"),
            ({"text": "bell\u0007"}, "invalid"),
            ({"text": 5}, "invalid"),
            ({"text": None}, "invalid"),
            ({"to": ["+17326643222", "+17326643223"]}, "several_recipients"),
            ({"to": "+17326643222,+17326643223"}, "several_recipients"),
            ({"to": "123"}, "invalid_number"),
            ({"to": 7326643222}, "invalid_number"),
            ({"to": {}}, "invalid_number"),
            ({"to": "911"}, "invalid_number"),
            ({"to": "+12019920770"}, "invalid_number"),
            ({"to": None}, "invalid"),
            ({"attachments": ["01890000-0000-7000-8000-000000000000"]}, "unknown_attachment"),
            ({"colour": "red"}, "invalid"),
        ],
    )
    def test_what_cannot_be_sent(self, client, number: CpaasNumber, body, code):
        problem(client.post(f"{BASE}messages/", {"to": REMOTE, "text": "Hello", **body}), 400, code)
        assert not Conversation.objects.exists()

    def test_1600_emoji_are_not_too_long(self, client, number: CpaasNumber):
        message = send(client, text="😀" * 1600).json()
        assert (message["characters"], message["encoding"]) == (1600, "ucs2")

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"opt_in_state": "pending"}, "opt_in_pending"),
            ({"opt_in_state": "declined"}, "opt_in_declined"),
            ({"status": "failed"}, "number_not_enabled"),
        ],
    )
    def test_a_number_that_may_not_send(self, client, number: CpaasNumber, change, code):
        CpaasNumber.objects.filter(pk=number.pk).update(**change)
        problem(send(client), 409, code)

    def test_a_user_without_licence(self, client, tenant: Tenant, number: CpaasNumber):
        EndUser.objects.filter(pk=tenant.user.pk).update(licence="none")
        problem(send(client), 409, "not_licensed")

    def test_only_known_mobiles_when_set_so(self, client, tenant: Tenant, number: CpaasNumber):
        client.patch(f"{BASE}settings/", {"allow_any_number": False})
        problem(send(client), 409, "not_a_known_mobile")
        EndUser.objects.filter(pk=tenant.colleague.pk).update(mobile=REMOTE)
        assert send(client).status_code == 202

    def test_the_same_key_sends_once_and_its_answer_goes_with_the_message(self, client, number: CpaasNumber):
        body, key = {"to": REMOTE, "text": "Hello"}, {"Idempotency-Key": "k"}
        first = client.post(f"{BASE}messages/", body, headers=key)
        second = client.post(f"{BASE}messages/", body, headers=key)
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json() == second.json()
        assert (Message.objects.count(), Attempt.objects.count()) == (1, 1)
        assert str(IdempotencyKey.objects.get().object_id) == first.json()["id"]


class TestPreview:
    def test_the_culprit_is_named(self, client, number: CpaasNumber):
        response = client.post(f"{BASE}messages/preview/", {"to": "7326643222", "text": "Hello … 😀"})
        assert (response.status_code, response.json()) == (
            200,
            {
                "to": REMOTE,
                "kind": "sms",
                "encoding": "ucs2",
                "segments": 1,
                "characters": 9,
                "culprit": "…",
                "attachments": [],
            },
        )
        assert not Message.objects.exists()


class TestResend:
    @pytest.mark.parametrize("status", ["failed", "undelivered", "unknown"])
    def test_the_same_message_a_new_attempt(self, client, number: CpaasNumber, status):
        message = MessageFactory(conversation=ConversationFactory(number=number), status=status)
        AttemptFactory(message=message)
        assert client.get(f"{BASE}messages/{message.pk}/").json()["resendable"] is True
        response = client.post(f"{BASE}messages/{message.pk}/resend/")
        assert response.status_code == 202
        assert (response.json()["id"], response.json()["status"]) == (str(message.pk), "queued")
        assert [attempt["n"] for attempt in response.json()["attempts"]] == [1, 2]

    @pytest.mark.parametrize("status", ["queued", "sending", "sent", "delivered"])
    def test_nothing_else(self, client, number: CpaasNumber, status):
        message = MessageFactory(conversation=ConversationFactory(number=number), status=status)
        problem(client.post(f"{BASE}messages/{message.pk}/resend/"), 409, "not_resendable")

    def test_nothing_inbound(self, client, number: CpaasNumber):
        message = MessageFactory(conversation=ConversationFactory(number=number), direction="in")
        problem(client.post(f"{BASE}messages/{message.pk}/resend/"), 409, "not_resendable")


class TestConversations:
    @pytest.fixture
    def talks(self, tenant: Tenant, number: CpaasNumber, platform: CpaasPlatform) -> list[Conversation]:
        """Three with a message each, the oldest first: read, new, new on another number."""
        other = CpaasNumberFactory(user=tenant.user, platform=platform)
        now = timezone.now()
        made = [
            ConversationFactory(number=number, remote="+17326640001"),
            ConversationFactory(number=number, remote="+447480542780"),
            ConversationFactory(number=other, remote="ACME"),
        ]
        for minutes, conversation in enumerate(made):
            direction = "in" if minutes else "out"
            at = now + timedelta(minutes=minutes)
            MessageFactory(conversation=conversation, direction=direction, created_at=at)
        return made

    def ids(self, client, **query: str) -> list[str]:
        response = client.get(f"{BASE}conversations/", query)
        assert response.status_code == 200, response.json()
        return [row["id"] for row in response.json()["results"]]

    def keys(self, *conversations: Conversation) -> list[str]:
        return [str(conversation.pk) for conversation in conversations]

    def test_the_last_message_first_and_empty_ones_not_at_all(self, client, number, talks):
        ConversationFactory(number=number)
        assert self.ids(client) == self.keys(talks[2], talks[1], talks[0])

    def test_pages_go_by_time_and_id(self, client, number, talks):
        same = timezone.now() - timedelta(days=1)
        for _ in range(5):
            MessageFactory(conversation=ConversationFactory(number=number), created_at=same)
        seen, cursor = [], None
        while True:
            query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
            page = client.get(f"{BASE}conversations/", query).json()
            seen += [row["id"] for row in page["results"]]
            if (cursor := page["next"]) is None:
                break
        assert len(seen) == len(set(seen)) == 8
        assert seen[:3] == self.keys(talks[2], talks[1], talks[0])

    def test_filters(self, client, tenant, number, talks):
        assert self.ids(client, new="1") == self.keys(talks[2], talks[1])
        assert self.ids(client, number=str(number.pk)) == self.keys(talks[1], talks[0])
        assert self.ids(client, q="664-0001") == self.keys(talks[0])
        assert self.ids(client, q="07480 542") == self.keys(talks[1])
        assert self.ids(client, q="acm") == self.keys(talks[2])
        assert self.ids(client, q="%") == []
        EndUser.objects.filter(pk=tenant.colleague.pk).update(mobile="+17326640001", name="Greta Garbo")
        assert self.ids(client, q="garbo") == self.keys(talks[0])
        problem(client.get(f"{BASE}conversations/", {"new": "yes"}), 400, "invalid")
        problem(client.get(f"{BASE}conversations/", {"number": "2019920770"}), 400, "invalid")

    def test_the_object(self, client, tenant, number, talks):
        EndUser.objects.filter(pk=tenant.colleague.pk).update(mobile="+17326640001")
        shown = client.get(f"{BASE}conversations/{talks[0].pk}/").json()
        assert shown["number"] == {"id": str(number.pk), "number": number.number, "display": number.display}
        assert (shown["remote"]["name"], shown["remote"]["source"]) == (tenant.colleague.name, "group")
        assert (shown["new_count"], shown["last_received_at"], shown["can_reply"]) == (0, None, True)
        assert client.get(f"{BASE}conversations/{talks[2].pk}/").json()["can_reply"] is False

    def test_messages_newest_first_without_what_is_held(self, client, number):
        conversation = ConversationFactory(number=number)
        made = [MessageFactory(conversation=conversation) for _ in range(3)]
        for status in ("held", "suppressed", "blocked"):
            hidden = MessageFactory(conversation=conversation, direction="in", status=status)
            problem(client.get(f"{BASE}messages/{hidden.pk}/"), 404, "not_found")
        page = client.get(f"{BASE}conversations/{conversation.pk}/messages/", {"limit": "2"}).json()
        assert [row["id"] for row in page["results"]] == [str(made[2].pk), str(made[1].pk)]
        rest = client.get(f"{BASE}conversations/{conversation.pk}/messages/", {"cursor": page["next"]}).json()
        assert [row["id"] for row in rest["results"]] == [str(made[0].pk)]

    def test_read_up_to_clears_that_and_older(self, client, number):
        conversation = ConversationFactory(number=number)
        made = [MessageFactory(conversation=conversation, direction="in") for _ in range(3)]
        path = f"{BASE}conversations/{conversation.pk}/read/"
        assert client.get(f"{BASE}session/").json()["new"]["messages"] == 3
        read = client.post(path, {"up_to": str(made[1].pk)})
        assert (read.status_code, read.json()["new_count"]) == (200, 1)
        assert client.post(path, {"up_to": str(made[0].pk)}).json()["new_count"] == 1
        assert client.post(path, {"up_to": str(made[2].pk)}).json()["new_count"] == 0
        assert client.get(f"{BASE}session/").json()["new"] == {"conversations": 0, "messages": 0, "missed_calls": 0}

    def test_read_up_to_a_message_of_another_conversation(self, client, talks):
        message = Message.objects.get(conversation=talks[1])
        path = f"{BASE}conversations/{talks[0].pk}/read/"
        problem(client.post(path, {"up_to": str(message.pk)}), 404, "not_found")
        problem(client.post(path, {"up_to": "x"}), 400, "invalid")

    def test_a_list_costs_the_same_number_of_queries(self, client, number, django_assert_max_num_queries):
        for _ in range(30):
            MessageFactory(conversation=ConversationFactory(number=number))
        with django_assert_max_num_queries(9):
            assert len(self.ids(client)) == 30


class TestIsolation:
    @pytest.mark.parametrize("who", ["colleague", "other_user"])
    def test_what_is_somebody_elses_is_not_there(self, api, tenant, number, who):
        message = MessageFactory(conversation=ConversationFactory(number=number), status="failed")
        conversation = message.conversation_id
        client = api(tenant.device_tokens[who])
        assert client.get(f"{BASE}conversations/").json()["results"] == []
        assert client.get(f"{BASE}numbers/").json()["results"] == []
        answers = [
            client.get(f"{BASE}messages/{message.pk}/"),
            client.post(f"{BASE}messages/{message.pk}/resend/"),
            client.get(f"{BASE}conversations/{conversation}/"),
            client.get(f"{BASE}conversations/{conversation}/messages/"),
            client.post(f"{BASE}conversations/{conversation}/read/", {"up_to": str(message.pk)}),
        ]
        for response in answers:
            problem(response, 404, "not_found")
        assert Message.objects.get().status == "failed"
