"""`loaddemo` (contracts section 1): what it makes, that repeating it is harmless, and who may not run it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.test import Client

from cpaas import transport
from cpaas.carriers.registry import get_carrier
from cpaas.demo.cast import PASSWORD
from cpaas.models import (
    Attachment,
    Attempt,
    Conversation,
    CpaasNumber,
    CpaasPlatform,
    Message,
    NumberAssignment,
    OptInEvidence,
    QueueEntry,
    Ticket,
    WebhookEvent,
)
from cpaas.services.hooks import set_missing_hooks
from cpaas.services.sending import send_message
from cpaas.tests.running import DispatcherThread
from portal.models import AuditEntry, EndUser, OutgoingMail, PortalAccount, StaffToken, SystemProvider
from portal.services import accounts, users
from portal.services.tokens import log_in_device, log_in_staff, staff_of_token
from tests.sandbox_process import SandboxProcess, wait_for
from tests.simulated_carriers import EVERY_SECRET

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_folder(settings: Any, tmp_path: Path) -> None:
    settings.DEBUG, settings.VAR_DIR, settings.PORTAL_ALLOW_PRIVATE_URLS = True, tmp_path, True
    settings.MEDIA_ROOT = tmp_path / "media"


def load(**options: Any) -> dict[str, Any]:
    call_command("loaddemo", stdout=StringIO(), **options)
    return logins()


def logins() -> dict[str, Any]:
    from django.conf import settings

    found: dict[str, Any] = json.loads((settings.VAR_DIR / "demo.json").read_text())
    return found


def counted() -> dict[str, int]:
    models = [SystemProvider, PortalAccount, EndUser, CpaasPlatform, CpaasNumber, OptInEvidence, Conversation]
    more = [Message, Attempt, StaffToken, OutgoingMail, NumberAssignment, Ticket, WebhookEvent]
    return {model.__name__: model.objects.count() for model in [*models, *more]}


def test_it_refuses_outside_debug_unless_forced(settings: Any) -> None:
    settings.DEBUG = False
    with pytest.raises(CommandError, match="--force"):
        call_command("loaddemo")
    assert not PortalAccount.objects.exists()
    assert load(force=True)["staff"]


def test_a_picture_came_in_and_can_be_seen(tmp_path: Path) -> None:
    load()
    [file] = Attachment.objects.all()
    answer = Client().get(f"/files/{file.token}/{file.url_name}")
    assert (answer.headers["Content-Type"], len(b"".join(answer.streaming_content))) == ("image/jpeg", file.size)
    assert Client().get(f"/files/{file.thumbnail_token}/thumbnail.jpg").status_code == 200
    assert len([path for path in tmp_path.rglob("media/*/*/*") if path.is_file()]) == 2


def test_the_logins_are_true_and_complete(tmp_path: Path) -> None:
    found = load(sandbox_port=21000)
    assert (tmp_path / "demo.json").stat().st_mode & 0o777 == 0o600
    assert found["sandbox"] == "http://127.0.0.1:21000"
    tenants: dict[Any, set[Any]] = {}
    for row in found["staff"]:
        assert (
            log_in_staff(username=row["username"], password=row["password"], name="x").row.account.level == row["level"]
        )
        account, _ = staff_of_token(row["token"])
        assert account.username == row["username"]
        tenants.setdefault(account.system_provider_id, set()).add((account.level, account.role))
    levels = {
        (level, role) for level in ("system_provider", "reseller", "group") for role in ("administrator", "read_only")
    }
    assert tenants.pop(None) == {("operator", "administrator"), ("operator", "read_only")}
    assert [*tenants.values()] == [levels, levels]
    for row in found["users"]:
        _, user = log_in_device(login=row["login"], password=row["password"], device="test")
        assert sorted(row["numbers"]) == sorted(user.cpaas_numbers.values_list("number", flat=True))
    assert {len(row["numbers"]) for row in found["users"]} == {0, 1, 2}


def test_something_is_going_on() -> None:
    load()
    assert {"pending", "accepted", "declined", "postponed", "not_required"} <= set(
        CpaasNumber.objects.values_list("opt_in_state", flat=True)
    )
    never_asked = CpaasNumber.objects.filter(opt_in_state="pending", status="enabled", messages__status="held")
    assert never_asked.exists()
    assert not OptInEvidence.objects.filter(number_id__in=never_asked.values("pk")).exists()
    assert CpaasNumber.objects.filter(media_stream__isnull=False).exists()
    assert QueueEntry.objects.filter(state="waiting", media_stream__agents__licence="agent").exists()
    statuses = Counter(Message.objects.values_list("direction", "status"))
    outbound = {"delivered", "undelivered", "sent", "failed", "unknown"}
    assert {("out", status) for status in outbound} <= set(statuses)
    assert {("in", status) for status in ("received", "held", "suppressed")} <= set(statuses)
    assert not Message.objects.filter(status__in=("undelivered", "failed"), error_text="").exists()
    assert Conversation.objects.filter(new_count__gt=0).exists()
    assert CpaasNumber.objects.get(number="+12012010580").display == "Chris Cell (2012010580)"
    first, last = Message.objects.order_by("created_at")[0], Message.objects.order_by("-created_at")[0]
    assert (last.created_at - first.created_at).days > 21
    assert OutgoingMail.objects.filter(subject__contains="declined").exists()
    assert Counter(WebhookEvent.objects.values_list("state", flat=True)) == {"unassigned": 3, "unreadable": 1}
    ticket = Ticket.objects.get()
    assert ticket.sid
    assert ticket.notes.exists()
    assert NumberAssignment.objects.count() == CpaasNumber.objects.filter(user__isnull=False).count()


def test_the_history_is_what_the_services_would_have_left() -> None:
    load()
    for conversation in Conversation.objects.all():
        messages = list(conversation.messages.order_by("position"))
        assert [row.pk for row in messages] == [row.pk for row in sorted(messages, key=lambda row: row.pk)]
        assert conversation.message_count == len(messages)
        unread = [row for row in messages if row.status == "received" and row.position > conversation.read_position]
        assert conversation.new_count == len(unread)
        shown = [row.created_at for row in messages if row.status not in ("held", "suppressed")]
        assert conversation.last_message_at == max(shown, default=None)
        used = [row.position for row in messages] + [
            row.position for row in Attempt.objects.filter(conversation_id=conversation.pk, n__gt=1)
        ]
        assert sorted(used) == list(range(1, conversation.last_position + 1))
    assert not Conversation.objects.exclude(outbox_at=None).exists()
    assert not Attempt.objects.filter(next_check_at__isnull=False).exists()
    outbound = Message.objects.filter(direction="out")
    assert not outbound.filter(attempts__isnull=True).exists()
    assert not outbound.exclude(attempts__status=F("status")).exists()
    assert outbound.filter(attempts__n=2).exists()


def test_repeating_changes_nothing_but_the_tokens() -> None:
    before, first = load(), counted()
    after = load()
    assert counted() == first
    assert [row["username"] for row in after["staff"]] == [row["username"] for row in before["staff"]]
    old, new = before["staff"][0]["token"], after["staff"][0]["token"]
    assert staff_of_token(new)
    with pytest.raises(Exception, match="token"):
        staff_of_token(old)


def test_repeating_puts_back_what_visitors_did() -> None:
    found = load()
    harbourline = SystemProvider.objects.order_by("id")[0]
    SystemProvider.objects.filter(pk=harbourline.pk).update(name="Renamed by a visitor")
    viewer = PortalAccount.objects.get(username="harbourline-view")
    accounts.update_account(actor=None, account=viewer, changes={"is_active": False}, password="something else 1")
    login = "priya.raman@kesslerboyd.example"
    users.delete_user(actor=None, user=EndUser.objects.get(login=login))
    grace = EndUser.objects.get(login="grace.imani@marigolddental.example")
    group = grace.group
    grace.media_streams.clear()
    users.delete_user(actor=None, user=grace)
    users.create_user(actor=None, group=group, login=grace.login, name="Added again")
    load(sandbox_port=22000)
    assert SystemProvider.objects.count() == 2
    assert log_in_staff(username="harbourline-view", password=PASSWORD, name="x")
    for again in (login, grace.login):
        assert log_in_device(login=again, password=PASSWORD, device="x")
    places = {row.carrier: row.options for row in CpaasPlatform.objects.all()}
    assert "127.0.0.1:22001/" in places["inteliquent"]["broker_url"]
    assert "127.0.0.1:22003/" in places["twilio"]["base_url"]
    assert len(found["users"]) == EndUser.objects.count()


def test_no_demo_secret_is_in_the_audit_trail() -> None:
    token = load()["staff"][0]["token"]
    trail = json.dumps(list(AuditEntry.objects.values_list("before", "after")))
    assert PASSWORD not in trail
    assert token not in trail
    assert not [secret for secret in EVERY_SECRET if secret in trail]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("carrier", "tn"), [("inteliquent", "+12012010580"), ("twilio", "+12019940790")])
def test_texting_works_once_the_sandbox_knows_the_hooks_r44(sandbox: SandboxProcess, carrier: str, tn: str) -> None:
    load(sandbox_port=sandbox.port)
    assert sum(set_missing_hooks(platform) for platform in CpaasPlatform.objects.all()) == 12
    assert [set_missing_hooks(platform) for platform in CpaasPlatform.objects.all()] == [0, 0]
    simulated = sandbox.of(carrier)
    assert tn[1:] in {hook["tn"] for hook in simulated.hooks()}
    number = CpaasNumber.objects.get(number=tn)
    assert number.user is not None
    with DispatcherThread():
        message = send_message(user=number.user, number=number, to="+17036089795", text="It works")
        wait_for(lambda: Message.objects.filter(pk=message.pk, status="sent").exists(), what="the text to be sent")
    assert [row["text"] for row in simulated.taken()] == ["It works"]


@pytest.mark.django_db(transaction=True)
def test_hooks_that_lead_to_a_stranger_stay_and_old_addresses_are_renewed_r44(
    sandbox: SandboxProcess, settings: Any
) -> None:
    load(sandbox_port=sandbox.port)
    platform = CpaasPlatform.objects.get(name="Inteliquent")
    set_missing_hooks(platform)
    settings.PUBLIC_URL = "http://moved.example"
    assert set_missing_hooks(CpaasPlatform.objects.get(pk=platform.pk)) == 8
    assert {hook["url"].split("/webhooks")[0] for hook in sandbox.hooks()} == {"http://moved.example"}
    elsewhere = replace(platform.account(), inbound_url="http://elsewhere.example/texts")
    transport.run(get_carrier("inteliquent").set_hook(elsewhere, "+12012010580"))
    assert set_missing_hooks(CpaasPlatform.objects.get(pk=platform.pk)) == 0
    assert elsewhere.inbound_url in {hook["url"] for hook in sandbox.hooks()}
