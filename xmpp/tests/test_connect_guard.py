"""Where sessions and gateways connect to is checked when they do, whatever their names led to when they were saved."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from portal.models import PortalAccount
from portal.problems import Problem
from portal.residents.database import close_database_threads
from portal.tests.residents import eventually, hosting
from portal.tests.tenants import Tenant
from tests.prosody import Prosody
from xmpp.client import Client, make_ssl_context
from xmpp.gateway import SmsGatewayResident
from xmpp.models import BroadworksConnection, ImpAccount, SmsGateway
from xmpp.services import gateways
from xmpp.services.gateways import create_gateway, update_gateway
from xmpp.tests.running import bridging

pytestmark = pytest.mark.django_db(transaction=True)
REFUSED = "leads to a private or local address, which is not allowed."


@pytest.fixture(autouse=True)
def private_forbidden(settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = False


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
def test_a_session_connects_to_no_private_address(prosody: Prosody, account: ImpAccount, host: str) -> None:
    """R9: nor to a name that leads to one; and says why it is not online."""
    BroadworksConnection.objects.update(xmpp_host=host)
    with bridging():
        refused = ImpAccount.objects.filter(
            status="reconnecting", status_reason=f"The XMPP server cannot be reached: {host} {REFUSED}"
        )
        eventually(refused.exists, "refused")
    assert prosody.mechanisms(account.imp_id) == []


def test_a_name_with_several_addresses_leads_to_any_of_them(prosody: Prosody, settings: Any) -> None:
    """As `localhost` to ::1, where the server does not listen, and to 127.0.0.1."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    jid, password = prosody.new_account()
    heard = Heard()

    async def connect() -> None:
        client = Client(jid, password, make_ssl_context(prosody.authority.pem), heard)
        await client.open("localhost", prosody.port)
        async with asyncio.timeout(30):
            await heard.ready.wait()
        client.dispose()

    asyncio.run(connect())


class Heard:
    """A listener that waits for the session."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()

    def may_write(self) -> bool:
        return True

    def on_ready(self) -> None:
        self.ready.set()

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


# --- The gateway: only the operator knows what stands in our own network ---------------------------------------------
def values(server: Prosody) -> dict[str, Any]:
    return {
        "domain": server.component_domain,
        "host": server.host,
        "port": server.component_port,
        "secret": server.component_secret,
    }


def test_a_gateway_goes_where_the_operator_sent_it(
    own_prosody: Prosody, tenant: Tenant, operator: PortalAccount
) -> None:
    """Also after somebody else has changed something other than the server's name."""
    made = create_gateway(actor=operator, system_provider=tenant.system_provider, **values(own_prosody))
    update_gateway(
        actor=tenant.administrator, gateway=made, changes={"port": own_prosody.component_port, "enabled": False}
    )
    update_gateway(actor=tenant.administrator, gateway=made, changes={"enabled": True})
    with hosting(SmsGatewayResident):
        eventually(SmsGateway.objects.filter(status="online").exists, "online")
    close_database_threads()


def test_a_gateway_of_somebody_else_connects_to_no_private_address(
    own_prosody: Prosody, tenant: Tenant, operator: PortalAccount
) -> None:
    """A name that led nowhere when it was saved, and leads to us now."""
    away = values(own_prosody) | {"host": "nowhere.invalid"}
    made = create_gateway(actor=tenant.administrator, system_provider=tenant.system_provider, **away)
    SmsGateway.objects.update(host="localhost")
    assert gateways.test_gateway(actor=operator, gateway=made).status_detail == f"No connection: localhost {REFUSED}"
    with hosting(SmsGatewayResident):
        eventually(SmsGateway.objects.filter(status="unreachable").exists, "unreachable")
    close_database_threads()
    assert SmsGateway.objects.get().status_detail == f"No connection: localhost {REFUSED}"
    update_gateway(actor=operator, gateway=made, changes={"host": own_prosody.host})
    assert gateways.test_gateway(actor=operator, gateway=made).status == "connecting"
    with pytest.raises(Problem, match="private or local"):
        update_gateway(actor=tenant.administrator, gateway=made, changes={"host": "127.0.0.2"})
