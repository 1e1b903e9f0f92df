"""The base of every ModelAdmin: closed where a subclass says nothing, keyset lists (architecture 4)."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from unfold.admin import ModelAdmin

from portal.admin.base import TenantScopedAdmin
from portal.admin.changelist import KeysetChangeList, ScopedRelatedFilter
from portal.admin.checks import check_admins, find_unscoped
from portal.admin.scoped import ClosedDoor
from portal.admin.site import PortalSite, site
from portal.models import AuditEntry, EndUser, Group, Reseller
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.factories import EndUserFactory
from portal.tests.tenants import Tenant


class SilentAdmin(TenantScopedAdmin):
    """Says nothing but where it is."""

    slug = "silent"


@pytest.fixture
def silent() -> SilentAdmin:
    return SilentAdmin(Group, site)


@pytest.fixture
def request_of(tenant: Tenant, rf: RequestFactory):
    def make(who: tuple[str, str] = ("system_provider", "administrator")):
        request = rf.get("/")
        request.user = tenant.accounts[who]
        return request

    return make


def test_every_admin_of_the_site_keeps_tenants_apart() -> None:
    assert check_admins(None) == []


def test_portal_e010_names_an_admin_that_does_not() -> None:
    other = PortalSite(name="other")
    other.register(Group, ModelAdmin)
    assert [(error.id, "Group" in error.msg) for error in find_unscoped(other)] == [("portal.E010", True)]


DOORS = (
    "save_form save_model save_related save_formset delete_model delete_queryset get_deleted_objects "
    "log_addition log_change log_deletions"
)


@pytest.mark.parametrize("door", DOORS.split())
def test_ways_around_the_services_are_closed(silent: SilentAdmin, door: str) -> None:
    with pytest.raises(ClosedDoor):
        getattr(silent, door)()


def test_an_admin_without_services_writes_nothing(silent: SilentAdmin, request_of) -> None:
    request = request_of()
    assert not silent.has_add_permission(request)
    assert not silent.has_change_permission(request)
    assert not silent.has_delete_permission(request)
    for perform in (silent.perform_create, silent.perform_delete):
        with pytest.raises(ClosedDoor):
            perform(request, None)


@pytest.mark.parametrize("name", ["list_editable", "actions", "inlines", "actions_detail", "save_as", "raw_id_fields"])
def test_what_would_open_a_door_is_refused(name: str) -> None:
    bad = type("BadAdmin", (SilentAdmin,), {name: ("name",)})
    with pytest.raises(ImproperlyConfigured):
        bad(Group, site)


def test_search_needs_a_lookup_that_an_index_answers() -> None:
    bad = type("BadAdmin", (SilentAdmin,), {"search_fields": ("name",)})
    with pytest.raises(ImproperlyConfigured):
        bad(Group, site)


def test_a_model_without_tenants_shows_nothing(request_of) -> None:
    account = request_of().user
    LogEntry.objects.create(user_id=account.pk, action_flag=1, object_repr="seen")
    assert not SilentAdmin(LogEntry, site).get_queryset(request_of()).exists()


def test_a_relation_filter_offers_own_rows_only(two_tenants, rf: RequestFactory) -> None:
    acme, _ = two_tenants
    filtering = type("FilteringAdmin", (SilentAdmin,), {"list_filter": ("reseller",)})(Group, site)
    request = rf.get("/")
    request.user = acme.accounts["reseller", "administrator"]
    assert filtering.get_list_filter(request) == [("reseller", ScopedRelatedFilter)]
    spec = ScopedRelatedFilter(Group._meta.get_field("reseller"), request, {}, Group, filtering, "reseller")
    assert [name for _, name in spec.lookup_choices] == ["Acme Partners"]


def list_page(tenant: Tenant, query: str = "") -> tuple[KeysetChangeList, list[str]]:
    client = browser(tenant.administrator)
    with CaptureQueriesContext(connection) as queries:
        response = client.get(f"{url_of(tenant.group, 'tab', 'users')}{query}")
    assert response.status_code == 200
    return response.context["cl"], [query["sql"].upper() for query in queries]


def test_a_list_goes_from_page_to_page_without_count_or_offset(tenant: Tenant) -> None:
    users = [EndUserFactory(group=tenant.group) for _ in range(120)]
    newest = [str(user.pk) for user in reversed([tenant.user, tenant.colleague, *users])]
    seen, query, pages = [], "", []
    for _ in range(3):
        page, statements = list_page(tenant, query)
        assert not [sql for sql in statements if "COUNT(" in sql or "OFFSET" in sql]
        seen += [str(row.pk) for row in page.result_list]
        pages.append(page)
        query = page.older_url
    assert seen == newest
    assert (pages[0].newer_url, pages[2].older_url) == ("", "")
    back, _ = list_page(tenant, pages[2].newer_url)
    assert [row.pk for row in back.result_list] == [row.pk for row in pages[1].result_list]
    first, _ = list_page(tenant, back.newer_url)
    assert [row.pk for row in first.result_list] == [row.pk for row in pages[0].result_list]
    assert first.newer_url == ""


def test_a_list_costs_the_same_number_of_queries_however_long(tenant: Tenant) -> None:
    _, few = list_page(tenant)
    for _ in range(60):
        EndUserFactory(group=tenant.group)
    _, many = list_page(tenant)
    assert len(many) <= len(few)


def test_a_damaged_cursor_shows_the_first_page(tenant: Tenant) -> None:
    page, _ = list_page(tenant, "?older=nonsense")
    assert len(page.result_list) == 2


def test_sorting_and_all_at_once_are_not_offered(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    shown = client.get(f"{list_of(EndUser)}?o=1&all=1")
    assert shown.status_code == 200
    assert [row.pk for row in shown.context["cl"].result_list] == sorted(
        EndUser.objects.visible_to(tenant.administrator).values_list("pk", flat=True), reverse=True
    )


def test_nothing_is_posted_to_a_list(tenant: Tenant) -> None:
    data = {"action": "delete_selected", "_selected_action": [tenant.other_user.pk], "post": "yes"}
    assert browser(tenant.administrator).post(list_of(EndUser), data).status_code == 405
    assert EndUser.objects.filter(pk=tenant.other_user.pk).exists()


@pytest.mark.parametrize("level", ["system_provider", "reseller", "group"])
def test_a_read_only_account_sees_no_way_to_write(tenant: Tenant, level: str) -> None:
    client = browser(tenant.accounts[level, "read_only"])
    for url in (list_of(EndUser), url_of(tenant.user, "detail"), url_of(tenant.group, "detail")):
        shown = client.get(url).content.decode()
        assert "p-button-primary" not in shown
        assert "/delete/" not in shown
        assert "/change/" not in shown


@pytest.mark.parametrize("level", ["system_provider", "reseller", "group"])
def test_a_read_only_account_gets_403_with_a_reason(tenant: Tenant, level: str) -> None:
    client = browser(tenant.accounts[level, "read_only"])
    urls = [list_of(EndUser, "add"), *(url_of(tenant.user, page) for page in ("change", "delete"))]
    for url in urls:
        response = client.post(url, {"name": "changed"})
        assert response.status_code == 403, url
        assert "may look but not change anything" in response.content.decode()
    tenant.user.refresh_from_db()
    assert tenant.user.name == "Acme user"


def test_a_read_only_account_sees_the_form_closed(tenant: Tenant) -> None:
    shown = browser(tenant.accounts["group", "read_only"]).get(url_of(tenant.user, "change"))
    assert shown.status_code == 200
    assert all(field.disabled for field in shown.context["form"].fields.values())


def test_history_is_the_audit_trail_of_the_row(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    assert client.post(url_of(tenant.group, "change"), {"name": "Renamed", "enterprise": ""}).status_code == 302
    shown = client.get(url_of(tenant.group, "history"))
    entries = shown.context["cl"].result_list
    assert [(entry.action, entry.after, entry.actor_name) for entry in entries] == [
        ("update", {"name": "Renamed"}, tenant.administrator.username)
    ]
    assert AuditEntry.objects.filter(object_id=tenant.group.pk).count() == 1


def test_each_level_has_tabs_with_own_urls(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    for row in (tenant.system_provider, tenant.reseller, tenant.group, tenant.user):
        tabs = client.get(url_of(row, "detail")).context["tabs"]
        assert [tab["title"] for tab in tabs][:1] == ["Profile"]
        for tab in tabs:
            assert client.get(tab["url"]).status_code == 200
        assert client.get(url_of(row, "tab", "nonsense")).status_code == 404


def test_a_tab_lists_the_branch_below_and_nothing_else(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    rows = client.get(url_of(tenant.other_reseller, "tab", "users")).context["cl"].result_list
    assert [row.pk for row in rows] == [tenant.other_user.pk]
    found = client.get(url_of(tenant.reseller, "tab", "groups"), {"q": "acme w"}).context["cl"].result_list
    assert [row.pk for row in found] == [tenant.group.pk]


def test_deleting_first_says_what_is_lost(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    asked = client.get(url_of(tenant.other_user, "delete"))
    assert "cannot be undone" in asked.content.decode()
    assert EndUser.objects.filter(pk=tenant.other_user.pk).exists()
    assert client.post(url_of(tenant.other_user, "delete")).status_code == 302
    assert not EndUser.objects.filter(pk=tenant.other_user.pk).exists()


def test_what_a_service_refuses_is_told_and_nothing_is_lost(tenant: Tenant) -> None:
    client = browser(tenant.administrator)
    response = client.post(url_of(tenant.reseller, "delete"), follow=True)
    assert "still in use" in response.content.decode()
    assert Reseller.objects.filter(pk=tenant.reseller.pk).exists()
