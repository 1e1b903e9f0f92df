"""The message log over REST: filters, scopes, what a row tells (S1.55–S1.57, R8, R19, R40)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from cpaas.carriers.base import InboundText, WebhookRequest
from cpaas.models import Message, WebhookEvent
from cpaas.services.placing import place_messages
from cpaas.services.webhook_intake import take_in
from cpaas.tests.factories import (
    AttachmentFactory,
    AttemptFactory,
    ConversationFactory,
    CpaasNumberFactory,
    MediaStreamFactory,
    MessageFactory,
)
from portal.ids import new_id_at
from portal.models import AuditEntry
from portal.tests.factories import EndUserFactory
from portal.tests.test_api_conventions import problem

URL = "/api/v1/provisioning/message-log/"
pytestmark = pytest.mark.django_db
OWN, REMOTE = "+12019920789", "+17036089795"


@pytest.fixture
def number(tenant):
    return CpaasNumberFactory(user=tenant.user, number=OWN)


@pytest.fixture
def conversation(number):
    return ConversationFactory(number=number, remote=REMOTE)


@pytest.fixture
def log(api, tenant):
    def ask(level: str = "system_provider", **query: Any) -> list[dict[str, Any]]:
        answer = api(tenant.staff_tokens[level, "administrator"]).get(URL, query)
        assert answer.status_code == 200, answer.content
        return answer.json()["results"]

    return ask


def unassigned(number, *, to: str = "+12125550199", text: str = "Anybody there?", sid: str = "lost") -> None:
    """A text to a number of nobody, through the platform of `number`."""
    words = InboundText(sid=sid, sender=REMOTE, recipients=(to,), text=text)
    request = WebhookRequest({}, sid.encode(), "application/json")
    take_in(platform_id=number.platform_id, nonce=sid, request=request, events=[words])


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["text"] for row in rows]


def test_s1_57_a_row_tells_everything_of_an_outbound_text(log, conversation):
    message = MessageFactory(conversation=conversation, text="Hello", characters=5, sid="")
    AttemptFactory(message=message, n=1, sid="first", status="failed", error_code="30003")
    AttemptFactory(message=message, n=2, sid="second")
    [row] = log()
    assert (row["from"], row["to"], row["direction"], row["api_direction"]) == (OWN, REMOTE, "out", "outbound-api")
    assert (row["status"], row["sid"], row["sid_history"]) == ("delivered", "second", ["first", "second"])
    assert (row["segments"], row["characters"], row["encoding"], row["price_segments"]) == (1, 5, "gsm7", 2)
    assert [attempt["n"] for attempt in row["attempts"]] == [1, 2]
    assert row["events"][0]["type"] == "accepted"


def test_s1_57_the_story_says_for_whom_a_text_was_stored(log, tenant, conversation):
    MessageFactory(conversation=conversation, direction="in")
    stream = MediaStreamFactory(group=tenant.group)
    shared = CpaasNumberFactory(user=None, media_stream=stream, number="+12019920790")
    MessageFactory(conversation=ConversationFactory(number=shared), direction="in")
    assert {row["to"]: row["events"][0]["title"] for row in log()} == {
        OWN: "Stored for the user's clients",
        shared.number: "Stored for the agents of the media stream",
    }


@pytest.mark.parametrize("ending", ["9795", "6089795", "7036089795", "+1 (703) 608-9795", "17036089795"])
def test_s1_55_from_and_to_match_whole_or_from_the_end(log, conversation, ending):
    MessageFactory(conversation=conversation, direction="in", text="came")
    MessageFactory(conversation=conversation, text="went")
    MessageFactory(conversation__number=conversation.number, text="to another")
    assert texts(log(**{"from": ending})) == ["came"]
    assert texts(log(to=ending)) == ["went"]
    assert texts(log(**{"from": ending}, to=OWN)) == ["came"]
    assert log(**{"from": ending}, to=REMOTE) == []


def test_s1_55_own_numbers_match_from_the_end_too(log, conversation):
    MessageFactory(conversation=conversation, direction="in", text="came")
    MessageFactory(conversation=conversation, text="went")
    assert texts(log(to="0789")) == ["came"]
    assert texts(log(**{"from": "0789"})) == ["went"]


def test_s1_55_short_codes_and_names_match_whole(log, number):
    for remote in ("72975", "911", "PARCEL"):
        MessageFactory(conversation=ConversationFactory(number=number, remote=remote), direction="in", text=remote)
    assert [texts(log(**{"from": term})) for term in ("72975", "911", "PARCEL")] == [["72975"], ["911"], ["PARCEL"]]
    assert log(**{"from": "CEL"}) == []


def test_an_ending_of_less_than_four_digits_is_refused(api, tenant, number):
    body = problem(api(tenant.token).get(URL, {"from": "95"}), 400, "invalid")
    assert "from" in body["errors"]


def test_s1_55_by_time(log, conversation):
    now = timezone.now()
    for days in (0, 3, 9):
        at = now - timedelta(days=days)
        MessageFactory(id=new_id_at(at), created_at=at, conversation=conversation, text=str(days))
    assert texts(log()) == ["0", "3", "9"]
    assert texts(log(after=(now - timedelta(days=5)).isoformat())) == ["0", "3"]
    assert texts(log(before=(now - timedelta(days=1)).isoformat())) == ["3", "9"]


@pytest.mark.parametrize("span", [{"before": "0001-01-02T00:00:00Z"}, {"after": "9999-12-31T23:59:59Z"}])
@pytest.mark.parametrize("words", [{}, {"text": "Hello"}])
def test_r40_at_the_ends_of_time_there_is_nothing(log, conversation, span, words):
    MessageFactory(conversation=conversation, text="Hello")
    assert log(**span, **words) == []


def test_r40_part_of_the_text_in_any_case_within_a_week_unless_said(log, api, tenant, conversation):
    now = timezone.now()
    for days, text in ((1, "The HARBOUR at nine"), (10, "harbour again"), (2, "100% sure"), (2, "100 are sure")):
        at = now - timedelta(days=days)
        MessageFactory(id=new_id_at(at), created_at=at, conversation=conversation, text=text)
    assert texts(log(text="harbour")) == ["The HARBOUR at nine"]
    assert texts(log(text="harbour", after=(now - timedelta(days=20)).isoformat())) == [
        "The HARBOUR at nine",
        "harbour again",
    ]
    assert texts(log(text="100%")) == ["100% sure"]
    long_ago = (now - timedelta(days=120)).isoformat()
    problem(api(tenant.token).get(URL, {"text": "x", "after": long_ago}), 400, "invalid")


def test_r8_r19_held_suppressed_and_blocked_are_in_the_log(log, conversation):
    for status in ("received", "held", "suppressed", "blocked"):
        MessageFactory(conversation=conversation, direction="in", status=status, text=status)
    rows = {row["status"]: row["text"] for row in log()}
    assert rows == {"received": "received", "held": "held", "suppressed": None, "blocked": "blocked"}
    assert [row["status"] for row in log(status="blocked")] == ["blocked"]
    assert log(text="suppressed") == []


def test_by_direction_and_number(log, conversation, tenant):
    MessageFactory(conversation=conversation, text="out")
    MessageFactory(conversation=conversation, direction="in", text="in")
    other = MessageFactory(conversation__number__user=tenant.colleague, text="colleague")
    assert texts(log(direction="out", number=str(conversation.number_id))) == ["out"]
    assert texts(log(direction="in")) == ["in"]
    assert texts(log(user=str(tenant.colleague.pk))) == ["colleague"]
    assert texts(log(number=str(other.number_id))) == ["colleague"]


def test_each_level_sees_its_own_branch(log, tenant, conversation):
    MessageFactory(conversation=conversation, text="works")
    MessageFactory(conversation__number__user=tenant.other_user, text="office")
    assert texts(log()) == ["office", "works"]
    assert texts(log("reseller")) == ["works"]
    assert texts(log("group")) == ["works"]
    assert texts(log(group=str(tenant.other_group.pk))) == ["office"]
    assert texts(log(reseller=str(tenant.reseller.pk), direction="out")) == ["works"]
    assert log("group", group=str(tenant.other_group.pk)) == []
    assert log(reseller=str(tenant.reseller.pk), group=str(tenant.other_group.pk)) == []


def test_pages_go_both_ways(api, tenant, conversation):
    for n in range(5):
        MessageFactory(conversation=conversation, direction="in" if n % 2 else "out", text=str(n))
    client = api(tenant.token)
    first = client.get(URL, {"limit": 2}).json()
    second = client.get(URL, {"limit": 2, "cursor": first["next"]}).json()
    assert (texts(first["results"]), texts(second["results"])) == (["4", "3"], ["2", "1"])
    assert first["previous"] is None
    back = client.get(URL, {"limit": 2, "cursor": second["previous"]}).json()
    assert texts(back["results"]) == ["4", "3"]


def test_a_text_to_no_number_of_ours_is_in_the_log(log, number, conversation, api, tenant):
    MessageFactory(conversation=conversation, text="before")
    unassigned(number)
    rows = log()
    assert [(row["status"], row["from"], row["to"], row["text"]) for row in rows[:1]] == [
        ("unassigned", REMOTE, "+12125550199", "Anybody there?")
    ]
    assert len(rows) == 2
    assert [row["sid"] for row in log(status="unassigned", to="0199")] == ["lost"]
    assert log(status="unassigned", to="0101") == []
    assert log("reseller", status="unassigned") == []
    opened = api(tenant.token).get(f"{URL}{rows[0]['id']}/")
    assert opened.json()["status"] == "unassigned"


def test_s1_57_opening_and_reading_leave_a_trace(api, tenant, conversation):
    message = MessageFactory(conversation=conversation, text="Hello")
    client = api(tenant.token)
    assert client.get(f"{URL}{message.pk}/").json()["text"] == "Hello"
    client.get(URL, {"number": str(conversation.number_id)})
    found = AuditEntry.objects.filter(object_id=conversation.number_id, actor_id=tenant.administrator.pk)
    assert list(found.order_by("id").values_list("action", flat=True)) == ["open_message", "read_messages"]
    assert "Hello" not in str(list(found.values()))


def test_s1_57_a_provider_keeps_texts_from_resellers_and_groups(api, log, tenant, conversation):
    message = MessageFactory(conversation=conversation, text="Secret")
    tenant.system_provider.staff_may_read_messages = False
    tenant.system_provider.save()
    assert texts(log()) == ["Secret"]
    for level in ("reseller", "group"):
        client = api(tenant.staff_tokens[level, "administrator"])
        assert texts(client.get(URL).json()["results"]) == [None]
        assert client.get(f"{URL}{message.pk}/").json()["text"] is None
        problem(client.get(URL, {"text": "Secret"}), 409, "not_readable")


def test_files_stand_there_by_their_names_without_their_addresses(log, conversation, client, tenant):
    message = MessageFactory(conversation=conversation, kind="mms", file_count=2)
    file = AttachmentFactory(message=message)
    AttachmentFactory(message=message, state="failed", name="", position=1, error="The carrier answered 404.")
    [row] = log()
    assert [(each["name"], each["state"], each["as"]) for each in row["attachments"]] == [
        ("photo.jpg", "stored", "mms"),
        ("", "failed", "mms"),
    ]
    assert row["attachments"][1]["error"] == "The carrier answered 404."
    client.force_login(tenant.administrator)
    page = client.get(f"/message-log/{message.pk}/").content.decode()
    assert "photo.jpg as MMS" in page
    assert "A file never came" in page
    assert file.token not in page + str(row)


def test_a_strangers_text_is_404(api, two_tenants, conversation):
    message = MessageFactory(conversation=conversation)
    zenith = two_tenants[1]
    problem(api(zenith.token).get(f"{URL}{message.pk}/"), 404, "not_found")
    assert api(zenith.token).get(URL).json()["results"] == []


@pytest.mark.core
def test_every_way_to_store_a_text_knows_its_levels(number):
    words = InboundText(sid="in-1", sender=REMOTE, recipients=(OWN,), text="Hi")
    take_in(platform_id=number.platform_id, nonce="1", request=WebhookRequest({}, b"1", ""), events=[words])
    message = Message.objects.get()
    levels = (message.system_provider_id, message.reseller_id, message.group_id)
    assert levels == (number.system_provider_id, number.reseller_id, number.group_id)
    # As the previous release stores it, which still runs while this one is brought up.
    Message.objects.update(system_provider_id=None, reseller_id=None, group_id=None)
    assert place_messages(batch=1) == 1
    message.refresh_from_db()
    assert levels == (message.system_provider_id, message.reseller_id, message.group_id)


@pytest.mark.core
def test_the_log_finds_the_same_on_every_database(log, conversation, tenant, number):
    MessageFactory(conversation=conversation, direction="in", text="came")
    MessageFactory(conversation=conversation, text="went")
    MessageFactory(conversation__number__user=EndUserFactory(group=tenant.group), text="elsewhere")
    unassigned(number)
    assert texts(log(**{"from": "9795"})) == ["Anybody there?", "came"]
    assert texts(log(to="9795", text="WEN")) == ["went"]
    assert texts(log(status="delivered", group=str(tenant.group.pk))) == ["elsewhere", "went"]
    assert WebhookEvent.objects.get().state == "unassigned"


def test_r40_words_are_found_in_texts_that_rest_and_in_those_on_their_way(log, tenant, conversation):
    for n in range(3):
        MessageFactory(conversation=conversation, text=f"ordinary {n}")
    MessageFactory(conversation=conversation, text="a Zanzibar of words", status="queued")
    MessageFactory(conversation=conversation, text="zanzibar", direction="in")
    assert texts(log(text="ZANZI")) == ["zanzibar", "a Zanzibar of words"]
    assert texts(log(text="zanzi", direction="out")) == ["a Zanzibar of words"]
