"""Provisioning `directories/`: made, changed, tried and filled by staff (contracts section 4, Directories)."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from portal.directory.models import Contact, Directory
from portal.directory.services import importing
from portal.directory.tests.factories import DirectoryFactory, make_contact
from portal.models import AuditEntry
from portal.problems import Problem
from portal.tests.tenants import Tenant
from portal.tests.test_api_conventions import problem

pytestmark = pytest.mark.core
BASE = "/api/v1/provisioning/directories/"
LDAP = {"host": "ldap.example.com", "base_dn": "dc=example", "bind_dn": "cn=reader", "password": "reader-password-4321"}
SQL = {
    "host": "sql.example.com",
    "database": "crm",
    "username": "reader",
    "search_query": "SELECT name FROM c WHERE name LIKE {like}",
    "number_query": "SELECT name FROM c WHERE number = {number}",
}


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = True


@pytest.fixture
def staff(api: Any, tenant: Tenant) -> Any:
    return api(tenant.token)


class TestRows:
    def test_a_directory_of_a_provider(self, staff: Any, tenant: Tenant) -> None:
        body = {"system_provider": str(tenant.system_provider.pk), "kind": "ldap", "name": "People", "settings": LDAP}
        made = staff.post(BASE, body)
        assert made.status_code == 201
        row = made.json()
        assert (row["system_provider"], row["group"]) == (str(tenant.system_provider.pk), None)
        assert row["status"] == {"state": "new", "detail": "", "checked_at": None, "rows": None}
        assert row["settings"]["password"] == "••••4321"
        assert (row["settings"]["security"], row["settings"]["name_attribute"]) == ("tls", "cn")
        assert Directory.objects.get().secrets == {"password": "reader-password-4321"}
        assert staff.get(f"{BASE}{row['id']}/").json() == row
        assert staff.get(f"{BASE}?kind=ldap").json()["results"] == [row]
        assert AuditEntry.objects.get(object_id=row["id"]).after == {"name": "People", "kind": "ldap"}

    def test_a_directory_of_a_group_by_its_own_staff(self, api: Any, tenant: Tenant) -> None:
        group = api(tenant.staff_tokens["group", "administrator"])
        made = group.post(BASE, {"group": str(tenant.group.pk), "kind": "csv", "name": "Phone list"})
        assert (made.status_code, made.json()["status"]["rows"]) == (201, 0)
        of_provider = {"system_provider": str(tenant.system_provider.pk), "kind": "csv", "name": "x"}
        problem(group.post(BASE, of_provider), 404, "not_found")
        reader = api(tenant.staff_tokens["group", "read_only"])
        problem(reader.delete(f"{BASE}{made.json()['id']}/"), 403, "read_only")

    def test_blank_secrets_are_kept_and_null_goes_back(self, staff: Any, tenant: Tenant) -> None:
        made = staff.post(BASE, {"group": str(tenant.group.pk), "kind": "ldap", "name": "A", "settings": LDAP}).json()
        url = f"{BASE}{made['id']}/"
        changed = staff.patch(url, {"name": "B", "settings": {"password": "", "filter": "(a=b)"}}).json()
        assert (changed["name"], changed["settings"]["filter"]) == ("B", "(a=b)")
        assert Directory.objects.get().secrets == {"password": "reader-password-4321"}
        assert staff.patch(url, {"settings": {"filter": None}}).json()["settings"]["filter"] == "(objectClass=person)"
        shown = AuditEntry.objects.filter(object_id=made["id"]).values_list("after", flat=True)
        assert "reader-password" not in str(list(shown))

    def test_r9_a_kept_password_is_not_sent_to_another_server(self, staff: Any, tenant: Tenant) -> None:
        made = staff.post(BASE, {"group": str(tenant.group.pk), "kind": "ldap", "name": "A", "settings": LDAP}).json()
        moved = staff.patch(f"{BASE}{made['id']}/", {"settings": {"host": "evil.example.com"}})
        assert list(problem(moved, 400, "invalid")["errors"]) == ["settings.password"]
        given = {"host": "other.example.com", "password": "another-password-1"}
        assert staff.patch(f"{BASE}{made['id']}/", {"settings": given}).status_code == 200

    @pytest.mark.parametrize(
        ("kind", "given", "field"),
        [("ldap", {**LDAP, "base_dn": ""}, "base_dn"), ("ldap", {**LDAP, "colour": "x"}, "colour"),
         ("ldap", {**LDAP, "host": "ldap://x"}, "host"), ("ldap", {**LDAP, "port": "636"}, "port"),
         ("ldap", {**LDAP, "security": "maybe"}, "security"), ("ldap", {**LDAP, "filter": "x"}, "filter"),
         ("ldap", {**LDAP, "password": None}, "password"), ("csv", {"host": "x"}, "host"),
         ("sql", {**SQL, "search_query": "DROP TABLE x"}, "search_query"),
         ("sql", {**SQL, "number_query": "SELECT 1; SELECT {number}"}, "number_query")],
    )  # fmt: skip
    def test_what_is_wrong_is_named(
        self, staff: Any, tenant: Tenant, kind: str, given: dict[str, Any], field: str
    ) -> None:
        body = {"group": str(tenant.group.pk), "kind": kind, "name": "A", "settings": given}
        assert f"settings.{field}" in problem(staff.post(BASE, body), 400, "invalid")["errors"]
        assert not Directory.objects.exists()

    def test_private_addresses_are_refused(self, staff: Any, tenant: Tenant, settings: Any) -> None:
        settings.PORTAL_ALLOW_PRIVATE_URLS = False
        body = {"group": str(tenant.group.pk), "kind": "ldap", "name": "A", "settings": {**LDAP, "host": "127.0.0.1"}}
        assert list(problem(staff.post(BASE, body), 400, "invalid")["errors"]) == ["settings.host"]

    def test_one_owner(self, staff: Any, tenant: Tenant) -> None:
        both = {"group": str(tenant.group.pk), "system_provider": str(tenant.system_provider.pk)}
        for owner in ({}, both):
            problem(staff.post(BASE, {**owner, "kind": "csv", "name": "A"}), 400, "invalid")

    def test_strangers(self, api: Any, two_tenants: tuple[Tenant, Tenant]) -> None:
        acme, zenith = two_tenants
        theirs = DirectoryFactory(group=zenith.group)
        client = api(acme.token)
        problem(client.get(f"{BASE}{theirs.pk}/"), 404, "not_found")
        problem(client.post(f"{BASE}{theirs.pk}/test/"), 404, "not_found")
        problem(client.post(f"{BASE}{theirs.pk}/import/", b"name\nX", content_type="text/csv"), 404, "not_found")
        problem(client.post(BASE, {"group": str(zenith.group.pk), "kind": "csv", "name": "A"}), 404, "not_found")

    def test_deleted_with_its_contacts(self, staff: Any, tenant: Tenant) -> None:
        directory = DirectoryFactory(group=tenant.group)
        make_contact(directory, "Mona", "+12025550101")
        assert staff.delete(f"{BASE}{directory.pk}/").status_code == 204
        assert not Contact.objects.exists()


CSV = """key,kind,name,company,number,type,url
1,lead,Mr. James Merced (Sample),Zoho,(703) 608-9795,mobile,https://crm.example/1
1,lead,Mr. James Merced (Sample),Zoho,7036089796,work,https://crm.example/1
2,account,Engines Ltd,,+44 20 7946 0000,,
"""


class TestImport:
    def put(self, staff: Any, directory: Directory, text: str | bytes, query: str = "") -> Any:
        content = text.encode() if isinstance(text, str) else text
        return staff.post(f"{BASE}{directory.pk}/import/{query}", content, content_type="text/csv")

    def names(self, directory: Directory) -> list[str]:
        return list(Contact.objects.filter(directory=directory).order_by("name").values_list("name", flat=True))

    def test_s1_32_contacts_leads_and_accounts(self, api: Any, staff: Any, tenant: Tenant) -> None:
        directory = DirectoryFactory(group=tenant.group)
        dry = self.put(staff, directory, CSV, "?dry_run=1").json()
        expected = {"rows": 3, "contacts": 2, "added": 2, "changed": 0, "unchanged": 0, "removed": 0, "errors": [],
                    "error_count": 0}  # fmt: skip
        assert dry == {"dry_run": True, **expected}
        assert self.names(directory) == []
        assert self.put(staff, directory, CSV).json() == {"dry_run": False, **expected}
        again = self.put(staff, directory, CSV).json()
        assert (again["added"], again["unchanged"]) == (0, 2)
        status = staff.get(f"{BASE}{directory.pk}/").json()["status"]
        assert (status["state"], status["rows"]) == ("loaded", 2)
        [found] = api(tenant.device_token).get("/api/v1/directory/?q=merced").json()["results"]
        assert (found["source"], found["kind"], found["url"]) == ("crm", "lead", "https://crm.example/1")
        numbers = [(number["number"], number["type"]) for number in found["numbers"]]
        assert numbers == [("+17036089795", "mobile"), ("+17036089796", "work")]

    def test_the_file_is_the_directory(self, staff: Any, tenant: Tenant) -> None:
        directory = DirectoryFactory(group=tenant.group)
        self.put(staff, directory, CSV)
        dry = self.put(staff, directory, "name,number\nNew One,2025550123\n", "?dry_run=1").json()
        assert (dry["added"], dry["removed"]) == (1, 2)
        assert self.put(staff, directory, "name,number\nNew One,2025550123\n").json()["removed"] == 2
        assert self.names(directory) == ["New One"]

    def test_of_two_files_at_once_not_both_remove_the_others_contacts(
        self, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The other one comes between the storing and the removing of the first."""
        directory = DirectoryFactory(group=tenant.group)
        lock, locked = importing._lock, []

        def let_another_go_first(row: Directory) -> Directory:
            locked.append(row)
            if len(locked) == 2:
                importing.import_contacts(actor=None, directory=row, content=b"name\nOther\n")
            return lock(row)

        monkeypatch.setattr(importing, "_lock", let_another_go_first)
        with pytest.raises(Problem) as refused:
            importing.import_contacts(actor=None, directory=directory, content=b"name\nMine\n")
        assert refused.value.code == "changed_meanwhile"

    def test_rows_with_faults_are_reported_and_left_out(self, staff: Any, tenant: Tenant) -> None:
        directory = DirectoryFactory(group=tenant.group)
        text = "key,name,number,type,kind,url\n" + "\n".join(
            ["1,Good,2025550123,mobile,,", "2,,2025550124,,,", "3,Soon,soon,,,", "4,Fax,2025550125,fax,,",
             "5,Kind,,,enemy,", "6,Url,,,,javascript:alert(1)", "1,Other,2025550126,,,", f"7,{'x' * 201},,,,"]
        )  # fmt: skip
        report = self.put(staff, directory, text).json()
        faults = [(fault["row"], fault["field"]) for fault in report["errors"]]
        assert faults == [(3, "name"), (4, "number"), (5, "type"), (6, "kind"), (7, "url"), (8, "key"), (9, "name")]
        assert (report["contacts"], report["error_count"]) == (1, 7)
        assert self.names(directory) == ["Good"]

    def test_semicolons_and_a_byte_order_mark(self, staff: Any, tenant: Tenant) -> None:
        directory = DirectoryFactory(group=tenant.group)
        self.put(staff, directory, "\ufeffname;company\r\nMüller;A, B\r\n")
        assert self.names(directory) == ["Müller"]

    def test_as_a_form(self, staff: Any, tenant: Tenant) -> None:
        directory = DirectoryFactory(group=tenant.group)
        file = SimpleUploadedFile("contacts.csv", CSV.encode())
        answer = staff.post(f"{BASE}{directory.pk}/import/", {"file": file}, format="multipart")
        assert answer.json()["added"] == 2

    @pytest.mark.parametrize(
        "content", [b"", b"\xff\xfe", b"a,b\n1,2", b"name,name\nx,y", b"company\nx", b'name\n"open', b"name\n\x00"]
    )
    def test_a_file_that_is_none(self, staff: Any, tenant: Tenant, content: bytes) -> None:
        directory = DirectoryFactory(group=tenant.group)
        answer = self.put(staff, directory, content)
        if content == b'name\n"open':  # an open quote is a name to its end
            assert answer.status_code == 200
        else:
            problem(answer, 400, "invalid")

    def test_a_server_is_not_filled(self, staff: Any, tenant: Tenant) -> None:
        problem(self.put(staff, DirectoryFactory(group=tenant.group, kind="ldap"), CSV), 409, "not_importable")

    def test_another_kind_of_body(self, staff: Any, tenant: Tenant) -> None:
        directory = DirectoryFactory(group=tenant.group)
        problem(staff.post(f"{BASE}{directory.pk}/import/", {}, format="json"), 415, "unsupported_media_type")
