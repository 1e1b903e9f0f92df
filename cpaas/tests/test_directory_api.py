"""`directory/`, `contacts/` and the upload of Outlook contacts (contracts section 4, Directories)."""

from __future__ import annotations

from typing import Any

import pytest

from cpaas.tests.factories import CpaasNumberFactory
from portal.directory.models import Contact
from portal.directory.tests.factories import DirectoryFactory, make_contact
from portal.models import EndUser
from portal.services import users
from portal.tests.factories import EndUserFactory, GroupFactory, device_token
from portal.tests.tenants import Tenant
from portal.tests.test_api_conventions import problem

pytestmark = pytest.mark.core
BASE = "/api/v1/"
ADA = {"name": "Ada Lovelace", "company": "Engines", "numbers": [{"number": "(202) 555-0123", "type": "mobile"}]}


@pytest.fixture
def client(api: Any, tenant: Tenant) -> Any:
    return api(tenant.device_token)


def names(response: Any) -> list[str]:
    assert response.status_code == 200, response.json()
    return [row["name"] for row in response.json()["results"]]


class TestPersonalContacts:
    def test_s1_40_a_number_becomes_a_personal_contact(self, client: Any) -> None:
        made = client.post(f"{BASE}contacts/", ADA)
        assert made.status_code == 201
        assert made.json() == {
            "id": made.json()["id"],
            "source": "personal",
            "kind": "contact",
            "name": "Ada Lovelace",
            "company": "Engines",
            "numbers": [{"number": "+12025550123", "national": "2025550123", "type": "mobile", "can_sms": True}],
            "sip_uri": None,
            "jid": None,
            "user": None,
            "can_im": False,
            "url": None,
        }
        assert client.get(f"{BASE}contacts/{made.json()['id']}/").json() == made.json()
        assert client.get(f"{BASE}contacts/").json()["results"] == [made.json()]
        assert client.get(f"{BASE}directory/?q=lovel").json()["results"] == [made.json()]

    def test_the_same_number_again_is_the_contact_that_exists(self, client: Any) -> None:
        first = client.post(f"{BASE}contacts/", ADA).json()
        again = client.post(f"{BASE}contacts/", {"name": "A. L.", "numbers": [{"number": "+1 202 555 0123"}]})
        assert problem(again, 409, "contact_exists")["contact"] == first["id"]
        assert client.post(f"{BASE}contacts/", {"name": "Nobody"}).status_code == 201
        problem(client.post(f"{BASE}contacts/", {"name": "Nobody"}), 409, "contact_exists")

    def test_changes_and_removal(self, client: Any) -> None:
        url = f"{BASE}contacts/{client.post(f'{BASE}contacts/', ADA).json()['id']}/"
        changed = client.patch(url, {"name": "Ada King", "numbers": [{"number": "4711", "type": "extension"}]})
        assert (changed.json()["name"], changed.json()["company"]) == ("Ada King", "Engines")
        assert changed.json()["numbers"] == [
            {"number": "4711", "national": "4711", "type": "extension", "can_sms": False}
        ]
        assert names(client.get(f"{BASE}directory/?q=lovelace")) == []
        assert names(client.get(f"{BASE}directory/?q=king")) == ["Ada King"]
        assert client.delete(url).status_code == 204
        problem(client.get(url), 404, "not_found")

    @pytest.mark.parametrize(
        ("changes", "field"),
        [({"name": " "}, "name"), ({"numbers": [{"number": "911"}]}, "numbers"), ({"colour": "red"}, "colour"),
         ({"numbers": [{"number": "12"}]}, "numbers"), ({"numbers": ["+12025550123"]}, "numbers"),
         ({"name": "x" * 201}, "name"), ({"numbers": [{"number": "+12025550123", "type": "fax"}]}, "numbers")],
    )  # fmt: skip
    def test_what_is_wrong_is_named(self, client: Any, changes: Any, field: str) -> None:
        answer = problem(client.post(f"{BASE}contacts/", ADA | changes), 400, "invalid")
        assert any(name.startswith(field) for name in answer["errors"])

    def test_a_strangers_contact_is_not_there(self, api: Any, tenant: Tenant) -> None:
        contact = make_contact(tenant.colleague, "Secret Friend", "+12025550123")
        client = api(tenant.device_token)
        for method in (client.get, client.delete):
            problem(method(f"{BASE}contacts/{contact.pk}/"), 404, "not_found")
        problem(client.patch(f"{BASE}contacts/{contact.pk}/", {"name": "Mine"}), 404, "not_found")
        assert names(client.get(f"{BASE}directory/?q=secret")) == []
        assert names(client.get(f"{BASE}directory/?number=%2B12025550123")) == []


