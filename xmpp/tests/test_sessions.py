"""How sessions stand, as it is stored (S0.13, S0.16)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from portal import clock
from portal.models import Event, Lease
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services import sessions
from xmpp.services.ownership import shard_lease
from xmpp.services.sessions import StatusChange
from xmpp.shards import shard_of
from xmpp.states import AccountStatus
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory

pytestmark = pytest.mark.django_db(transaction=True)
HOLDER = "a-worker"


@pytest.fixture
def account() -> ImpAccount:
    """One that `HOLDER` acts for."""
    account: ImpAccount = ImpAccountFactory()
    BroadworksConnectionFactory(system_provider=account.system_provider)
    lease = shard_lease(shard_of(account.slot))
    Lease.objects.create(name=lease, holder=HOLDER, deadline=clock.now() + timedelta(minutes=5))
    return account


def refuse(account: ImpAccount, version: tuple[int, int]) -> str:
    """The session made of that version hears that the password is wrong; the status after that."""
    change = StatusChange(account.pk, AccountStatus.AUTHENTICATION_FAILED, "Wrong password", version)
    sessions.note_statuses([change], HOLDER)
    account.refresh_from_db()
    return account.status


def test_refusal_is_stored(account: ImpAccount) -> None:
    (found,) = sessions.accounts([account.pk])
    assert refuse(account, found.version) == AccountStatus.AUTHENTICATION_FAILED
    assert Event.objects.filter(user=account.user, type="xmpp.updated").count() == 1


def test_refusal_of_the_former_password(account: ImpAccount) -> None:
    """S0.16: a password that was changed between the refusal and its being stored is tried; "Authentication failed"
    would be for ever."""
    (former,) = sessions.accounts([account.pk])
    ImpAccount.objects.update(password="another", version=account.version + 1)
    assert refuse(account, former.version) == AccountStatus.OFFLINE
    assert account.pk in sessions.versions_of([shard_of(account.slot)])


def test_refusal_by_the_former_server(account: ImpAccount) -> None:
    """As after a change of the server that the account is at."""
    (former,) = sessions.accounts([account.pk])
    BroadworksConnection.objects.update(xmpp_host="another.example", version=former.version[1] + 1)
    assert refuse(account, former.version) == AccountStatus.OFFLINE
