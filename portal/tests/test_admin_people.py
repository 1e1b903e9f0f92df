"""Accounts, users, tokens and the own account on the staff site; logging in; the landing page."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from portal import clock
from portal.models import EndUser, Group, PortalAccount, Reseller, Service, StaffToken, SystemProvider
from portal.services.residents import SILENT_AFTER
from portal.services.tokens import digest_of
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.factories import PASSWORD, GroupFactory
from portal.tests.tenants import Tenant

NEW_ACCOUNT = {
    "username": "new-staff",
    "name": "New Staff",
    "email": "new@example.com",
    "password": "a long enough password",
    "role": "administrator",
    "is_active": "on",
}
NEW_USER = {
    "name": "New User",
    "login": "new.user@example.com",
    "licence": "agent",
    "is_active": "on",
    "ring_seconds": "20",
}


def data_of(account: PortalAccount, **changes: object) -> dict[str, object]:
    """What the browser sends back of an account's form, with changes; False leaves a box out."""
    data: dict[str, object] = {
        "username": account.username,
        "name": account.name,
        "email": account.email,
        "level": account.level,
        "role": account.role,
        "is_active": "on",
        "send_alerts": "on" if account.send_alerts else False,
    }
    for name in ("system_provider", "reseller", "group"):
        data[name] = getattr(account, f"{name}_id") or ""
    return {name: value for name, value in (data | changes).items() if value is not False}


# --- Tenants ---
def test_an_operator_adds_a_system_provider(operator: PortalAccount) -> None:
    data = {"name": "Fresh Telecom", "time_zone": "Europe/Berlin", "default_country": "de"}
    assert browser(operator).post(list_of(SystemProvider, "add"), data).status_code == 302
    provider = SystemProvider.objects.get(name="Fresh Telecom")
    assert (provider.default_country, provider.time_zone) == ("DE", "Europe/Berlin")


def test_a_system_provider_cannot_add_one(tenant: Tenant) -> None:
    response = browser(tenant.administrator).post(list_of(SystemProvider, "add"), {"name": "Second"})
    assert response.status_code == 403
    assert not SystemProvider.objects.filter(name="Second").exists()


