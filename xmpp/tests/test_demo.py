"""What `loaddemo` adds of IM, presence and BroadWorks: something to see, and nothing that is not so."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from portal.models import EndUser, Group, PortalAccount
from portal.services.users import delete_user
from portal.tests.factories import device_token
from presence.models import Note, SignOfLife
from presence.services.reading import presences
from tests.sandbox_process import BroadworksControl, SandboxProcess
from xmpp.demo.broadworks import SERVICE_PROVIDER
from xmpp.demo.people import CHRIS, DANA, HELEN, MARCUS, PRIYA
from xmpp.demo.scripts import PAT
from xmpp.models import BroadworksConnection, ImConversation, ImMessage, ImpAccount, ImParticipant, SmsGateway
from xmpp.services.seeing import shown_messages
from xmpp.services.user_import import import_users
from xmpp.tests.switching import switch_service

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _own_folder(settings: Any, tmp_path: Path) -> None:
    settings.DEBUG, settings.VAR_DIR, settings.PORTAL_ALLOW_PRIVATE_URLS = True, tmp_path, True
    settings.MEDIA_ROOT = tmp_path / "media"


def load(sandbox_port: int = 21000) -> None:
    call_command("loaddemo", stdout=StringIO(), sandbox_port=sandbox_port)


def user(login: str) -> EndUser:
    return EndUser.objects.get(login=login)


def test_users_have_chats_over_every_platform_and_a_group(api):
    load()
    client = api(device_token(user(CHRIS)))
    rows = client.get("/api/v1/im/conversations/").json()["results"]
    names = [tuple(person["name"] for person in row["participants"]) for row in rows]
    assert names == [("Helen Brandt",), ("Helen Brandt", "Marcus Oyelaran"), ("Dana Whitfield",), (PAT,)]
    assert [row["group"] for row in rows] == [False, True, False, False]
    assert [row["new_count"] for row in rows] == [1, 0, 0, 0]
    carried = {tuple(row["last_message"]["platforms"]) for row in rows}
    assert carried == {("own",), ("own", "xmpp"), ("xmpp",)}


def test_the_messages_are_as_the_services_would_have_left_them():
    """Ids in the order of time, everything in the past and younger than the retention, counts that are right."""
    load()
    for conversation in ImConversation.objects.all():
        messages = list(ImMessage.objects.filter(conversation=conversation).order_by("pk"))
        times = [message.at for message in messages]
        assert times == sorted(times)
        assert (timezone.now() - times[0]).days < 90
        assert times[-1] <= timezone.now()
        for row in ImParticipant.objects.filter(conversation=conversation).exclude(user=None):
            seen = shown_messages(row.user).filter(conversation=conversation)
            assert seen.count() == len(messages)
            received = [message.at for message in messages if message.sender_id != row.user_id]
            assert (row.last_message_at, row.last_received_at) == (times[-1], max(received))
            unread = [message for message in messages if message.status == "sent" and not conversation.is_group]
            assert row.new_count == sum(message.sender_id != row.user_id for message in unread)
    assert not ImMessage.objects.filter(sender=None, sender_jid="").exists()


def test_nobody_is_online_and_nothing_pretends_to_work():
    """No client runs and there is no XMPP server: own statuses stand, everybody else is offline."""
    load()
    users = EndUser.objects.all()
    shown = {row.user_id: row.presence for row in presences([(None, row.pk) for row in users]).values()}
    statuses = {row.login: (shown[row.pk].status.value, shown[row.pk].message) for row in users}
    assert statuses.pop(DANA) == ("away", "At court until 4 pm")
    assert statuses.pop(MARCUS)[0] == "dnd"
    assert set(statuses.values()) == {("offline", "")}
    assert not SignOfLife.objects.exists()
    assert not ImpAccount.objects.exists()
    assert SmsGateway.objects.get().enabled is False
    assert BroadworksConnection.objects.get().status == ""


def test_colleagues_are_monitored_and_have_notes(api):
    load()
    client = api(device_token(user(CHRIS)))
    found = {row["user"]: row for row in client.get("/api/v1/presence/").json()["results"]}
    assert set(found) == {str(user(login).pk) for login in (DANA, MARCUS, PRIYA, HELEN)}
    assert found[str(user(DANA).pk)]["note"]["by"] == "Helen Brandt"


def test_repeating_adds_nothing_and_keeps_what_visitors_did():
    load()
    Note.objects.filter(user__login=DANA).update(text="")
    user(HELEN).monitored.set([user(CHRIS)])
    counts = [model.objects.count() for model in (ImConversation, ImMessage, ImParticipant, Note)]
    load(22000)
    assert [model.objects.count() for model in (ImConversation, ImMessage, ImParticipant, Note)] == counts
    assert Note.objects.get(user__login=DANA).text == ""
    assert user(HELEN).monitored.count() == 1
    assert BroadworksConnection.objects.get().port == 22008


def test_who_was_deleted_comes_back():
    load()
    delete_user(actor=None, user=user(PRIYA))
    load()
    assert user(PRIYA).name == "Priya Raman"


def test_the_sandbox_is_told_whom_broadworks_knows(sandbox_process: SandboxProcess, broadworks: BroadworksControl):
    """BroadWorks lets us in, has the demo's users, and one more whom *Import users* finds."""
    load(sandbox_process.port)
    call_command("tellsandbox", sandbox_port=sandbox_process.port)
    connection = BroadworksConnection.objects.get()
    assert (connection.status, connection.status_detail) == ("connected", "")
    staff = PortalAccount.objects.get(username="harbourline-admin")
    report = import_users(
        actor=staff,
        connection=connection,
        service_provider=SERVICE_PROVIDER,
        broadworks_group="kessler",
        group=Group.objects.get(name="Kessler & Boyd Legal"),
        dry_run=True,
    )
    assert report.counts == {"create": 1, "update": 0, "unchanged": 5, "conflict": 0}
    switch_service(user(CHRIS), {"assigned": True, "enabled": True})
    account = ImpAccount.objects.get(user=user(CHRIS))
    assert account.imp_id == "chris.doyle@im.sandbox.example"
    # It forgets everything when it starts again, and is told what holds by then.
    sandbox_process.reset()
    call_command("tellsandbox", sandbox_port=sandbox_process.port)
    assert broadworks.user(CHRIS)["imp"] == {"assigned": True, "active": True, "id": account.imp_id}


def test_without_a_demo_or_a_sandbox_nothing_is_told(broadworks: BroadworksControl, sandbox_process: SandboxProcess):
    call_command("tellsandbox", sandbox_port=sandbox_process.port)
    assert broadworks.call("GET", "users/")["results"] == []
    load(1)
    call_command("tellsandbox", sandbox_port=1)
    assert BroadworksConnection.objects.get().status == ""
