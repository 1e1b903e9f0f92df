"""How long a staff session lasts, and what ends it at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from portal import clock
from portal.models import PortalAccount
from portal.services import accounts, second_factor
from portal.tests.admin_walk import browser, url_of
from portal.tests.factories import PASSWORD
from portal.tests.tenants import Tenant

pytestmark = pytest.mark.django_db
NEW_PASSWORD = "another long passphrase"


@pytest.fixture(autouse=True)
def _one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests move the machine's clock, and the database's with it."""
    monkeypatch.setattr(clock, "now", timezone.now)


def is_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def test_a_session_ends_so_long_after_its_login_whatever_is_done(
    tenant: Tenant, settings: Any, time_machine: Any
) -> None:
    settings.SESSION_COOKIE_AGE, settings.SESSION_IDLE_S = 3600, 1000
    time_machine.move_to(timezone.now(), tick=False)
    client = browser(tenant.administrator)
    for _ in range(5):
        time_machine.shift(700)
        assert is_in(client)
    time_machine.shift(100)
    assert not is_in(client)
    assert not Session.objects.exists()


def test_a_session_ends_when_nothing_is_done_in_it(tenant: Tenant, settings: Any, time_machine: Any) -> None:
    settings.SESSION_IDLE_S = 1000
    time_machine.move_to(timezone.now(), tick=False)
    client = browser(tenant.administrator)
    time_machine.shift(999)
    assert is_in(client)
    time_machine.shift(999)
    assert is_in(client)
    time_machine.shift(1000)
    assert not is_in(client)


def test_a_session_goes_on_while_its_key_is_a_former_one(tenant: Tenant, settings: Any) -> None:
    client = browser(tenant.administrator)
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another long random text"
    settings.SECRET_KEY_FALLBACKS = [former]
    assert is_in(client)
    settings.SECRET_KEY_FALLBACKS = []
    assert is_in(client)  # it goes by the new one now


def test_a_session_ends_with_its_key(tenant: Tenant, settings: Any) -> None:
    client = browser(tenant.administrator)
    settings.SECRET_KEY = "another long random text"
    assert not is_in(client)


def test_a_page_that_asks_by_itself_is_nobody_doing_something(tenant: Tenant, settings: Any, time_machine: Any) -> None:
    settings.SESSION_IDLE_S = 1000
    time_machine.move_to(timezone.now(), tick=False)
    client = browser(tenant.administrator)
    for _ in range(4):
        time_machine.shift(200)
        client.get("/", headers={"HX-Request": "true"})
    time_machine.shift(200)
    assert not is_in(client)


def test_a_session_without_its_times_counts_for_nothing(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    session = client.session
    del session["began_at"]
    session.save()
    assert not is_in(client)


def test_logging_in_changes_the_session_key(tenant: Tenant) -> None:
    client = Client()
    client.get("/login/")
    fixed = client.session
    fixed["anything"] = 1
    fixed.save()
    client.cookies["sessionid"] = fixed.session_key
    client.post("/login/", {"username": tenant.administrator.username, "password": PASSWORD})
    assert is_in(client)
    assert client.session.session_key != fixed.session_key
    stolen = Client()
    stolen.cookies["sessionid"] = fixed.session_key
    assert not is_in(stolen)


@pytest.mark.parametrize(
    "change",
    [
        {"password": NEW_PASSWORD},
        {"changes": {"is_active": False}},
        {"changes": {"role": "read_only"}},
        {"level": "group"},
    ],
    ids=["password", "deactivation", "role", "level"],
)
def test_sessions_end_with_what_they_rested_on(tenant: Tenant, operator: PortalAccount, change: dict[str, Any]) -> None:
    account = tenant.accounts["reseller", "administrator"]
    client = browser(account)
    if "level" in change:
        change = {"level": "group", "scope": tenant.group}
    accounts.update_account(actor=operator, account=account, **{"changes": {}, **change})
    assert not is_in(client)
    # Nor does it come back with the account.
    accounts.update_account(actor=operator, account=account, changes={"is_active": True})
    assert not is_in(client)


def test_another_name_ends_no_session(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    accounts.update_account(actor=None, account=tenant.administrator, changes={"name": "Another Name"})
    assert is_in(client)


def test_whoever_changes_the_own_password_stays_and_the_others_go(tenant: Tenant) -> None:
    account = tenant.administrator
    here, elsewhere = browser(account), browser(account)
    form = {"form": "password", "present_password": PASSWORD, "password": NEW_PASSWORD, "retype": NEW_PASSWORD}
    here.post("/my-account/", form)
    assert (is_in(here), is_in(elsewhere)) == (True, False)


def test_the_own_password_is_not_changed_without_the_present_one(api: Callable[..., Any], tenant: Tenant) -> None:
    """An unlocked screen shall not give the account away: not under the accounts either, where others' are set."""
    here = browser(tenant.administrator)
    page = here.get(url_of(tenant.administrator, "change"))
    assert "password" not in page.context["form"].fields
    data = {name: value for name, value in page.context["form"].initial.items() if value}
    assert here.post(url_of(tenant.administrator, "change"), data | {"password": NEW_PASSWORD}).status_code == 302
    answer = api(tenant.token).patch(
        f"/api/v1/provisioning/portal-accounts/{tenant.administrator.pk}/", {"password": NEW_PASSWORD}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "own_account")
    tenant.administrator.refresh_from_db()
    assert tenant.administrator.check_password(PASSWORD)


@pytest.mark.usefixtures("within_a_minute")
def test_whoever_has_a_session_may_not_guess_the_password_for_ever(tenant: Tenant, settings: Any) -> None:
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 3
    client = browser(tenant.administrator)
    new = {"password": NEW_PASSWORD, "retype": NEW_PASSWORD}
    forms = (
        ("/my-account/", {"form": "password", **new}),
        ("/api-tokens/add/", {"name": "script", "expires_in_days": "30"}),
        ("/my-account/second-factor/", {"form": "confirm", "code": "123456"}),
    )
    client.post("/my-account/second-factor/", {"form": "begin"})
    for path, form in forms:
        assert client.post(path, form | {"present_password": "a guess"}).status_code == 200, path
    for path, form in forms:
        refused = client.post(path, form | {"present_password": PASSWORD})
        assert (refused.status_code, "Retry-After" in refused) == (429, True), path
    tenant.administrator.refresh_from_db()
    assert tenant.administrator.check_password(PASSWORD)
    assert not tenant.administrator.tokens.filter(name="script").exists()
    assert not second_factor.is_on(tenant.administrator)


def test_cookies_are_not_for_scripts_nor_other_sites(tenant: Tenant, settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    client = Client()
    client.get("/login/")
    client.post("/login/", {"username": tenant.administrator.username, "password": PASSWORD})
    for name in ("sessionid", "csrftoken"):
        cookie = client.cookies[name]
        assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")


def test_a_device_token_ends_with_the_users_password(api: Callable[..., Any], tenant: Tenant) -> None:
    path = f"/api/v1/provisioning/users/{tenant.user.pk}/"
    assert api(tenant.token).patch(path, {"password": NEW_PASSWORD}).status_code == 200
    assert api(tenant.device_token).get("/api/v1/session/").status_code == 401
