"""Fixtures of the XMPP tests: a tenant at a real server, people of it, and a simulator of BroadWorks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal.models import EndUser, Group
from portal.tests.factories import EndUserFactory, GroupFactory
from tests.faults.tcp_gate import Gate
from tests.prosody import Prosody
from tests.sandbox_process import BroadworksControl, SandboxProcess
from tests.xmpp_peer import UcOne
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory


@pytest.fixture(autouse=True)
def private_allowed(settings: Any) -> None:
    """As where the XMPP server stands in the own network; the tests' one does."""
    settings.PORTAL_ALLOW_PRIVATE_URLS = True


@pytest.fixture
def group(prosody: Prosody) -> Group:
    """A group whose system provider is connected to the server."""
    group = GroupFactory()
    BroadworksConnectionFactory.of_server(prosody, system_provider=group.system_provider)
    return group


@pytest.fixture
def user(group: Group) -> EndUser:
    return EndUserFactory(group=group)


@pytest.fixture
def account(prosody: Prosody, user: EndUser) -> ImpAccount:
    """The account of `user`, known to the server."""
    return ImpAccountFactory.at_server(prosody, user=user)


@pytest.fixture
def colleague(prosody: Prosody, group: Group) -> ImpAccount:
    """The account of another user of the group."""
    return ImpAccountFactory.at_server(prosody, user=EndUserFactory(group=group))


@pytest.fixture
def gate(prosody: Prosody, account: ImpAccount) -> Iterator[Gate]:
    """What the portal connects through to the server."""
    with Gate((prosody.host, prosody.port)) as gate:
        BroadworksConnection.objects.update(xmpp_port=gate.port)
        yield gate


@pytest.fixture
def mary() -> EndUser:
    """Somebody with XMPP, at no server that runs."""
    mary = EndUserFactory(name="Mary")
    BroadworksConnectionFactory(system_provider=mary.system_provider)
    ImpAccountFactory(user=mary, imp_id="Mary@im.example")
    return mary


@pytest.fixture
def tom(mary: EndUser) -> EndUser:
    """A colleague of Mary's with XMPP."""
    tom = EndUserFactory(group=mary.group, name="Tom")
    ImpAccountFactory(user=tom, imp_id="tom@im.example")
    return tom


@pytest.fixture
def ann(mary: EndUser) -> EndUser:
    """A colleague without XMPP."""
    return EndUserFactory(group=mary.group, name="Ann")


@pytest.fixture
def uc_one(prosody: Prosody) -> Iterator[Callable[..., UcOne]]:
    """`uc_one()` is online as somebody who is no user of ours, `uc_one(account)` as a user's other client."""
    clients: list[UcOne] = []

    def connect(account: ImpAccount | None = None, **options: object) -> UcOne:
        login = (account.imp_id, account.password) if account else prosody.new_account("peer")
        client = UcOne(prosody, *login, **options)
        clients.append(client)
        return client.connect()

    yield connect
    for client in clients:
        client.disconnect()


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    process = SandboxProcess()
    yield process
    process.stop()


@pytest.fixture
def broadworks(sandbox_process: SandboxProcess, settings: Any) -> BroadworksControl:
    """BroadWorks as it starts: no users, no faults."""
    sandbox_process.reset()
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    return sandbox_process.broadworks


@pytest.fixture
def connection(broadworks: BroadworksControl, transactional_db: None) -> BroadworksConnection:
    """A system provider's connection to that BroadWorks."""
    return BroadworksConnectionFactory(
        host="127.0.0.1",
        port=broadworks.oci_port,
        username=broadworks.username,
        password=broadworks.password,
        imp_domain=broadworks.imp_domain,
        xmpp_host="127.0.0.1",
    )
