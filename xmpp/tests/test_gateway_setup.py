"""Setting the SMS gateway up: the API, the staff page, its Test button, and what it says of its connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from portal.models import AuditEntry, PortalAccount
from portal.residents.database import close_database_threads
from portal.tests.residents import eventually, hosting
from portal.tests.tenants import Tenant
from tests.prosody import Prosody
from xmpp.gateway import SmsGatewayResident
from xmpp.models import SmsGateway

URL = "/api/v1/provisioning/sms-gateways/"
SECRET = "component-secret-one"

pytestmark = pytest.mark.django_db


@pytest.fixture
def values(tenant: Tenant) -> dict[str, Any]:
    return {
        "system_provider": str(tenant.system_provider.pk),
        "domain": "SMS.im.example",
        "host": "127.0.0.1",
        "port": 5347,
        "secret": SECRET,
    }


@pytest.fixture(autouse=True)
def _private(settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = True


def test_its_id_is_the_system_providers_and_its_secret_is_never_shown(tenant, api, values) -> None:
    """Contracts section 6; R9."""
    answer = api(tenant.administrator).post(URL, values, format="json")
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert made["id"] == values["system_provider"]
    assert (made["domain"], made["secret"]) == ("sms.im.example", "••••-one")
    assert made["status"] == {"state": "", "detail": "", "checked_at": None}
    shown = api(tenant.administrator).get(f"{URL}{made['id']}/")
    assert SECRET.encode() not in shown.content
    entry = AuditEntry.objects.get(action="create", object_type="smsgateway")
    assert SECRET not in str(entry.after)


def test_a_blank_secret_keeps_the_stored_one(tenant, api, values) -> None:
    """R9; each change makes the gateway connect anew."""
    api(tenant.administrator).post(URL, values, format="json")
    url = f"{URL}{values['system_provider']}/"
    answer = api(tenant.administrator).patch(url, {"port": 5348, "secret": ""}, format="json")
    assert answer.status_code == 200, answer.content
    row = SmsGateway.objects.get()
    assert (row.port, row.secret, row.version) == (5348, SECRET, 1)
    api(tenant.administrator).patch(url, {"secret": "another-secret"}, format="json")
    row.refresh_from_db()
    assert (row.secret, row.version) == ("another-secret", 2)


def test_one_for_a_system_provider_and_a_domain_for_one(two_tenants, api, values) -> None:
    """A domain that another has is not available, in words that tell nothing (rule 2)."""
    first, second = two_tenants
    assert api(first.administrator).post(URL, values, format="json").status_code == 201
    again = api(first.administrator).post(URL, values | {"domain": "other.example"}, format="json")
    assert (again.status_code, again.json()["code"]) == (409, "exists")
    other = values | {"system_provider": str(second.system_provider.pk), "domain": "sms.IM.example"}
    taken = api(second.administrator).post(URL, other, format="json")
    assert (taken.status_code, taken.json()["code"]) == (409, "domain_not_available")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("domain", "not a domain"),
        ("domain", "localhost"),
        ("domain", "sms.example.com/resource"),
        ("domain", "-a.example"),
        ("secret", "short"),
        ("secret", "with a space in it"),
        ("port", 0),
        ("port", 70000),
        ("host", ""),
        ("host", "http://im.example"),
        ("host", "two words"),
    ],
)
def test_what_cannot_be(tenant, api, values, field, value) -> None:
    answer = api(tenant.administrator).post(URL, values | {field: value}, format="json")
    assert answer.status_code == 400, answer.content
    assert field in answer.json()["errors"]
    assert not SmsGateway.objects.exists()


def test_only_the_operator_points_it_into_private_networks(tenant, operator, api, values, settings) -> None:
    """Tenants must not reach what is near us; the operator knows what is (as for base URLs)."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = False
    refused = api(tenant.administrator).post(URL, values, format="json")
    assert refused.json()["errors"]["host"]
    assert api(operator).post(URL, values, format="json").status_code == 201


def test_whom_it_concerns(tenant, api, values) -> None:
    """Staff of its system provider, below it nobody; who may only look changes nothing."""
    api(tenant.administrator).post(URL, values, format="json")
    url = f"{URL}{values['system_provider']}/"
    for level in ("reseller", "group"):
        assert api(tenant.accounts[level, "administrator"]).get(url).status_code == 404
    reader = api(tenant.accounts["system_provider", "read_only"])
    assert reader.get(url).status_code == 200
    assert reader.patch(url, {"port": 1}, format="json").status_code == 403
    assert reader.post(f"{url}test/", {}, format="json").status_code == 403


