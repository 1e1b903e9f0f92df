"""Tickets, *Whose ticket?* and dead letters over REST (S1.59, S1.60, J9)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from cpaas.carriers.base import InboundText, WebhookRequest
from cpaas.models import Message, Ticket, WebhookEvent
from cpaas.services import dead_letters
from cpaas.services.advice import Facts, advise
from cpaas.services.numbers import delete_messages
from cpaas.services.webhook_intake import take_in
from cpaas.states import MessageStatus
from cpaas.tests.factories import (
    AttemptFactory,
    ConversationFactory,
    CpaasNumberFactory,
    MediaStreamFactory,
    MessageFactory,
)
from portal.events import publish
from portal.events.reading import note_heard
from portal.models import AuditEntry, Device, EventStream, OutgoingMail
from portal.tests.factories import PortalAccountFactory
from portal.tests.test_api_conventions import problem

BASE = "/api/v1/provisioning/"
REMOTE = "+17036089795"
pytestmark = pytest.mark.django_db


@pytest.fixture
def number(tenant):
    return CpaasNumberFactory(user=tenant.user)


@pytest.fixture
def message(number):
    message = MessageFactory(
        conversation=ConversationFactory(number=number), status="sent", text="Very private", sid=""
    )
    AttemptFactory(message=message, sid="carrier-1")
    return message


def wanted(message: Message, **more: object) -> dict[str, object]:
    return {"message": str(message.pk), "to": "carrier", "subject": "Not delivered", "text": "Missing", **more}


def test_s1_60_a_ticket_has_the_story_attached_and_is_mailed(api, tenant, message):
    PortalAccountFactory(username="op", email="op@portal.example", send_alerts=True)
    answer = api(tenant.token).post(f"{BASE}tickets/", wanted(message))
    assert answer.status_code == 201, answer.content
    ticket = answer.json()
    assert (ticket["number"], ticket["message"], ticket["sid"]) == (
        str(message.number_id),
        str(message.pk),
        "carrier-1",
    )
    assert (ticket["to"], ticket["state"], ticket["notes"]) == ("carrier", "open", [])
    assert any("Accepted" in line for line in ticket["story"])
    mails = OutgoingMail.objects.order_by("id")
    assert {mail.to for mail in mails} == {"op@portal.example", tenant.administrator.email}
    assert "carrier-1" in mails[0].text
    assert "Very private" not in f"{ticket}{[mail.text for mail in mails]}"


def test_s1_60_a_ticket_is_noted_on_answered_and_closed(api, tenant, message):
    client = api(tenant.token)
    url = f"{BASE}tickets/{client.post(f'{BASE}tickets/', wanted(message)).json()['id']}/"
    noted = client.post(f"{url}notes/", {"text": "They look into it."})
    assert noted.status_code == 201
    [note] = noted.json()["notes"]
    assert (note["by"], note["text"]) == (tenant.administrator.username, "They look into it.")
    assert client.patch(url, {"state": "closed"}).json()["state"] == "closed"
    assert client.get(f"{BASE}tickets/", {"state": "open"}).json()["results"] == []
    problem(client.patch(url, {"subject": "Else"}), 400, "invalid")
    assert list(AuditEntry.objects.filter(object_type="ticket").order_by("id").values_list("action", flat=True)) == [
        "raise_ticket",
        "add_note",
        "update",
    ]


def test_a_ticket_can_be_about_a_number_alone_and_needs_one(api, tenant, number):
    client = api(tenant.token)
    body = {"number": str(number.pk), "to": "portal", "subject": "Nothing comes in", "text": "Since nine."}
    assert client.post(f"{BASE}tickets/", body).json()["message"] is None
    problem(client.post(f"{BASE}tickets/", {**body, "number": None}), 400, "invalid")
    del body["number"]
    problem(client.post(f"{BASE}tickets/", body), 400, "invalid")


def test_r18_a_ticket_outlives_the_message(api, tenant, message):
    client = api(tenant.token)
    url = f"{BASE}tickets/{client.post(f'{BASE}tickets/', wanted(message)).json()['id']}/"
    delete_messages(actor=tenant.administrator, number=message.number)
    assert client.get(url).json()["sid"] == "carrier-1"


def test_strangers_and_readers_raise_no_ticket(api, two_tenants, message):
    acme, zenith = two_tenants
    problem(api(zenith.token).post(f"{BASE}tickets/", wanted(message)), 404, "not_found")
    reader = api(acme.staff_tokens["group", "read_only"])
    problem(reader.post(f"{BASE}tickets/", wanted(message)), 403, "read_only")
    assert not Ticket.objects.exists()


def test_s1_59_advice_of_a_text_the_carrier_took(api, tenant, message):
    answer = api(tenant.token).get(f"{BASE}message-log/{message.pk}/advice/").json()
    assert answer["ticket"] == "carrier"
    assert "carrier-1" in answer["sentence"]


@pytest.mark.parametrize(
    ("facts", "ticket"),
    [
        (Facts("out", "delivered", "X"), "none"),
        (Facts("out", "sent", "X", sid="1"), "carrier"),
        (Facts("out", "unknown", "X"), "carrier"),
        (Facts("out", "undelivered", "X", sid="1", error_text="No such handset."), "carrier"),
        (Facts("out", "failed", "X", error_code="remote_opted_out"), "none"),
        (Facts("out", "failed", "X", error_code="expired"), "portal"),
        (Facts("out", "failed", "X", error_code="expired", platform_reachable=False), "carrier"),
        (Facts("out", "queued", "X", age_s=10), "none"),
        (Facts("out", "queued", "X", age_s=1000), "portal"),
        (Facts("out", "queued", "X", age_s=1000, platform_reachable=False), "carrier"),
        (Facts("in", "received", "X", fetched_by=("laptop",)), "none"),
        (Facts("in", "received", "X", was_online=True), "portal"),
        (Facts("in", "received", "X"), "none"),
        (Facts("in", "received", "X", waits_for_agent=True), "none"),
        (Facts("in", "received", "X", was_online=True, is_traced=False), "none"),
        (Facts("in", "held", "X"), "none"),
        (Facts("in", "unassigned", "X"), "none"),
    ],
)
def test_s1_59_whose_ticket(facts, ticket):
    assert advise(facts).ticket == ticket


@given(
    st.builds(
        Facts,
        direction=st.sampled_from(["in", "out"]),
        status=st.sampled_from([*MessageStatus.values, "unassigned"]),
        carrier=st.just("Carrier"),
        sid=st.text(max_size=5),
        error_code=st.sampled_from(["", "expired", "30003", "remote_opted_out"]),
        error_text=st.text(max_size=20),
    )
)
def test_s1_59_there_is_advice_for_everything(facts):
    advice = advise(facts)
    assert advice.ticket in ("carrier", "portal", "none")
    assert advice.sentence


def test_s1_59_an_inbound_text_that_no_client_was_told_of_is_ours(api, tenant, number):
    at = timezone.now() - timedelta(hours=1)
    conversation = ConversationFactory(number=number)
    message = MessageFactory(conversation=conversation, direction="in", created_at=at)
    publish(tenant.user.pk, "message.created", message.pk)
    url = f"{BASE}message-log/{message.pk}/"
    devices = Device.objects.filter(user=tenant.user)
    devices.update(last_used_at=at)
    assert api(tenant.token).get(f"{url}advice/").json()["ticket"] == "none"
    devices.update(last_used_at=timezone.now())
    assert api(tenant.token).get(f"{url}advice/").json()["ticket"] == "portal"
    note_heard({devices.get().pk: EventStream.objects.get(pk=tenant.user.pk).last_id})
    advice = api(tenant.token).get(f"{url}advice/").json()
    assert advice["ticket"] == "none"
    assert devices.get().name in advice["sentence"]
    assert "told" in [step["type"] for step in api(tenant.token).get(url).json()["events"]]


def test_s1_59_of_an_old_text_it_is_not_known_who_was_told(api, tenant, number):
    """The events that would tell are kept for a week; that the user is online proves nothing."""
    at = timezone.now() - timedelta(days=8)
    message = MessageFactory(conversation=ConversationFactory(number=number), direction="in", created_at=at)
    Device.objects.filter(user=tenant.user).update(last_used_at=timezone.now())
    advice = api(tenant.token).get(f"{BASE}message-log/{message.pk}/advice/").json()
    assert advice["ticket"] == "none"
    assert "not known" in advice["sentence"]


def test_s1_59_a_text_in_a_queue_waits_for_an_agent(api, tenant):
    stream = MediaStreamFactory(group=tenant.group)
    number = CpaasNumberFactory(user=None, media_stream=stream)
    message = MessageFactory(conversation=ConversationFactory(number=number), direction="in")
    assert message.user_id is None
    advice = api(tenant.token).get(f"{BASE}message-log/{message.pk}/advice/").json()
    assert advice["ticket"] == "none"
    assert "live queue" in advice["sentence"]


def lost(number, sid: str = "lost", to: str = "+12125550199") -> WebhookEvent:
    """A text to a number of nobody, in the words of the carrier."""
    body = f'{{"referenceId": "{sid}", "from": "17036089795", "to": ["{to[1:]}"], "text": "Anybody?"}}'.encode()
    text = InboundText(sid=sid, sender=REMOTE, recipients=(to,), text="Anybody?")
    take_in(
        platform_id=number.platform_id,
        nonce=sid,
        request=WebhookRequest({}, body, "application/json"),
        events=[text],
    )
    return WebhookEvent.objects.get(sid=sid)


def test_a_text_to_nobody_is_taken_in_once_the_number_is_there(api, tenant, number):
    call = lost(number)
    client = api(tenant.token)
    [row] = client.get(f"{BASE}dead-letters/").json()["results"]
    assert (row["id"], row["state"], row["recipient"]) == (str(call.pk), "unassigned", "+12125550199")
    url = f"{BASE}dead-letters/{call.pk}/replay/"
    problem(client.post(url), 409, "unassigned")
    added = CpaasNumberFactory(user=tenant.user, platform=number.platform, number="+12125550199")
    assert client.post(url).json()["state"] == "replayed"
    problem(client.post(url), 409, "already_replayed")
    message = Message.objects.get(number=added)
    assert (message.text, message.status, message.created_at) == ("Anybody?", "received", call.created_at)
    # The carrier's own repetition, under another nonce.
    text = InboundText(sid="lost", sender=REMOTE, recipients=("+12125550199",), text="Anybody?")
    take_in(platform_id=number.platform_id, nonce="n2", request=WebhookRequest({}, b"{}", ""), events=[text])
    assert Message.objects.count() == 1
    assert AuditEntry.objects.filter(action="replay").count() == 1
    delete_messages(actor=tenant.administrator, number=added)
    assert not WebhookEvent.objects.filter(pk=call.pk).exists()


def test_r37_a_text_to_nobody_that_waited_in_the_spool_stands_where_it_came(api, tenant, number):
    newer, earlier = lost(number, "newer"), timezone.now() - timedelta(hours=1)
    text = InboundText(sid="older", sender=REMOTE, recipients=("+12125550199",), text="Anybody?")
    request = WebhookRequest({}, b"{}", "")
    take_in(platform_id=number.platform_id, nonce="o", request=request, events=[text], received_at=earlier)
    older = WebhookEvent.objects.get(sid="older")
    for path in ("message-log/", "dead-letters/"):
        found = api(tenant.token).get(f"{BASE}{path}").json()["results"]
        assert [row["id"] for row in found] == [str(newer.pk), str(older.pk)]


def test_no_list_reads_the_bodies_of_calls(api, client, tenant, number):
    """Each may have a megabyte."""
    call = lost(number)
    client.force_login(tenant.administrator)
    with CaptureQueriesContext(connection) as asked:
        [row] = api(tenant.token).get(f"{BASE}dead-letters/").json()["results"]
        assert [row["id"] for row in api(tenant.token).get(f"{BASE}message-log/").json()["results"]] == [str(call.pk)]
        for path in ("/dead-letters/", "/message-log/"):
            assert str(call.pk) in client.get(path).content.decode()
    assert row["size"] == len(call.body)
    assert not [query["sql"] for query in asked if '"cpaas_webhookevent"."body",' in query["sql"]]


def test_a_call_that_cannot_be_read_is_kept_once_and_not_without_end(number, monkeypatch):
    monkeypatch.setattr(dead_letters, "MOST_UNREADABLE", 3)
    for body in (b"{1", b"{1", b"{2", b"{3", b"{4"):
        dead_letters.keep_unreadable(platform_id=number.platform_id, request=WebhookRequest({}, body, "text/plain"))
    kept = WebhookEvent.objects.filter(state="unreadable").order_by("id")
    assert [bytes(call.body) for call in kept] == [b"{1", b"{2", b"{3"]


def test_a_dead_letter_that_still_cannot_be_read_stays(api, tenant, number):
    dead_letters.keep_unreadable(platform_id=number.platform_id, request=WebhookRequest({}, b"nonsense", ""))
    call = WebhookEvent.objects.get()
    problem(api(tenant.token).post(f"{BASE}dead-letters/{call.pk}/replay/"), 409, "unreadable")
    call.refresh_from_db()
    assert call.state == "unreadable"


def test_dead_letters_are_a_system_providers(api, two_tenants, number):
    call = lost(number)
    acme, zenith = two_tenants
    assert api(acme.staff_tokens["reseller", "administrator"]).get(f"{BASE}dead-letters/").json()["results"] == []
    problem(api(zenith.token).post(f"{BASE}dead-letters/{call.pk}/replay/"), 404, "not_found")
    problem(
        api(acme.staff_tokens["system_provider", "read_only"]).post(f"{BASE}dead-letters/{call.pk}/replay/"),
        403,
        "read_only",
    )
