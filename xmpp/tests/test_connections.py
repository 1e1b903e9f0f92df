"""Connections to BroadWorks: tried before they are saved, secrets write-only, private addresses refused."""

from __future__ import annotations

from typing import Any

import pytest

from portal.models import AuditEntry
from portal.tests.factories import PortalAccountFactory, SystemProviderFactory
from tests.certificates import Authority
from tests.sandbox_process import BroadworksControl
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services import connections
from xmpp.states import AccountStatus
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/provisioning/broadworks/"


@pytest.fixture
def provider(transactional_db: None) -> Any:
    return SystemProviderFactory()


@pytest.fixture
def staff(provider: Any, api: Any) -> Any:
    return api(PortalAccountFactory(scope=provider))


def body(broadworks: BroadworksControl, provider: Any, **changes: Any) -> dict[str, Any]:
    login = {"username": broadworks.username, "password": broadworks.password}
    return {"system_provider": str(provider.pk), "host": "127.0.0.1", "port": broadworks.oci_port, **login, **changes}


@pytest.mark.parametrize("transport", ["tcp", "soap"])
def test_saving_asks_broadworks_and_takes_its_domain(staff, provider, broadworks, transport):
    """Contracts 6: host, port, transport soap|tcp, login; the password is shown to nobody."""
    port = broadworks.oci_port if transport == "tcp" else broadworks.port
    answer = staff.post(URL, body(broadworks, provider, transport=transport, port=port), format="json")
    assert answer.status_code == 201, answer.json()
    shown = answer.json()
    assert (shown["id"], shown["status"]["state"]) == (str(provider.pk), "connected")
    assert shown["imp_domain"] == broadworks.imp_domain
    assert "password" not in shown
    assert BroadworksConnection.objects.get().password == broadworks.password
    assert AuditEntry.objects.get(action="create").after["broadworks"]["password"] == "replaced"
    again = staff.post(URL, body(broadworks, provider), format="json")
    assert (again.status_code, again.json()["code"]) == (409, "exists")


def test_a_login_that_is_refused_is_not_saved(staff, provider, broadworks):
    answer = staff.post(URL, body(broadworks, provider, password="not the right one"), format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "broadworks_refused")
    broadworks.settings(state="refusing")
    answer = staff.post(URL, body(broadworks, provider), format="json")
    assert (answer.status_code, answer.json()["code"]) == (502, "broadworks_unreachable")
    assert not BroadworksConnection.objects.exists()


def test_a_login_that_cannot_be_sent_is_refused(staff, provider, broadworks):
    """A control character has no place in XML; whoever pasted it is told so."""
    answer = staff.post(URL, body(broadworks, provider, username="ad\x01min"), format="json")
    assert (answer.status_code, answer.json()["code"]) == (400, "broadworks_refused")
    assert "characters" in answer.json()["detail"]


def test_private_addresses_are_refused(staff, provider, broadworks, settings):
    settings.PORTAL_ALLOW_PRIVATE_URLS = False
    answer = staff.post(URL, body(broadworks, provider), format="json")
    assert answer.status_code == 400
    answer = staff.post(
        URL, {"system_provider": str(provider.pk), "imp_domain": "im.example", "xmpp_host": "10.0.0.1"}, format="json"
    )
    assert "xmpp_host" in answer.json()["errors"]


def test_a_blank_password_is_kept_but_goes_to_no_other_address(staff, provider, broadworks):
    """R9; and whoever points the connection elsewhere has to know the password, else it could be had that way."""
    staff.post(URL, body(broadworks, provider), format="json")
    item = f"{URL}{provider.pk}/"
    assert staff.patch(item, {"xmpp_host": "127.0.0.1", "password": ""}, format="json").status_code == 200
    answer = staff.patch(item, {"port": broadworks.oci_port + 1}, format="json")
    assert "password" in answer.json()["errors"]
    changes = {"port": broadworks.port, "transport": "soap", "password": broadworks.password}
    assert staff.patch(item, changes, format="json").json()["transport"] == "soap"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("imp_domain", "no domain"),
        ("host", "http://x"),
        ("port", 0),
        ("xmpp_port", 70000),
        ("transport", "udp"),
        ("soap_path", "no-slash"),
        ("xmpp_ca", "no certificate"),
        ("xmpp_ca", "kein Zertifikät"),
        ("username", ""),
    ],
)
def test_what_is_wrong_is_named(staff, provider, broadworks, field, value):
    answer = staff.post(URL, body(broadworks, provider, **{field: value}), format="json")
    assert answer.status_code == 400
    assert field in answer.json()["errors"]


def test_the_certificate_authority_is_taken(staff, provider, broadworks, tmp_path):
    pem = Authority().pem
    assert staff.post(URL, body(broadworks, provider, xmpp_ca=pem), format="json").status_code == 201


def test_another_xmpp_server_lets_given_up_sessions_try_again(staff, provider, broadworks):
    """A terminal status ends with a change of the server, and the bridge sees another version."""
    staff.post(URL, body(broadworks, provider), format="json")
    account = ImpAccountFactory(user__group__reseller__system_provider=provider, status=AccountStatus.TLS_FAILED)
    staff.patch(f"{URL}{provider.pk}/", {"xmpp_port": 5223}, format="json")
    assert ImpAccount.objects.get(pk=account.pk).status == AccountStatus.OFFLINE
    assert BroadworksConnection.objects.get().version == 1


def test_the_test_says_how_it_stands(staff, provider, broadworks):
    staff.post(URL, body(broadworks, provider), format="json")
    broadworks.settings(state="refusing")
    status = staff.post(f"{URL}{provider.pk}/test/", {}, format="json").json()["status"]
    assert status["state"] == "failed"
    assert "refused the connection" in status["detail"]
    broadworks.settings(state="up")
    assert staff.post(f"{URL}{provider.pk}/test/", {}, format="json").json()["status"]["state"] == "connected"


def test_only_one_tenants_own(staff, provider, broadworks, api):
    staff.post(URL, body(broadworks, provider), format="json")
    stranger = api(PortalAccountFactory(scope=SystemProviderFactory()))
    assert stranger.get(URL).json()["results"] == []
    assert stranger.get(f"{URL}{provider.pk}/").status_code == 404
    assert staff.delete(f"{URL}{provider.pk}/").status_code == 204
    assert staff.get(URL).json()["results"] == []


def test_every_connection_is_asked_now_and_then(staff, provider, broadworks):
    """So that staff see a failed one before users do; one without BroadWorks is left out."""
    staff.post(URL, body(broadworks, provider), format="json")
    BroadworksConnectionFactory()
    broadworks.settings(credentials={"password": "changed there"})
    assert connections.test_every_connection() == 1
    assert BroadworksConnection.objects.get(pk=provider.pk).status == "failed"