def test_resellers_and_groups_are_added_below_their_parent(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    tab = client.get(url_of(tenant.system_provider, "tab", "resellers"))
    add_url = tab.context["add_url"]
    assert client.get(add_url).context["form"].initial["system_provider"] == str(tenant.system_provider.pk)
    client.post(add_url, {"system_provider": tenant.system_provider.pk, "name": "Fresh Resale"})
    reseller = Reseller.objects.get(name="Fresh Resale")
    client.post(list_of(Group, "add"), {"reseller": reseller.pk, "name": "Fresh Works", "enterprise": ""})
    assert Group.objects.get(name="Fresh Works").system_provider == tenant.system_provider


def test_a_wrong_country_is_told_at_its_field(operator: PortalAccount) -> None:
    data = {"name": "Nowhere", "time_zone": "UTC", "default_country": "XX"}
    response = browser(operator).post(list_of(SystemProvider, "add"), data)
    assert "two-letter country code" in str(response.context["form"].errors["default_country"])


# --- Users ---
def test_a_group_administrator_adds_and_changes_a_user(tenant: Tenant) -> None:
    client = browser(tenant.accounts["group", "administrator"])
    response = client.post(list_of(EndUser, "add"), {**NEW_USER, "group": tenant.group.pk, "password": "long enough 1"})
    user = EndUser.objects.get(login="new.user@example.com")
    assert response["Location"] == url_of(user, "detail")
    assert user.check_password("long enough 1")
    client.post(url_of(user, "change"), {**NEW_USER, "mobile": "(732) 555-0199", "monitored": [tenant.user.pk]})
    user.refresh_from_db()
    assert (user.mobile, list(user.monitored.all())) == ("+17325550199", [tenant.user])
    assert user.check_password("long enough 1")


def test_r42_a_user_monitors_the_own_organisation_only(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    data = {**NEW_USER, "name": "Acme user", "login": tenant.user.login, "monitored": [tenant.other_user.pk]}
    response = client.post(url_of(tenant.user, "change"), data)
    assert "not in the same organisation" in str(response.context["form"].errors["monitored"])


# --- Portal accounts ---
@pytest.mark.parametrize("level", ["system_provider", "reseller", "group"])
def test_an_account_is_added_at_a_level_with_its_scope(tenant: Tenant, level: str) -> None:
    scope = getattr(tenant, level)
    client = browser(tenant.administrator)
    response = client.post(list_of(PortalAccount, "add"), {**NEW_ACCOUNT, "level": level, level: scope.pk})
    assert response.status_code == 302, response.context["form"].errors
    account = PortalAccount.objects.get(username="new-staff")
    assert (account.level, account.scope, account.system_provider) == (level, scope, tenant.system_provider)
    assert account.check_password("a long enough password")


def test_the_levels_offered_end_at_the_own(tenant: Tenant) -> None:
    form = browser(tenant.accounts["reseller", "administrator"]).get(list_of(PortalAccount, "add")).context["form"]
    assert [value for value, _ in form.fields["level"].choices] == ["reseller", "group"]


def test_an_account_needs_the_row_of_its_level(tenant: Tenant) -> None:
    response = browser(tenant.administrator).post(list_of(PortalAccount, "add"), {**NEW_ACCOUNT, "level": "group"})
    assert "Choose the group" in str(response.context["form"].errors["group"])


def test_an_account_moves_to_another_scope(tenant: Tenant) -> None:
    account = tenant.accounts["group", "administrator"]
    target = GroupFactory(reseller=tenant.reseller)
    response = browser(tenant.administrator).post(url_of(account, "change"), data_of(account, group=target.pk))
    assert response.status_code == 302
    account.refresh_from_db()
    assert account.group == target


def test_saving_an_account_unchanged_changes_nothing(tenant: Tenant) -> None:
    account = tenant.accounts["reseller", "read_only"]
    before = PortalAccount.objects.values().get(pk=account.pk)
    assert browser(tenant.administrator).post(url_of(account, "change"), data_of(account)).status_code == 302
    assert PortalAccount.objects.values().get(pk=account.pk) == before


def test_send_alerts_is_ticked_on_the_own_account(tenant: Tenant) -> None:
    account = tenant.accounts["reseller", "administrator"]
    client = browser(account)
    shown = client.get(url_of(account, "change")).content.decode()
    assert "Send Alerts" in shown
    assert client.post(url_of(account, "change"), data_of(account, send_alerts="on")).status_code == 302
    account.refresh_from_db()
    assert account.send_alerts


def test_nobody_changes_the_own_level_role_or_state(tenant: Tenant) -> None:
    account = tenant.administrator
    data = data_of(account, role="read_only", level="group", group=tenant.group.pk, is_active=False)
    assert browser(account).post(url_of(account, "change"), data).status_code == 302
    account.refresh_from_db()
    assert (account.role, account.level, account.is_active) == ("administrator", "system_provider", True)


def test_a_weak_password_is_told_at_its_field(tenant: Tenant) -> None:
    data = {**NEW_ACCOUNT, "level": "group", "group": tenant.group.pk, "password": "short"}
    response = browser(tenant.administrator).post(list_of(PortalAccount, "add"), data)
    assert "too short" in str(response.context["form"].errors["password"])
    assert "short" not in re.findall(r'name="password"[^>]*', response.content.decode())[0]


# --- API tokens ---
@pytest.mark.parametrize("role", ["administrator", "read_only"])
def test_a_token_is_shown_once_and_revoked(tenant: Tenant, role: str) -> None:
    account = tenant.accounts["group", role]
    client = browser(account)
    shown = client.post(
        list_of(StaffToken, "add"), {"name": "nightly import", "expires_in_days": "30", "present_password": PASSWORD}
    )
    plain = shown.context["token"]
    token = StaffToken.objects.get(digest=digest_of(plain))
    assert (token.account, (token.expires_at - clock.now()).days) == (account, 29)
    for url in (list_of(StaffToken), url_of(token, "detail")):
        assert plain not in client.get(url).content.decode()
    assert "no-store" in shown["Cache-Control"]
    assert client.post(url_of(token, "delete")).status_code == 302
    assert not StaffToken.objects.filter(pk=token.pk).exists()


# --- The own account, logging in, the landing page ---
@pytest.mark.parametrize("role", ["administrator", "read_only"])
def test_everyone_changes_the_own_password_and_stays_logged_in(tenant: Tenant, role: str) -> None:
    account = tenant.accounts["group", role]
    client = browser(account)
    data = {
        "form": "password",
        "present_password": PASSWORD,
        "password": "a different one",
        "retype": "a different one",
    }
    assert client.post("/my-account/", data).status_code == 302
    account.refresh_from_db()
    assert account.check_password("a different one")
    assert not account.tokens.exists()
    assert client.get("/").status_code == 200


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("present_password", {"present_password": "wrong"}),
        ("retype", {"retype": "another"}),
        ("password", {"password": "x"}),
    ],
)
def test_a_password_change_that_does_not_fit_changes_nothing(tenant: Tenant, field: str, changes: dict) -> None:
    data = {
        "form": "password",
        "present_password": PASSWORD,
        "password": "a different one",
        "retype": "a different one",
    }
    data |= changes
    if field == "password":
        data["retype"] = data["password"]
    response = browser(tenant.administrator).post("/my-account/", data)
    assert field in response.context["password_form"].errors
    tenant.administrator.refresh_from_db()
    assert tenant.administrator.check_password(PASSWORD)