class TestOutlook:
    def put(self, client: Any, *contacts: Any, **more: Any) -> Any:
        return client.put(f"{BASE}directory/sources/outlook/", {"contacts": list(contacts), "complete": True, **more})

    def test_s1_31_the_client_uploads_what_it_reads(self, client: Any) -> None:
        ada = {"key": "a", **ADA, "numbers": [{"number": "2025550123", "type": "mobile"}, {"number": "soon"}]}
        bob = {"key": "b", "name": "Bob", "numbers": [{"number": "+442079460000", "type": "work"}]}
        answer = self.put(client, ada, bob)
        assert answer.status_code == 200
        assert answer.json() == {"contacts": 2, "added": 2, "changed": 0, "unchanged": 0, "removed": 0,
                                 "skipped": [{"key": "a", "number": "soon"}]}  # fmt: skip
        [found] = client.get(f"{BASE}directory/?source=outlook&q=ada").json()["results"]
        assert (found["source"], found["numbers"][0]["type"]) == ("outlook", "mobile")
        answer = self.put(client, {**bob, "name": "Bobby"})
        assert answer.json() == {"contacts": 1, "added": 0, "changed": 1, "unchanged": 0, "removed": 1, "skipped": []}
        assert names(client.get(f"{BASE}directory/?source=outlook")) == ["Bobby"]
        assert self.put(client, {**bob, "name": "Bobby"}).json()["unchanged"] == 1

    def test_in_parts(self, client: Any) -> None:
        self.put(client, {"key": "a", "name": "Ann"})
        answer = self.put(client, {"key": "b", "name": "Ben"}, complete=False)
        assert (answer.json()["contacts"], answer.json()["removed"]) == (2, 0)

    def test_for_this_user_only(self, api: Any, tenant: Tenant) -> None:
        self.put(api(tenant.device_token), {"key": "a", **ADA})
        assert names(api(device_token(tenant.colleague)).get(f"{BASE}directory/?q=ada")) == []

    def test_a_key_comes_once(self, client: Any) -> None:
        problem(self.put(client, {"key": "a", "name": "A"}, {"key": "a", "name": "B"}), 400, "invalid")
        assert not Contact.objects.exists()

    def test_at_most_5000(self, client: Any) -> None:
        many = [
            {"key": str(n), "name": f"Contact {n}", "numbers": [{"number": f"+1202555{n:04d}"}]} for n in range(5001)
        ]
        problem(self.put(client, *many), 400, "invalid")
        assert self.put(client, *many[:5000]).json()["contacts"] == 5000


