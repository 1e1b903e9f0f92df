"""Fixtures of the XMPP tests: a tenant at a real server, and people of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from portal.models import EndUser, Group
from portal.tests.factories import EndUserFactory, GroupFactory
from tests.prosody import Prosody
from tests.xmpp_peer import UcOne
from xmpp.models import ImpAccount
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory


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
