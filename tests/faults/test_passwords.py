"""Whoever changes an XMPP password may be killed at any moment: BroadWorks and we agree again soon (S0.12, S0.22)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal import clock
from portal.models import EndUser
from portal.tests.factories import EndUserFactory, GroupFactory
from tests.faults.dying import ends_of
from tests.sandbox_process import BroadworksControl, SandboxProcess
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services.account_work import work_due_accounts
from xmpp.states import PasswordState
from xmpp.tests.factories import BroadworksConnectionFactory, ImpAccountFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fault]
# More than a change has words with the database.
USERS = 60


@pytest.fixture
def broadworks(settings) -> Iterator[BroadworksControl]:
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    process = SandboxProcess()
    yield process.broadworks
    process.stop()


def connect(broadworks: BroadworksControl, *, managed: bool) -> BroadworksConnection:
    return BroadworksConnectionFactory(
        system_provider__auto_generate_xmpp_password=managed,
        host="127.0.0.1",
        port=broadworks.oci_port,
        username=broadworks.username,
        password=broadworks.password,
        imp_domain=broadworks.imp_domain,
    )


def people(broadworks: BroadworksControl, connection: BroadworksConnection, **fields: object) -> list[ImpAccount]:
    group = EndUserFactory(group__reseller__system_provider=connection.system_provider).group
    made = []
    for n in range(USERS):
        user = EndUserFactory(group=group, login=f"u{n}@acme.example")
        jid = f"u{n}@{broadworks.imp_domain}"
        made.append(ImpAccountFactory(user=user, imp_id=jid, **fields))
        present = str(fields.get("password", "")) or None
        broadworks.put_user(user.login, device={"name": f"pc{n}"}, imp_password=present)
    return made


def let_claims_run_out() -> None:
    ImpAccount.objects.exclude(work="").update(work_due_at=clock.now())
    work_due_accounts()


def test_a_change_killed_between_any_two_writes_ends_in_agreement(broadworks):
    """Old or new, but the same on both sides, in the device's tags too, and nothing is left pending."""
    accounts = people(broadworks, connect(broadworks, managed=False), password="the password from before")
    ended = ends_of("change", [account.pk for account in accounts])
    assert {"0", "-9"} == set(ended)
    let_claims_run_out()
    seen = set()
    for account, how in zip(accounts, ended, strict=True):
        account.refresh_from_db()
        there = broadworks.user(account.user.login)
        assert account.password == there["imp_password"], (account.user.login, how)
        assert (account.pending_password, account.work, account.claim) == ("", "", None)
        assert account.password_state == PasswordState.SET
        new = account.password == f"changed by {account.pk}"
        assert new or account.password == "the password from before"
        if new:
            assert there["device"]["tags"]["%XMPP_PASSWORD%"] == account.password
        seen.add(new)
    assert seen == {True, False}


def test_a_generation_killed_between_any_two_writes_is_gone_on_with(broadworks):
    """Whichever password BroadWorks was given is the one that is adopted."""
    connection = connect(broadworks, managed=True)
    accounts = people(broadworks, connection, password="", password_state=PasswordState.NONE)
    ended = ends_of("generate", [account.pk for account in accounts])
    assert {"0", "-9"} == set(ended)
    let_claims_run_out()
    for account in accounts:
        account.refresh_from_db()
        there = broadworks.user(account.user.login)
        assert account.password == there["imp_password"]
        assert len(account.password) >= 15
        assert there["device"]["tags"]["%XMPP_PASSWORD%"] == account.password
        assert (account.pending_password, account.work, account.claim) == ("", "", None)


def test_a_new_user_killed_between_any_two_writes_is_there_or_not(broadworks):
    """Not there: BroadWorks was told no password. There: with the service and the password that was typed."""
    connection = connect(broadworks, managed=False)
    GroupFactory(reseller__system_provider=connection.system_provider)
    logins = [f"u{n}@acme.example" for n in range(USERS)]
    for n, login in enumerate(logins):
        broadworks.put_user(login, imp={"assigned": False, "active": False}, device={"name": f"pc{n}"})
    ended = ends_of("create", logins)
    assert {"0", "-9"} == set(ended)
    let_claims_run_out()
    seen = set()
    for login in logins:
        there = broadworks.user(login)
        user = EndUser.objects.filter(login=login).first()
        seen.add(user is not None)
        if user is None:
            assert there["imp_password"] is None
            continue
        account = ImpAccount.objects.get(user=user)
        assert account.password == there["imp_password"] == f"changed by {login}"
        assert account.is_on
        assert there["imp"]["active"]
        assert there["device"]["tags"]["%XMPP_PASSWORD%"] == account.password
        assert (account.pending_password, account.work, account.claim) == ("", "", None)
    assert seen == {True, False}