class TestMerged:
    def test_s1_35_all_directories_by_name(self, api: Any, client: Any, tenant: Tenant) -> None:
        make_contact(tenant.user, "Mona", "+12025550101")
        make_contact(tenant.user, "Nora", "+12025550102", source="outlook")
        make_contact(DirectoryFactory(group=tenant.group), "Olga (Sample)", "+12025550103", kind="lead")
        provider = {"group": None, "system_provider": tenant.system_provider, "kind": "csv"}
        make_contact(DirectoryFactory(**provider), "Paul", "+12025550104")
        make_contact(DirectoryFactory(group=tenant.group, kind="csv"), "Quinn", "+12025550105")
        make_contact(DirectoryFactory(group=tenant.other_group), "Stranger", "+12025550106")
        found = client.get(f"{BASE}directory/").json()["results"]
        assert [(row["name"], row["source"]) for row in found] == [
            ("Acme colleague", "group"),
            ("Mona", "personal"),
            ("Nora", "outlook"),
            ("Olga (Sample)", "crm"),
            ("Paul", "enterprise"),
            ("Quinn", "group"),
        ]
        assert found[0]["user"] == str(tenant.colleague.pk)
        assert (found[0]["can_im"], found[1]["can_im"]) == (True, False)
        assert names(client.get(f"{BASE}directory/?source=broadworks")) == ["Acme colleague", "Paul", "Quinn"]
        assert names(client.get(f"{BASE}directory/?source=enterprise")) == ["Paul"]
        assert names(client.get(f"{BASE}directory/?source=ldap")) == []
        problem(client.get(f"{BASE}directory/?source=phonebook"), 400, "invalid")

    def test_pages_there_and_back(self, client: Any, tenant: Tenant) -> None:
        crm = DirectoryFactory(group=tenant.group)
        for n in range(7):
            make_contact(crm, f"same name {n // 3}")
            EndUserFactory(group=tenant.group, name=f"Same Name {n // 2}")
        everybody = names(client.get(f"{BASE}directory/"))
        assert len(everybody) == 15
        seen, url = [], f"{BASE}directory/?limit=4"
        pages = []
        while url:
            page = client.get(url).json()
            pages.append(page)
            seen += [row["id"] for row in page["results"]]
            url = page["next"] and f"{BASE}directory/?limit=4&cursor={page['next']}"
        assert len(set(seen)) == len(seen) == 15
        assert pages[0]["previous"] is None
        back = client.get(f"{BASE}directory/?limit=4&cursor={pages[2]['previous']}").json()
        assert back["results"] == pages[1]["results"]
        problem(client.get(f"{BASE}directory/?cursor=nonsense"), 400, "invalid_cursor")
        problem(client.get(f"{BASE}directory/?q=same&cursor={pages[0]['next']}"), 400, "invalid_cursor")

    @pytest.mark.parametrize(
        "query", ["mer", "james", "MERCED j", "sample zo", "josé", "jose", "703608", "(703) 608-9795", "9795",
                  "+1 703 608 9795", "0017036089795"]
    )  # fmt: skip
    def test_found_by(self, client: Any, tenant: Tenant, query: str) -> None:
        crm = DirectoryFactory(group=tenant.group)
        make_contact(crm, "Mr. James José Merced (Sample)", "+17036089795", company="Zoho")
        make_contact(crm, "Somebody Else", "+12025550123")
        assert names(client.get(f"{BASE}directory/", {"q": query})) == ["Mr. James José Merced (Sample)"]

    @pytest.mark.parametrize("query", ["colleague", "acme coll", "2025550", "5550188", "4711"])
    def test_colleagues_found_by(self, client: Any, tenant: Tenant, query: str) -> None:
        changes = {"mobile": "+12025550188", "extension": "4711"}
        users.update_user(actor=None, user=tenant.colleague, changes=changes)
        assert names(client.get(f"{BASE}directory/", {"q": query})) == ["Acme colleague"]

    @pytest.mark.parametrize("query", ["%", "_", "'", "*", "\\", "zz%"])
    def test_marks_find_nobody_by_themselves(self, client: Any, tenant: Tenant, query: str) -> None:
        make_contact(tenant.user, "Mona", "+12025550101")
        assert names(client.get(f"{BASE}directory/", {"q": query})) == []

    def test_the_best_match_comes_first(self, client: Any, tenant: Tenant) -> None:
        number = "+12025550123"
        users.update_user(actor=None, user=tenant.colleague, changes={"mobile": number})
        make_contact(DirectoryFactory(group=tenant.group), "From CRM", number)
        make_contact(tenant.user, "From Outlook", number, source="outlook")
        make_contact(tenant.user, "My Own", number)
        found = client.get(f"{BASE}directory/", {"number": "(202) 555-0123"}).json()["results"]
        assert [row["source"] for row in found] == ["personal", "outlook", "crm", "group"]
        problem(client.get(f"{BASE}directory/", {"number": "+1999"}), 400, "invalid")

    def test_a_colleague_by_the_cpaas_number(self, client: Any, tenant: Tenant) -> None:
        number = CpaasNumberFactory(user=tenant.colleague)
        [found] = client.get(f"{BASE}directory/", {"number": number.number}).json()["results"]
        assert found["user"] == str(tenant.colleague.pk)
        assert found["numbers"] == [
            {"number": number.number, "national": number.national, "type": "work", "can_sms": True}
        ]

    @pytest.mark.parametrize("words", ["José", "josé núñez", "Anne-Marie", "o'neil", "Marie", "núñez, josé"])
    def test_a_colleague_by_the_name_as_it_is_written(self, client: Any, tenant: Tenant, words: str) -> None:
        name = "José Anne-Marie O'Neil Núñez"
        EndUserFactory(group=tenant.group, name=name)
        assert names(client.get(f"{BASE}directory/", {"q": words})) == [name]

    def test_r42_groups_of_an_enterprise_know_each_other(self, api: Any, tenant: Tenant) -> None:
        near = GroupFactory(reseller=tenant.reseller, enterprise="Acme Holding")
        far = GroupFactory(reseller=tenant.other_reseller, enterprise="Acme Holding")
        EndUserFactory(group=near, name="Near", mobile="+12025550123")
        EndUserFactory(group=far, name="Far", mobile="+12025550124")
        client = api(tenant.device_token)
        assert names(client.get(f"{BASE}directory/")) == ["Acme colleague"]
        tenant.group.enterprise = "Acme Holding"
        tenant.group.save()
        found = client.get(f"{BASE}directory/").json()["results"]
        assert [(row["name"], row["source"]) for row in found] == [("Acme colleague", "group"), ("Near", "enterprise")]


