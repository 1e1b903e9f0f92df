"""Names are the same in upper and lower case; passwords follow one set of rules on every face."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test import Client

from portal.models import EndUser, PortalAccount
from portal.problems import Problem
from portal.services import accounts, tokens, users
from portal.tests.admin_walk import browser
from portal.tests.factories import PASSWORD, EndUserFactory, PortalAccountFactory
from portal.tests.tenants import Tenant

pytestmark = pytest.mark.django_db
PROVISIONING = "/api/v1/provisioning"


def test_staff_log_in_whatever_the_case_of_the_name(api: Callable[..., Any], tenant: Tenant) -> None:
    name = tenant.administrator.username.upper()
    assert Client().post("/login/", {"username": name, "password": PASSWORD}).status_code == 302
    body = {"username": name, "password": PASSWORD, "name": "script"}
    assert api(None).post(f"{PROVISIONING}/tokens/", body).status_code == 201


def test_users_log_in_whatever_the_case_of_the_login(tenant: Tenant) -> None:
    for login in (tenant.user.login.upper(), tenant.user.login.title(), tenant.user.login):
        assert tokens.log_in_device(login=login, password=PASSWORD, device="desktop")[1] == tenant.user


def test_letters_beyond_ascii_are_found_as_written() -> None:
    user = EndUserFactory(login="Jürgen.Ö@example.com")
    assert tokens.log_in_device(login="jürgen.Ö@EXAMPLE.com", password=PASSWORD, device="desktop")[1] == user


def test_a_name_that_differs_in_case_only_is_taken(api: Callable[..., Any], tenant: Tenant) -> None:
    staff = api(tenant.token)
    body = {"username": tenant.administrator.username.upper(), "email": "a@example.com", "password": PASSWORD}
    scope = {"level": "group", "scope": str(tenant.group.pk), "role": "read_only", "name": "A"}
    answer = staff.post(f"{PROVISIONING}/portal-accounts/", body | scope)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["username"])
    user = {"group": str(tenant.group.pk), "login": tenant.user.login.upper(), "name": "A"}
    answer = staff.post(f"{PROVISIONING}/users/", user)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["login"])
    path = f"{PROVISIONING}/users/{tenant.colleague.pk}/"
    assert staff.patch(path, {"login": tenant.user.login.upper()}).status_code == 400
    # One's own name may change its case.
    assert staff.patch(path, {"login": tenant.colleague.login.upper()}).status_code == 200


def test_bootstrap_finds_its_operator_in_any_case(operator: PortalAccount) -> None:
    found = accounts.create_operator(username="OPERATOR", email="o@example.com", password=PASSWORD)
    assert found == operator


@pytest.mark.usefixtures("within_a_minute")
def test_the_case_of_a_name_gives_no_more_attempts(settings: Any) -> None:
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 2
    told = []
    for login in ("ann@example.com", "ANN@example.com", "Ann@example.com"):
        with pytest.raises(Problem) as refused:
            tokens.log_in_device(login=login, password="wrong", device="desktop")
        told.append(refused.value.code)
    assert told == ["bad_credentials", "bad_credentials", "rate_limited"]


def test_the_migration_names_what_must_be_renamed_first() -> None:
    migration = import_module("portal.migrations.0002_second_factor_and_names")
    migration.refuse_doubles(apps, None)
    drop = {PortalAccount: "account_username_in_any_case", EndUser: "user_login_in_any_case"}
    with connection.schema_editor() as editor:
        for model, name in drop.items():
            editor.remove_constraint(model, next(each for each in model._meta.constraints if each.name == name))
    PortalAccountFactory(username="Ann"), PortalAccountFactory(username="ann")
    EndUserFactory(login="bob@example.com"), EndUserFactory(login="BOB@example.com")
    with pytest.raises(ValueError, match=r"(?i)ann, ann; bob@example.com, bob@example.com"):
        migration.refuse_doubles(apps, None)


# --- Passwords ---
BAD_PASSWORDS = {
    "short": "Zk8#pq",
    "common": "password123",
    "digits": "84619374620184",
    "repetition": "abababababab",
    "keyboard": "qwertyuiop12",
    "alphabet": "abcdefghijk!",
    "backwards": "9876543210xy",
    "similar": "acme-similar",
    "too long": "Zk8#pq" * 50,
}


@pytest.mark.parametrize("password", BAD_PASSWORDS.values(), ids=BAD_PASSWORDS)
def test_a_bad_password_is_refused_on_every_face(
    api: Callable[..., Any], tenant: Tenant, operator: PortalAccount, password: str
) -> None:
    account, user, staff = tenant.administrator, tenant.user, api(tenant.token)
    PortalAccount.objects.filter(pk=account.pk).update(name="Acme similar")
    EndUser.objects.filter(pk=user.pk).update(login="acme.similar")
    for path in (f"portal-accounts/{account.pk}", f"users/{user.pk}"):
        answer = staff.patch(f"{PROVISIONING}/{path}/", {"password": password})
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["password"]), path
    form = {"form": "password", "present_password": PASSWORD, "password": password, "retype": password}
    page = browser(PortalAccount.objects.get(pk=account.pk)).post("/my-account/", form)
    assert page.context["password_form"].errors
    account.refresh_from_db()
    user.refresh_from_db()
    assert (account.check_password(PASSWORD), user.check_password(PASSWORD)) == (True, True)
    if password != BAD_PASSWORDS["similar"]:
        with pytest.raises(Problem, match="password"):
            accounts.create_operator(username="fresh", email="fresh@example.com", password=password)


@pytest.mark.parametrize(
    "password", [PASSWORD, "long enough 1", "tr0ub4dor&3xyz", "Sandbox-Password-1", "пароль-из-слов"]
)
def test_a_good_password_is_taken(tenant: Tenant, password: str) -> None:
    users.update_user(actor=None, user=tenant.user, changes={}, password=password)
    assert EndUser.objects.get(pk=tenant.user.pk).check_password(password)
