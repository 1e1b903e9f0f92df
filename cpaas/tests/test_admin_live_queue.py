"""The live page of a media stream on the staff site (S4.3)."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from cpaas.models import QueueEntry
from cpaas.services import queueing
from cpaas.services.routing import route_queues
from cpaas.tests.contact_centre import Office, leave, state_of
from portal.models import AuditEntry
from portal.tests.factories import PortalAccountFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def office(db: None) -> Office:
    return Office(agents=2, routing="ring_all")


def staff_of(office: Office, role: str = "administrator") -> Client:
    client = Client()
    client.force_login(PortalAccountFactory(scope=office.stream.group, role=role))
    return client


def now_of(client: Client, office: Office) -> str:
    return client.get(reverse("admin:cpaas_mediastream_queue_now", args=[office.stream.pk])).content.decode()


def test_s4_3_who_waits_who_handles_what_and_what_agents_do(office: Office) -> None:
    client = staff_of(office)
    assert "Nobody waits." in now_of(client, office)
    waiting, handled = office.text("+17326640601"), office.text("+17326640602")
    queueing.reserve_conversation(user=office.agents[0], conversation=handled)
    assert "Nobody yet" in now_of(client, office)
    leave(office.agents[1])
    route_queues()
    shown = now_of(client, office)
    assert shown.index("7326640601") < shown.index("Being handled") < shown.index("7326640602") < shown.index("Away")
    assert ("Being asked" in shown, "Nobody yet" in shown) == (True, False)
    assert state_of(waiting) == "offered"


def test_staff_return_a_conversation_to_the_queue(office: Office) -> None:
    conversation = office.text()
    queueing.reserve_conversation(user=office.agents[0], conversation=conversation)
    url = reverse("admin:cpaas_mediastream_release", args=[QueueEntry.objects.get().pk])
    client = staff_of(office)
    assert url in now_of(client, office)
    assert client.get(url).status_code == 405
    assert "waits in the queue again" in client.post(url, follow=True).content.decode()
    assert state_of(conversation) == "waiting"
    assert AuditEntry.objects.filter(action="release", actor_kind="staff", object_id=office.stream.pk).exists()
    route_queues()
    assert office.offered(conversation) == [office.agents[1]]
    assert "No agent has this conversation" in client.post(url, follow=True).content.decode()


def test_who_may_only_look_has_no_button_and_strangers_no_page(office: Office) -> None:
    conversation = office.text()
    queueing.reserve_conversation(user=office.agents[0], conversation=conversation)
    url = reverse("admin:cpaas_mediastream_release", args=[QueueEntry.objects.get().pk])
    looking, stranger = staff_of(office, "read_only"), staff_of(Office(agents=0))
    assert url not in now_of(looking, office)
    assert looking.post(url).status_code == 403
    assert stranger.post(url).status_code == 404
    assert stranger.get(reverse("admin:cpaas_mediastream_queue", args=[office.stream.pk])).status_code == 404
    assert state_of(conversation) == "reserved"
