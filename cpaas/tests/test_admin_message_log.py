"""The message log, tickets and dead letters on the staff site (S1.55–S1.60)."""

from __future__ import annotations

import csv
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cpaas.carriers.base import WebhookRequest
from cpaas.models import Ticket, WebhookEvent
from cpaas.services import dead_letters, log_export
from cpaas.tests.factories import (
    AttemptFactory,
    ConversationFactory,
    CpaasNumberFactory,
    DeadLetterFactory,
    MessageFactory,
    TicketFactory,
)
from portal.models import AuditEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def number(tenant):
    return CpaasNumberFactory(user=tenant.user, number="+12019920789")


@pytest.fixture
def message(number):
    conversation = ConversationFactory(number=number, remote="+17036089795")
    message = MessageFactory(conversation=conversation, text="A" * 98, characters=98, status="sent", sid="")
    AttemptFactory(message=message, sid="SM123")
    return message


@pytest.fixture
def staff(client, tenant):
    client.force_login(tenant.administrator)
    return client


def test_s1_56_the_list_has_its_columns(staff, message):
    page = staff.get("/message-log/").content.decode()
    for word in ("Date", "From", "To", "Direction", "Status", "Body", "+12019920789", "+17036089795", "Sent"):
        assert word in page
    assert "A" * 60 + "…" in page
    assert "A" * 61 not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("from=0789", True),
        ("from=9795", False),
        ("to=9795", True),
        ("text=aaaa", True),
        ("text=b", False),
        ("status=sent", True),
        ("status=failed", False),
        ("direction=in", False),
        ("after=2020-01-01T00:00&before=2020-02-01T00:00", False),
        ("after=2020-01-01T00:00", True),
    ],
)
def test_s1_55_the_list_is_filtered(staff, message, query, found):
    assert (str(message.pk) in staff.get(f"/message-log/?{query}").content.decode()) == found


@pytest.mark.parametrize("query", ["from=12", "after=yesterday", "status=lost", "text=x&after=2020-01-01T00:00"])
def test_a_filter_that_makes_no_sense_is_explained(staff, message, query):
    response = staff.get(f"/message-log/?{query}")
    assert response.status_code == 200
    assert str(message.pk) not in response.content.decode()


def test_s1_55_the_log_of_a_sub_account(staff, tenant, message):
    other = MessageFactory(conversation__number__user=tenant.other_user)
    page = staff.get(f"/message-log/?scope=group:{tenant.other_group.pk}").content.decode()
    assert (str(other.pk) in page, str(message.pk) in page) == (True, False)
    for place in (f"groups/{tenant.group.pk}", f"resellers/{tenant.reseller.pk}", f"users/{tenant.user.pk}"):
        page = staff.get(f"/{place}/messages/").content.decode()
        assert (str(other.pk) in page, str(message.pk) in page) == (False, True), place


def test_s1_57_s1_58_a_text_with_sid_segments_and_story(staff, tenant, message):
    page = staff.get(f"/message-log/{message.pk}/").content.decode()
    for words in ('value="SM123"', "Body — 98 chars (1 segment)", "outbound-api", "Whose ticket?", "UTC"):
        assert words in page
    assert AuditEntry.objects.filter(action="open_message", object_id=message.number_id).count() == 1


def test_s1_57_resellers_do_not_read_where_the_provider_says_so(client, tenant, message):
    tenant.system_provider.staff_may_read_messages = False
    tenant.system_provider.save()
    client.force_login(tenant.accounts["reseller", "administrator"])
    for path in ("/message-log/", f"/message-log/{message.pk}/"):
        page = client.get(path).content.decode()
        assert "AAAA" not in page
        assert "Not shown" in page


def test_s1_60_a_ticket_is_raised_from_the_text_and_worked_on(staff, message):
    add = f"/tickets/message/{message.pk}/add/"
    assert "7036089795" in staff.get(add).content.decode()
    staff.post(add, {"to": "carrier", "subject": "Missing", "text": "Where is it?"})
    ticket = Ticket.objects.get()
    assert ticket.sid == "SM123"
    staff.post(f"/tickets/{ticket.pk}/note/", {"text": "Called them."})
    staff.post(f"/tickets/{ticket.pk}/close/")
    page = staff.get(f"/tickets/{ticket.pk}/").content.decode()
    assert "Called them." in page
    assert ticket.story
    assert "Accepted from the user" in page
    assert ticket.story[0].partition("  ")[0] not in page  # the viewer's zone instead
    assert "Closed" in page
    assert "Missing" in staff.get(f"/message-log/{message.pk}/").content.decode()


def test_s1_55_a_search_in_bodies_says_how_far_back_it_looked(staff, message):
    assert "were searched from" in staff.get("/message-log/?text=nothing").content.decode()
    assert "were searched from" not in staff.get("/message-log/?text=a&after=2026-10-20T00:00").content.decode()
    assert "were searched from" not in staff.get("/message-log/").content.decode()