@pytest.mark.django_db(transaction=True)
class TestTheTestButton:
    def status(self, api: Callable[[PortalAccount], APIClient], tenant: Tenant, values: dict[str, Any]) -> Any:
        api(tenant.administrator).post(URL, values, format="json")
        answer = api(tenant.administrator).post(f"{URL}{values['system_provider']}/test/", {}, format="json")
        assert answer.status_code == 200, answer.content
        return answer.json()["status"]

    def at(self, prosody: Prosody, values: dict[str, Any], **more: Any) -> dict[str, Any]:
        there = {"host": prosody.host, "port": prosody.component_port, "domain": prosody.component_domain}
        return values | there | {"secret": prosody.component_secret} | more

    def test_the_server_takes_it(self, prosody, tenant, api, values) -> None:
        found = self.status(api, tenant, self.at(prosody, values))
        assert found["state"] == "connecting"

    def test_what_a_killed_worker_left_is_not_believed(self, prosody, tenant, api, values) -> None:
        """Its last word was that it is online; nobody has the lease."""
        api(tenant.administrator).post(URL, self.at(prosody, values), format="json")
        SmsGateway.objects.update(status="online")
        answer = api(tenant.administrator).post(f"{URL}{values['system_provider']}/test/", {}, format="json")
        assert answer.json()["status"]["state"] == "connecting"

    def test_a_wrong_secret(self, prosody, tenant, api, values) -> None:
        found = self.status(api, tenant, self.at(prosody, values, secret="not-the-secret"))
        assert (found["state"], found["detail"]) == ("refused", "The server refused the secret.")

    def test_a_domain_the_server_does_not_know(self, prosody, tenant, api, values) -> None:
        found = self.status(api, tenant, self.at(prosody, values, domain="sms.unknown.example"))
        assert (found["state"], found["detail"]) == ("refused", "The server has no component of this domain.")

    def test_nobody_there(self, tenant, api, values) -> None:
        found = self.status(api, tenant, values | {"port": 9})
        assert found["state"] == "unreachable"
        assert found["detail"].startswith("No connection")

    def test_on_the_page(self, prosody, tenant, values, client: Client) -> None:
        """The words of the server stand on the page; the secret does not."""
        client.force_login(tenant.administrator)
        added = client.post("/sms-gateways/add/", self.at(prosody, values, secret="not-the-secret") | {"enabled": "on"})
        assert added.status_code == 302, added.content
        page = client.get(f"/sms-gateways/{values['system_provider']}/").content.decode()
        assert "Not yet connected" in page
        tested = client.post(f"/sms-gateways/{values['system_provider']}/test/", follow=True).content.decode()
        assert "The server refused the secret." in tested
        assert "not-the-secret" not in tested
        changed = client.post(
            f"/sms-gateways/{values['system_provider']}/change/",
            self.at(prosody, values) | {"enabled": "on"},
            follow=True,
        )
        assert "was saved" in changed.content.decode()
        assert SmsGateway.objects.get().secret == prosody.component_secret


@pytest.mark.django_db(transaction=True)
def test_it_says_how_the_connection_stands_and_follows_every_change(prosody, tenant) -> None:
    """A wrong secret is told and tried again once it changed; off means off."""
    row = SmsGateway.objects.create(
        system_provider=tenant.system_provider,
        domain=prosody.component_domain,
        host=prosody.host,
        port=prosody.component_port,
        secret="not-the-secret",
    )
    from xmpp.services.gateways import update_gateway

    def wait(status: str) -> SmsGateway:
        return eventually(lambda: SmsGateway.objects.filter(status=status).first(), status)

    with hosting(SmsGatewayResident):
        assert wait("refused").status_detail == "The server refused the secret."
        update_gateway(actor=None, gateway=row, changes={"secret": prosody.component_secret})
        wait("online")
        update_gateway(actor=None, gateway=row, changes={"enabled": False})
        wait("disabled")
        update_gateway(actor=None, gateway=row, changes={"enabled": True, "port": 9})
        assert "No connection" in wait("unreachable").status_detail
        update_gateway(actor=None, gateway=row, changes={"port": prosody.component_port})
        wait("online")
    close_database_threads()
