"""Directories on the staff site (S1.35, R9)."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from portal.directory.models import Contact, Directory
from portal.directory.tests.factories import DirectoryFactory
from portal.models import PortalAccount
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.tenants import Tenant

pytestmark = pytest.mark.core
LDAP = {
    "kind": "ldap",
    "name": "People",
    "ldap-host": "ldap.example.com",
    "ldap-port": "0",
    "ldap-security": "tls",
    "ldap-base_dn": "dc=example",
    "ldap-bind_dn": "cn=reader",
    "ldap-password": "reader-password-4321",
    "ldap-filter": "(objectClass=person)",
    "ldap-name_attribute": "displayName",
}


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = True


def text_of(page: Any) -> str:
    return page.content.decode()


def test_an_ldap_server_for_all_users_of_the_provider(tenant: Tenant) -> None:
    answer = browser(tenant.administrator).post(list_of(Directory, "add"), LDAP)
    assert answer.status_code == 302, answer.context["form"].errors
    directory = Directory.objects.get()
    assert (directory.system_provider, directory.group) == (tenant.system_provider, None)
    assert directory.settings["name_attribute"] == "displayName"
    assert directory.secrets == {"password": "reader-password-4321"}
    page = text_of(browser(tenant.administrator).get(url_of(directory, "detail")))
    assert "••••4321" in page
    assert "reader-password" not in page
    assert "Not tried yet" in page


def test_a_list_of_a_group_by_its_own_staff(tenant: Tenant) -> None:
    staff = tenant.accounts["group", "administrator"]
    form = browser(staff).get(list_of(Directory, "add")).context["form"]
    assert "system_provider" not in form.fields
    sent = {"kind": "csv", "name": "Phone list", "group": str(tenant.group.pk)}
    assert browser(staff).post(list_of(Directory, "add"), sent).status_code == 302
    assert Directory.objects.get().group == tenant.group
    refused = browser(staff).post(list_of(Directory, "add"), {**sent, "group": ""})
    assert "group" in refused.context["form"].errors


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"ldap-host": ""}, "ldap-host"), ({"ldap-filter": "x"}, "ldap-filter"), ({"ldap-password": ""}, "ldap-password")],
)
def test_a_refusal_stands_at_its_field(tenant: Tenant, changes: dict[str, str], field: str) -> None:
    answer = browser(tenant.administrator).post(list_of(Directory, "add"), {**LDAP, **changes})
    assert field in answer.context["form"].errors
    assert not Directory.objects.exists()


def test_an_operator_says_for_whom(operator: PortalAccount, tenant: Tenant) -> None:
    answer = browser(operator).post(list_of(Directory, "add"), {"kind": "csv", "name": "List"})
    assert "group" in answer.context["form"].errors
    sent = {"kind": "csv", "name": "List", "system_provider": str(tenant.system_provider.pk)}
    assert browser(operator).post(list_of(Directory, "add"), sent).status_code == 302


def test_r9_a_blank_password_is_kept(tenant: Tenant) -> None:
    browser(tenant.administrator).post(list_of(Directory, "add"), LDAP)
    directory = Directory.objects.get()
    sent = {name: value for name, value in LDAP.items() if name != "kind"}
    sent |= {"ldap-password": "", "name": "Staff", "ldap-name_attribute": ""}
    answer = browser(tenant.administrator).post(url_of(directory, "change"), sent)
    assert answer.status_code == 302, answer.context["form"].errors
    directory.refresh_from_db()
    assert (directory.name, directory.secrets) == ("Staff", {"password": "reader-password-4321"})
    assert "name_attribute" not in directory.settings


def test_a_file_is_checked_and_imported(tenant: Tenant) -> None:
    directory = DirectoryFactory(group=tenant.group)
    client = browser(tenant.administrator)

    def send(**more: str) -> str:
        file = SimpleUploadedFile("c.csv", b"name,number\nMona,2025550101\nNobody,soon\n")
        return text_of(client.post(url_of(directory, "import"), {"file": file, **more}))

    page = send(dry_run="on")
    assert "What the file would change" in page
    assert "soon is not a valid telephone number" in page or "A telephone number consists" in page
    assert not Contact.objects.exists()
    assert "The file was imported" in send()
    assert [contact.name for contact in Contact.objects.all()] == ["Mona"]
    assert "contacts (1)" in text_of(client.get(url_of(directory, "delete")))


def test_who_may_only_look(tenant: Tenant) -> None:
    directory = DirectoryFactory(group=tenant.group)
    reader = browser(tenant.accounts["group", "read_only"])
    assert "Import contacts" not in text_of(reader.get(url_of(directory, "detail")))
    assert reader.get(url_of(directory, "import")).status_code == 403
    assert reader.get(list_of(Directory, "add")).status_code == 403


def test_its_tab_stands_on_each_level(tenant: Tenant) -> None:
    DirectoryFactory(group=tenant.group, name="Acme CRM")
    for level in ("system_provider", "reseller", "group"):
        row = getattr(tenant, level)
        page = browser(tenant.accounts[level, "administrator"]).get(f"{url_of(row, 'detail')}directories/")
        assert "Acme CRM" in text_of(page)