def test_r28_times_are_shown_in_the_viewers_zone(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    client.post("/my-account/", {"form": "person", "name": "Ada", "time_zone": "Asia/Tokyo"})
    token = tenant.administrator.tokens.get()
    shown = client.get(url_of(token, "detail")).content.decode()
    expected = timezone.localtime(token.created_at, timezone.get_fixed_timezone(9 * 60)).strftime("%d/%m/%Y %H:%M:%S")
    assert expected in shown


def test_logging_in_leads_to_the_page_asked_for(client, tenant: Tenant) -> None:
    data = {"username": tenant.administrator.username, "password": PASSWORD, "next": list_of(EndUser)}
    assert client.post("/login/", data)["Location"] == list_of(EndUser)


def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(client, tenant: Tenant) -> None:
    texts = set()
    for name in (tenant.administrator.username, "nobody"):
        response = client.post("/login/", {"username": name, "password": "wrong"})
        texts.add(str(response.context["form"].non_field_errors()))
    assert len(texts) == 1


@pytest.mark.usefixtures("within_a_minute")
def test_logins_are_throttled(client, tenant: Tenant, settings) -> None:
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 2
    data = {"username": tenant.administrator.username, "password": "wrong"}
    for _ in range(2):
        assert client.post("/login/", data).status_code == 200
    response = client.post("/login/", {**data, "password": PASSWORD})
    assert (response.status_code, response["Retry-After"].isdigit()) == (429, True)
    assert "Too many attempts" in response.content.decode()


def test_a_deactivated_account_is_out_at_once(tenant: Tenant) -> None:
    client = browser(tenant.accounts["group", "administrator"])
    PortalAccount.objects.filter(pk=tenant.accounts["group", "administrator"].pk).update(is_active=False)
    assert client.get("/")["Location"].startswith("/login/")


@pytest.mark.parametrize("level", ["system_provider", "reseller", "group"])
def test_the_landing_page_counts_what_the_level_has(tenant: Tenant, level: str) -> None:
    tiles = {tile.title: tile.count for tile in browser(tenant.accounts[level, "read_only"]).get("/").context["tiles"]}
    assert tiles["Users"] == ("3" if level == "system_provider" else "2")
    assert ("Resellers" in tiles) == (level == "system_provider")


def test_r36_a_silent_service_is_named_to_the_operator_alone(tenant: Tenant, operator: PortalAccount) -> None:
    long_ago = timezone.now() - 2 * SILENT_AFTER
    Service.objects.create(name="the-silent-one", actual="running", since=long_ago, seen_at=long_ago)
    Service.objects.create(name="the-lively-one", actual="running", seen_at=timezone.now())
    shown = browser(operator).get("/").content.decode()
    assert "Service down" in shown
    assert "the-silent-one" in shown
    assert "the-lively-one" not in shown
    for level in ("system_provider", "reseller", "group"):
        shown = browser(tenant.accounts[level, "administrator"]).get("/").content.decode()
        assert "Service down" not in shown
        assert "the-silent-one" not in shown


def test_the_sidebar_leads_to_the_own_level(tenant: Tenant) -> None:
    for level in ("system_provider", "reseller", "group"):
        shown = browser(tenant.accounts[level, "administrator"]).get("/").content.decode()
        assert url_of(getattr(tenant, level), "detail") in shown


def test_pages_hold_no_script_or_style_of_their_own(tenant: Tenant) -> None:
    """Our own templates; unfold's frame has some, which the policy of a later issue has to name."""
    shown = browser(tenant.administrator).get(url_of(tenant.user, "change")).content.decode()
    body = shown[shown.index('id="content"') :]
    assert "<script>" not in body
    assert " style=" not in body[: body.index("</form>")]
    assert "onclick=" not in body


@pytest.mark.parametrize("model", [PortalAccount, EndUser])
def test_what_a_new_password_ends_is_told_only_where_there_was_one(tenant: Tenant, model: type) -> None:
    client = browser(tenant.administrator)
    row = {PortalAccount: tenant.accounts["group", "read_only"], EndUser: tenant.user}[model]
    new, existing = (
        client.get(url).context["form"].fields["password"].help_text
        for url in (list_of(model, "add"), url_of(row, "change"))
    )
    assert "A new one" in existing
    assert "Leave it empty to keep it" in existing
    assert "A new one" not in new
    assert "Leave it empty" not in new


def test_s4_7_the_pages_of_a_tenant_say_how_many_users_have_which_licence(tenant: Tenant) -> None:
    tenant.colleague.licence = "agent"
    tenant.colleague.save()
    staff = browser(tenant.administrator)
    for row, counts in ((tenant.system_provider, ["0", "2", "1"]), (tenant.group, ["0", "1", "1"])):
        page = staff.get(url_of(row, "detail"))
        [section] = [found for found in page.context["sections"] if found.template == "portal/licences.html"]
        assert [line["count"] for line in section.context["lines"]][:3] == counts
        shown = staff.get(section.context["lines"][2]["url"]).content.decode()
        assert tenant.colleague.name in shown
        assert tenant.user.name not in shown
