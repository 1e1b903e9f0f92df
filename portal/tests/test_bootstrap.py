"""`manage.py bootstrap` and the hourly tidying (contracts section 1)."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from portal.directory.tests.factories import DirectoryFactory
from portal.models import Device, Event, FoundName, IdempotencyKey, OutgoingMail, PortalAccount, StaffToken
from portal.services.tidying import tidy_portal
from portal.services.tokens import staff_of_token
from portal.tests.factories import EndUserFactory

pytestmark = pytest.mark.django_db
PASSWORD = "a-long-passphrase-42"


def bootstrap(username: str = "root", email: str = "root@example.com") -> str:
    output = io.StringIO()
    call_command("bootstrap", "--username", username, "--email", email, stdout=output)
    token: str = json.loads(output.getvalue())["token"]
    return token


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_BOOTSTRAP_PASSWORD", PASSWORD)


def test_bootstrap_makes_an_operator_whose_token_works_and_may_be_repeated() -> None:
    first, second = bootstrap(), bootstrap()
    account = PortalAccount.objects.get()
    assert (account.username, account.email, account.level) == ("root", "root@example.com", "operator")
    assert account.check_password(PASSWORD)
    assert {staff_of_token(token)[0].pk for token in (first, second)} == {account.pk}


def test_bootstrap_without_a_password_says_which_variable_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTAL_BOOTSTRAP_PASSWORD")
    with pytest.raises(CommandError, match="PORTAL_BOOTSTRAP_PASSWORD"):
        bootstrap()


def test_bootstrap_does_not_give_a_token_of_somebody_who_is_no_operator(tenant) -> None:
    with pytest.raises(CommandError, match="not an operator"):
        bootstrap(username=tenant.administrator.username)


def test_bootstrap_refuses_a_weak_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_BOOTSTRAP_PASSWORD", "12345")
    with pytest.raises(CommandError):
        bootstrap()
    assert not PortalAccount.objects.exists()


def test_tidying_drops_what_is_past_its_time_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.services.tidying.BATCH", 2)
    user = EndUserFactory()
    account = PortalAccount.objects.create(username="a", level="operator")
    now = timezone.now()
    for number, days in enumerate([6, 8, 8, 8, 8, 8], start=1):
        Event.objects.create(user=user, number=number, type="t", object_id=user.pk, at=now - timedelta(days=days))
    for key, hours in (("new", 23), ("old", 25)):
        IdempotencyKey.objects.create(
            owner=user.pk, path="/", key=key, body_digest="", created_at=now - timedelta(hours=hours)
        )
    for name, days in (("expired", -29), ("dead", -31)):
        expires_at = now + timedelta(days=days)
        Device.objects.create(user=user, name=name, digest=name, expires_at=expires_at)
        StaffToken.objects.create(account=account, name=name, digest=name, expires_at=expires_at)

    for state, days in (("sent", 89), ("sent", 91), ("queued", 91)):
        OutgoingMail.objects.create(to="a@example.com", state=state, created_at=now - timedelta(days=days))
    directory = DirectoryFactory()
    for number, days in (("+17036089795", 6), ("+17036089796", 8)):
        FoundName.objects.create(directory=directory, number=number, expires_at=now - timedelta(days=days))

    dropped = tidy_portal()

    assert dropped == {
        "events": 5,
        "idempotency_keys": 1,
        "devices": 1,
        "staff_tokens": 1,
        "sessions": 0,
        "found_names": 1,
        "mails": 1,
    }
    assert [event.number for event in Event.objects.all()] == [1]
    assert [row.key for row in IdempotencyKey.objects.all()] == ["new"]
    assert [row.name for row in (*Device.objects.all(), *StaffToken.objects.all())] == ["expired", "expired"]
