"""J10, the password's part, end to end: BroadWorks' wire, its messaging server (a real Prosody), our bridge, UC-One."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import pytest

from portal.models import EndUser, Event
from portal.tests.factories import PASSWORD, EndUserFactory, PortalAccountFactory, device_token
from portal.tests.residents import eventually
from tests.prosody import Prosody
from tests.sandbox_process import BroadworksControl
from tests.xmpp_peer import UcOne
from xmpp.models import ImpAccount
from xmpp.services.account_work import work_due_accounts
from xmpp.tests.factories import BroadworksConnectionFactory
from xmpp.tests.running import bridging

pytestmark = pytest.mark.django_db(transaction=True)
OLD, NEW = "what UC-One came with", "what the user chose"


@pytest.fixture
def user(prosody: Prosody, broadworks: BroadworksControl, transactional_db: None) -> EndUser:
    """Known to BroadWorks with the service off; its messaging server is Prosody."""
    broadworks.settings(imp_domain=prosody.domain, xmpp_accounts=str(prosody.folder / "data"))
    connection = BroadworksConnectionFactory.of_server(
        prosody,
        system_provider__auto_generate_xmpp_password=False,
        host="127.0.0.1",
        port=broadworks.oci_port,
        username=broadworks.username,
        password=broadworks.password,
    )
    login = f"j10-{secrets.token_hex(4)}@acme.example"
    broadworks.put_user(login, imp={"assigned": False, "active": False}, imp_password=OLD, device={"name": "pc"})
    return EndUserFactory(login=login, group__reseller__system_provider=connection.system_provider)


def switch_on(user: EndUser, api: Callable[..., Any]) -> ImpAccount:
    staff = api(PortalAccountFactory(scope=user.system_provider))
    body = {"integrated_imp": {"assigned": True, "enabled": True}}
    answer = staff.patch(f"/api/v1/provisioning/users/{user.pk}/", body, format="json")
    assert answer.status_code == 200, answer.content
    return ImpAccount.objects.get(user=user)


def status(client: Any) -> str:
    return str(client.get("/api/v1/xmpp/").json()["status"])


def test_j10_a_changed_password_brings_the_user_online(user, prosody, broadworks, api):
    """Absent while off; `offline` when on; the login password is refused, a good one notifies and leads to `online`;
    UC-One, which came with the former one, is not disturbed (S0.5, S0.13-S0.16, S0.23)."""
    client = api(device_token(user))
    assert client.get("/api/v1/xmpp/").status_code == 404
    account = switch_on(user, api)
    broadworks.settings(xmpp_accounts=str(prosody.folder / "data"))  # now that there is a JID
    uc_one = UcOne(prosody, account.imp_id, OLD).connect()
    try:
        assert status(client) == "offline"
        refused = client.post("/api/v1/xmpp/password/", {"password": PASSWORD, "retype": PASSWORD}, format="json")
        assert refused.json()["code"] == "same_as_login"
        with bridging():
            good = client.post("/api/v1/xmpp/password/", {"password": NEW, "retype": NEW}, format="json")
            assert good.status_code == 200, good.content
            eventually(lambda: status(client) == "online", "online with the new password")
            assert Event.objects.filter(user=user, type="xmpp.updated").exists()
            uc_one.sync()
            assert uc_one.online
            assert not uc_one.failures
        assert set(prosody.mechanisms(account.imp_id)) <= {"SCRAM-SHA-1", "SCRAM-SHA-256"}
    finally:
        uc_one.disconnect()


def test_j10_a_generated_password_needs_nobody(user, prosody, broadworks, api):
    """Branding: the first start generates it; BroadWorks, the device file and our session have it (S0.18-S0.23)."""
    user.system_provider.auto_generate_xmpp_password = True
    user.system_provider.save()
    account = switch_on(user, api)
    client = api(device_token(user))
    with bridging():
        client.get("/api/v1/session/")
        work_due_accounts()
        eventually(lambda: status(client) == "online", "online with the generated password")
    account.refresh_from_db()
    assert len(account.password) >= 15
    there = broadworks.user(user.login)
    assert there["imp_password"] == account.password
    assert there["device"]["tags"] == {"%XMPP_USERNAME%": account.imp_id, "%XMPP_PASSWORD%": account.password}
    assert client.get("/api/v1/xmpp/").json()["password_managed"] is True
