"""The search over the tenant tree: by name, login and last four digits, of what the actor may see."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.admin.changelist import MOST_MATCHES
from portal.admin.search import MOST
from portal.models import PortalAccount
from portal.tests.admin_walk import browser, url_of
from portal.tests.factories import EndUserFactory
from portal.tests.tenants import Tenant

pytestmark = pytest.mark.django_db


def links(client, term: str) -> set[str]:
    response = client.get("/search/", {"q": term})
    return {hit.url for found in response.context["found"] for hit in found.hits}


@pytest.mark.parametrize("term", ["Acme", "ACME", "acme"])
def test_a_name_is_found_at_every_level_below_the_own(tenant: Tenant, term: str) -> None:
    found = links(browser(tenant.administrator), term)
    assert {url_of(row, "detail") for row in (tenant.reseller, tenant.group, tenant.user)} <= found


def test_what_is_above_beside_or_foreign_is_not_found(two_tenants: tuple[Tenant, Tenant]) -> None:
    acme, zenith = two_tenants
    client = browser(acme.accounts["group", "administrator"])
    assert links(client, "Zenith") == set()
    assert url_of(acme.reseller, "detail") not in links(client, "Acme")
    assert links(browser(zenith.administrator), "Acme") == set()


def test_a_login_is_found(tenant: Tenant) -> None:
    assert url_of(tenant.user, "detail") in links(browser(tenant.administrator), tenant.user.login)


def test_more_than_fit_are_a_link_away_and_the_queries_stay_few(tenant: Tenant, operator: PortalAccount) -> None:
    EndUserFactory.create_batch(MOST + 1, group=tenant.group, name="Many hands")
    client = browser(operator)
    with CaptureQueriesContext(connection) as captured:
        response = client.get("/search/", {"q": "many"})
    assert "/users/?q=many" in response.content.decode()
    searches = [query for query in captured if "LIMIT 7" in query["sql"]]
    assert 0 < len(searches) <= 8


def test_a_list_says_when_more_match_than_it_shows(tenant: Tenant) -> None:
    EndUserFactory.create_batch(MOST_MATCHES, group=tenant.group, name="Many hands")
    client = browser(tenant.administrator)
    assert "narrow the search" not in client.get("/users/", {"q": "many"}).content.decode()
    EndUserFactory(group=tenant.group, name="Many more")
    assert f"More than {MOST_MATCHES} match" in client.get("/users/", {"q": "many"}).content.decode()


@pytest.mark.parametrize("term", ["", "   ", "\x00", "%", "nobody has this name", "x" * 500])
def test_nothing_found_says_what_to_type(tenant: Tenant, term: str) -> None:
    page = browser(tenant.administrator).get("/search/", {"q": term})
    assert page.status_code == 200
    assert "last four digits" in page.content.decode()