def test_dead_letters_are_shown_and_replayed_by_a_button(staff, tenant, number):
    body = b'{"referenceId": "later", "from": "17036089795", "to": ["12019920789"], "text": "Hi"}'
    dead_letters.keep_unreadable(platform_id=number.platform_id, request=WebhookRequest({}, body, ""))
    call = WebhookEvent.objects.get()
    assert "Unreadable" in staff.get("/dead-letters/").content.decode()
    shown = staff.get(f"/dead-letters/{call.pk}/").content.decode()
    assert "referenceId" in shown
    assert "It is kept until" in shown
    page = staff.post(f"/dead-letters/{call.pk}/replay/", follow=True).content.decode()
    assert "was taken in" in page
    assert number.messages.get().text == "Hi"


def test_s1_57_the_log_is_exported_as_csv_and_that_is_written_down(staff, tenant, message):
    MessageFactory(conversation=message.conversation, direction="in", text="=1+1")
    MessageFactory(conversation=message.conversation, direction="in", text="hidden", status="suppressed")
    page = staff.get("/message-log/?to=9795").content.decode()
    assert "/message-log/export/?to=9795" in page
    response = staff.get("/message-log/export/")
    rows = list(csv.DictReader(io.StringIO(response.getvalue().decode())))
    assert [row["text"] for row in rows] == ["", "'=1+1", "A" * 98]
    assert rows[2]["sid"] == "SM123"
    entry = AuditEntry.objects.get(action="export_messages")
    assert entry.actor_id == tenant.administrator.pk
    assert "at least its last four digits" in staff.get("/message-log/export/?from=12").content.decode()


def test_a_senders_name_is_no_formula_in_the_export(staff, number):
    conversation = ConversationFactory(number=number, remote='=HYPERLINK("x")')
    MessageFactory(conversation=conversation, direction="in")
    MessageFactory(conversation=conversation, direction="out")
    rows = list(csv.DictReader(io.StringIO(staff.get("/message-log/export/").getvalue().decode())))
    assert [(row["from"], row["to"]) for row in rows] == [
        (number.number, '\'=HYPERLINK("x")'),
        ('\'=HYPERLINK("x")', number.number),
    ]


def test_an_export_is_bounded_and_hides_texts_like_the_log(client, tenant, message, monkeypatch):
    for n in range(4):
        MessageFactory(conversation=message.conversation, text=f"secret {n}")
    monkeypatch.setattr(log_export, "MOST_EXPORTED", 3)
    monkeypatch.setattr(log_export, "_AT_ONCE", 2)
    tenant.system_provider.staff_may_read_messages = False
    tenant.system_provider.save()
    client.force_login(tenant.accounts["group", "administrator"])
    body = client.get("/message-log/export/").getvalue().decode()
    assert body.count("\n") == 4
    assert "secret" not in body


def test_the_overview_names_open_tickets_and_dead_letters_to_those_who_may_see_them(two_tenants, message, client):
    acme, zenith = two_tenants
    number = message.number
    ours = DeadLetterFactory(platform=number.platform)
    TicketFactory(number=number, subject="Where is it?")
    TicketFactory(number=number, subject="An old one", state="closed")
    DeadLetterFactory(platform=number.platform, state="replayed")

    def overview(account):
        client.force_login(account)
        return client.get("/").content.decode()

    page = overview(acme.administrator)
    assert f'href="/dead-letters/{ours.pk}/">1 dead letter<' in page
    assert "Texts to numbers that are not set up" in page
    assert ">1 open ticket<" in page
    assert "Where is it?" in page
    unreadable = DeadLetterFactory(platform=number.platform, state="unreadable")
    TicketFactory(number=number)
    page = overview(acme.administrator)
    assert 'href="/dead-letters/?waiting=yes">2 dead letters<' in page
    assert "calls that cannot be read" in page
    assert 'href="/tickets/?state__exact=open">2 open tickets<' in page
    listed = client.get("/dead-letters/?waiting=yes").context["cl"].result_list
    assert set(listed) == {ours, unreadable}
    page = overview(acme.accounts["group", "read_only"])
    assert "2 open tickets" in page
    assert "dead letter" not in page
    page = overview(zenith.administrator)
    assert "All is well" in page


def test_the_overview_counts_no_further_than_it_shows(staff, number):
    for _ in range(101):
        DeadLetterFactory(platform=number.platform)
    with CaptureQueriesContext(connection) as asked:
        assert "99+ dead letters" in staff.get("/").content.decode()
    [query] = [query["sql"] for query in asked if 'FROM "cpaas_webhookevent"' in query["sql"]]
    assert "LIMIT 100" in query
    assert "COUNT" not in query