class TestWhoCanBeTexted:
    @pytest.fixture(autouse=True)
    def _contacts(self, tenant: Tenant) -> None:
        users.update_user(actor=None, user=tenant.colleague, changes={"mobile": "+12025550101", "extension": "4711"})
        make_contact(tenant.user, "Personal", "+12025550102 mobile")
        make_contact(tenant.user, "Outlook", "+12025550103 mobile", "+12025550104 work", source="outlook")
        make_contact(DirectoryFactory(group=tenant.group), "CRM", "+12025550105 mobile", "+12025550106 work")
        make_contact(DirectoryFactory(group=tenant.group, kind="csv"), "List", "+12025550107 mobile")

    def can_sms(self, client: Any) -> dict[str, bool]:
        rows = client.get(f"{BASE}directory/").json()["results"]
        return {number["number"][-4:]: number["can_sms"] for row in rows for number in row["numbers"]}

    def test_s1_13_any_number_but_extensions(self, client: Any) -> None:
        assert self.can_sms(client) == {f"010{n}": True for n in range(1, 8)} | {"4711": False}

    def test_s1_14_only_known_mobiles(self, client: Any, tenant: Tenant) -> None:
        users.update_settings(user=tenant.user, changes={"allow_any_number": False})
        known = {"0101", "0103", "0105"}
        assert {digits for digits, may in self.can_sms(client).items() if may} == known

    def test_s1_14_the_server_enforces_it(self, client: Any, tenant: Tenant) -> None:
        users.update_settings(user=tenant.user, changes={"allow_any_number": False})
        CpaasNumberFactory(user=tenant.user)
        sent = {n: client.post(f"{BASE}messages/", {"to": f"202555010{n}", "text": "Hi"}) for n in range(1, 8)}
        assert {n for n, answer in sent.items() if answer.status_code == 202} == {1, 3, 5}
        problem(sent[2], 409, "not_a_known_mobile")


def test_deleted_with_the_user(tenant: Tenant) -> None:
    make_contact(tenant.user, "Mona", "+12025550101")
    EndUser.objects.get(pk=tenant.user.pk).delete()
    assert not Contact.objects.exists()
