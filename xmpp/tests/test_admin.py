"""IM&P on the staff site: a user's additional information, the connection, the import (S0.6-S0.10, S0.24)."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.models import EndUser, SystemProvider
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.factories import PortalAccountFactory
from portal.tests.tenants import Tenant, make_tenant
from tests.sandbox_process import BroadworksControl
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.tests.factories import BroadworksConnectionFactory
from xmpp.tests.switching import switch_service

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme(transactional_db: None) -> Tenant:
    tenant = make_tenant("Acme")
    SystemProvider.objects.update(auto_generate_xmpp_password=False)
    return tenant


@pytest.fixture
def staff(acme: Tenant) -> Client:
    return browser(acme.administrator)


@pytest.fixture
def connected(acme: Tenant, broadworks: BroadworksControl) -> BroadworksConnection:
    broadworks.put_user(acme.user.login, imp={"assigned": False, "active": False})
    return BroadworksConnectionFactory(
        system_provider=acme.system_provider,
        host="127.0.0.1",
        port=broadworks.oci_port,
        username=broadworks.username,
        password=broadworks.password,
        imp_domain=broadworks.imp_domain,
    )


def page_of(user: EndUser) -> str:
    return reverse("admin:portal_enduser_detail", args=[user.pk])


def imp_url(user: EndUser) -> str:
    return reverse("admin:user_imp", args=[user.pk])


def shown(answer: Any) -> str:
    return answer.content.decode()


def test_the_section_switches_the_service_and_shows_the_id(acme, staff, connected, broadworks):
    """S0.6-S0.8: nothing of the ID before, ID and password fields after."""
    page = shown(staff.get(page_of(acme.user)))
    assert "Additional Information" in page
    assert "IM&amp;P ID" not in page
    assert "Re-type IM&amp;P Password" not in page
    answer = staff.post(imp_url(acme.user), {"assigned": "on", "enabled": "on"}, follow=True)
    page = shown(answer)
    assert f"user@{broadworks.imp_domain}" in page
    assert 'type="password"' in page
    assert "Re-type IM&amp;P Password" in page
    assert broadworks.user(acme.user.login)["imp"]["active"] is True


def test_a_password_is_set_once_both_are_the_same(acme, staff, connected, broadworks):
    """Masked, retyped, told to BroadWorks, and on no page."""
    switch_service(acme.user, {"assigned": True, "enabled": True})
    on = {"assigned": "on", "enabled": "on"}
    wrong = staff.post(imp_url(acme.user), {**on, "password": "one two three", "retype": "another"})
    assert "The two passwords are not the same." in shown(wrong)
    assert "one two three" not in shown(wrong)
    assert broadworks.user(acme.user.login)["imp_password"] is None
    right = staff.post(imp_url(acme.user), {**on, "password": "one two three", "retype": "one two three"}, follow=True)
    assert "one two three" not in shown(right)
    assert broadworks.user(acme.user.login)["imp_password"] == "one two three"


def test_where_passwords_are_generated_the_fields_are_absent(acme, staff, connected, broadworks):
    """S0.24: staff may only generate anew."""
    switch_service(acme.user, {"assigned": True, "enabled": True})
    SystemProvider.objects.update(auto_generate_xmpp_password=True)
    page = shown(staff.get(page_of(acme.user)))
    assert "Re-type IM&amp;P Password" not in page
    assert "Generate anew" in page
    url = reverse("admin:user_imp_generate", args=[acme.user.pk])
    assert staff.get(url).status_code == 405
    assert "has a new IM&amp;P password" in shown(staff.post(url, follow=True))
    account = ImpAccount.objects.get()
    assert broadworks.user(acme.user.login)["imp_password"] == account.password
    broadworks.settings(state="refusing")
    assert "could not be reached" in shown(staff.post(url, follow=True))


def test_who_may_only_look_sees_no_form(acme, connected):
    reader = browser(PortalAccountFactory(scope=acme.system_provider, role="read_only"))
    page = shown(reader.get(page_of(acme.user)))
    assert "Integrated IM&amp;P is not assigned" in page
    assert reader.post(imp_url(acme.user), {"assigned": "on"}).status_code == 403
    assert reader.get(reverse("admin:broadworks_edit", args=[acme.system_provider.pk])).status_code == 403


def test_strangers_find_nothing(acme, connected):
    stranger = browser(make_tenant("Zenith").administrator)
    assert stranger.post(imp_url(acme.user), {"assigned": "on"}).status_code == 404
    for name in ("edit", "import", "delete"):
        assert stranger.get(reverse(f"admin:broadworks_{name}", args=[acme.system_provider.pk])).status_code == 404
    group = browser(acme.accounts["group", "administrator"])
    assert group.get(reverse("admin:broadworks_edit", args=[acme.system_provider.pk])).status_code == 404


def test_connecting_testing_and_deleting(acme, staff, broadworks):
    """The page asks BroadWorks before it saves; the password is stored and shown masked only."""
    url = reverse("admin:broadworks_edit", args=[acme.system_provider.pk])
    home = reverse("admin:portal_systemprovider_detail", args=[acme.system_provider.pk])
    assert "Connect BroadWorks" in shown(staff.get(home))
    data = {"host": "127.0.0.1", "port": broadworks.oci_port, "transport": "tcp", "username": broadworks.username}
    data |= {
        "password": "not the right one",
        "xmpp_port": 5222,
        "soap_path": "/webservice/services/ProvisioningService",
    }
    assert "refused the login" in shown(staff.post(url, data))
    answer = shown(staff.post(url, {**data, "password": broadworks.password}, follow=True))
    assert broadworks.imp_domain in answer
    assert broadworks.password not in shown(staff.get(url))
    kept = shown(staff.post(url, {**data, "password": "", "imp_domain": broadworks.imp_domain}, follow=True))
    assert "was saved" in kept
    broadworks.settings(state="refusing")
    test = reverse("admin:broadworks_test", args=[acme.system_provider.pk])
    assert "refused the connection" in shown(staff.post(test, follow=True))
    assert "BroadWorks failed" in shown(staff.get(reverse("admin:index")))
    delete = reverse("admin:broadworks_delete", args=[acme.system_provider.pk])
    assert "all XMPP sessions" in shown(staff.get(delete))
    assert "Connect BroadWorks" in shown(staff.post(delete, follow=True))


def test_all_connections_are_found_in_the_navigation(acme, staff, connected, operator):
    """The operator sees every system provider's, each of those its own with a way to make one; others no entry."""
    zenith = make_tenant("Zenith")
    listed = list_of(BroadworksConnection)
    page = shown(browser(operator).get(listed))
    assert listed in shown(browser(operator).get(reverse("admin:index")))
    assert str(acme.system_provider) in page
    assert connected.imp_domain in page
    own = shown(staff.get(listed))
    assert reverse("admin:broadworks_edit", args=[acme.system_provider.pk]) not in own, "there is one already"
    stranger = browser(zenith.administrator)
    page = shown(stranger.get(listed))
    assert connected.imp_domain not in page
    assert reverse("admin:broadworks_edit", args=[zenith.system_provider.pk]) in page
    assert stranger.get(url_of(connected, "detail")).status_code == 404
    group = browser(acme.accounts["group", "administrator"])
    assert listed not in shown(group.get(reverse("admin:index")))


