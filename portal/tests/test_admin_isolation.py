"""Staff of one tenant and the other: what the walk through every door (tests/isolation) does not say."""

from __future__ import annotations

import pytest
from django.db import models

from portal.admin.site import site
from portal.models import EndUser, Group, PortalAccount, Reseller, SystemProvider
from portal.tests.admin_walk import EVERYBODY, browser, list_of, url_of
from portal.tests.tenants import Tenant

PORTAL_MODELS = [model for model in site._registry if model._meta.app_label == "portal"]


@pytest.mark.parametrize("who", EVERYBODY)
def test_no_list_or_form_names_the_other_tenant(two_tenants: tuple[Tenant, Tenant], who: tuple[str, str]) -> None:
    acme, zenith = two_tenants
    client = browser(acme.accounts[who])
    parents = f"system_provider={zenith.system_provider.pk}&reseller={zenith.reseller.pk}&group={zenith.group.pk}"
    urls = ["/", "/my-account/"]
    for model in PORTAL_MODELS:
        urls += [list_of(model), f"{list_of(model)}?q=zeni", f"{list_of(model)}?older={zenith.user.pk}"]
        urls += [f"{list_of(model)}?newer={zenith.system_provider.pk}", f"{list_of(model)}add/?{parents}"]
    for url in urls:
        response = client.get(url)
        assert response.status_code in (200, 403, 404), url
        assert "Zenith" not in response.content.decode(), url


@pytest.mark.parametrize("field", ["group", "monitored"])
def test_autocomplete_finds_own_rows_only(two_tenants: tuple[Tenant, Tenant], field: str) -> None:
    acme, _ = two_tenants
    client = browser(acme.accounts["reseller", "administrator"])
    query = {"app_label": "portal", "model_name": "enduser", "field_name": field}
    assert client.get("/autocomplete/", {**query, "term": "Zenith"}).json()["results"] == []
    found = client.get("/autocomplete/", {**query, "term": "Acme"}).json()["results"]
    names = {row["text"] for row in found}
    assert names == ({"Acme Works"} if field == "group" else {"Acme user", "Acme colleague"})
    assert client.get("/autocomplete/", {**query, "term": "Acme", "page": 2}).json()["results"] == []


def refused(response: object, model: type[models.Model], count: int) -> None:
    assert response.status_code == 200
    assert "Zenith" not in response.content.decode()
    assert "Select a valid choice" in response.content.decode()
    assert model.objects.count() == count


def test_a_post_cannot_name_a_row_of_the_other_tenant(two_tenants: tuple[Tenant, Tenant]) -> None:
    acme, zenith = two_tenants
    client = browser(acme.administrator)
    posts = [
        (Reseller, {"system_provider": zenith.system_provider.pk, "name": "Taken"}),
        (Group, {"reseller": zenith.reseller.pk, "name": "Taken"}),
        (EndUser, {"group": zenith.group.pk, "name": "Taken", "login": "taken@example.com", "licence": "agent"}),
        (
            PortalAccount,
            {
                "username": "taken",
                "email": "taken@example.com",
                "password": "a long enough password",
                "level": "group",
                "group": zenith.group.pk,
                "role": "administrator",
            },
        ),
    ]
    for model, data in posts:
        refused(client.post(list_of(model, "add"), data), model, model.objects.count())


def test_a_user_cannot_be_made_to_monitor_a_foreign_one(two_tenants: tuple[Tenant, Tenant]) -> None:
    acme, zenith = two_tenants
    client = browser(acme.administrator)
    data = {"name": "Acme user", "login": acme.user.login, "licence": "agent", "ring_seconds": 20}
    response = client.post(url_of(acme.user, "change"), {**data, "monitored": [zenith.user.pk]})
    assert "Zenith" not in response.content.decode()
    assert not acme.user.monitored.exists()


def test_an_account_cannot_be_moved_to_the_other_tenant(two_tenants: tuple[Tenant, Tenant]) -> None:
    acme, zenith = two_tenants
    account = acme.accounts["group", "administrator"]
    data = {"username": account.username, "email": account.email, "level": "group", "role": "administrator"}
    browser(acme.administrator).post(url_of(account, "change"), {**data, "group": zenith.group.pk})
    account.refresh_from_db()
    assert account.group == acme.group


@pytest.mark.parametrize("level", ["operator", "system_provider", "reseller"])
def test_nobody_gives_a_level_above_the_own(tenant: Tenant, level: str) -> None:
    client = browser(tenant.accounts["group", "administrator"])
    data = {
        "username": "climber",
        "email": "climber@example.com",
        "password": "a long enough password",
        "level": level,
        "system_provider": tenant.system_provider.pk,
        "reseller": tenant.reseller.pk,
        "role": "administrator",
    }
    response = client.post(list_of(PortalAccount, "add"), data)
    assert response.status_code == 200
    assert not PortalAccount.objects.filter(username="climber").exists()


@pytest.mark.parametrize(
    "query", ["password__startswith=md5", "group__name__startswith=Z", "tokens__digest__startswith=a", "nonsense=1"]
)
def test_a_list_is_filtered_by_what_it_declares_only(tenant: Tenant, query: str) -> None:
    assert browser(tenant.administrator).get(f"{list_of(PortalAccount)}?{query}").status_code == 400


@pytest.mark.parametrize("path", ["/users/not-an-id/", "/users/not-an-id/change/", "/users/1/delete/", "/nowhere/"])
def test_an_id_that_is_none_is_404(tenant: Tenant, path: str) -> None:
    assert browser(tenant.administrator).get(path).status_code == 404


def test_without_login_every_page_leads_to_the_login(client, tenant: Tenant) -> None:
    for url in ("/", list_of(EndUser), url_of(tenant.user, "detail"), "/autocomplete/"):
        response = client.get(url)
        assert (response.status_code, response["Location"].split("?")[0]) == (302, "/login/")


def test_an_operator_sees_all_tenants(two_tenants: tuple[Tenant, Tenant], operator: PortalAccount) -> None:
    shown = browser(operator).get(list_of(SystemProvider)).content.decode()
    assert "Acme Telecom" in shown
    assert "Zenith Telecom" in shown