def test_a_connections_page_leads_to_all_that_can_be_done(acme, staff, connected):
    """Edit, Test, Import users and Delete; to who may only look just the state. The password is masked."""
    page = shown(staff.get(url_of(connected, "detail")))
    for name in ("edit", "test", "import", "delete"):
        assert reverse(f"admin:broadworks_{name}", args=[acme.system_provider.pk]) in page
    assert connected.password not in page
    reader = browser(PortalAccountFactory(scope=acme.system_provider, role="read_only"))
    page = shown(reader.get(url_of(connected, "detail")))
    assert connected.imp_domain in page
    assert reverse("admin:broadworks_edit", args=[acme.system_provider.pk]) not in page


def test_a_wrong_password_changes_no_service_either(acme, staff, connected, broadworks):
    """The form is one change: what it says was wrong leaves the rest as it was."""
    switch_service(acme.user, {"assigned": True, "enabled": True})
    sent = {"assigned": "on", "password": "one two three", "retype": "another"}
    staff.post(imp_url(acme.user), sent)
    assert ImpAccount.objects.get().enabled
    assert broadworks.user(acme.user.login)["imp"]["active"] is True


def test_importing_users(acme, staff, connected, broadworks):
    """First what would change, then the change; only groups of the provider can be chosen."""
    broadworks.put_user("new@acme.example", first_name="New", last_name="Person")
    url = reverse("admin:broadworks_import", args=[acme.system_provider.pk])
    data = {"service_provider": "sandbox", "broadworks_group": "sandbox", "group": acme.group.pk, "licence": "none"}
    page = shown(staff.post(url, {**data, "dry_run": "on"}))
    assert "What would change" in page
    assert "New Person" in page
    assert not EndUser.objects.filter(login="new@acme.example").exists()
    assert "The users were imported" in shown(staff.post(url, data))
    assert EndUser.objects.get(login="new@acme.example").name == "New Person"
    foreign = make_tenant("Zenith").group
    assert "The users were imported" not in shown(staff.post(url, {**data, "group": foreign.pk}))
