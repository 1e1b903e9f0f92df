"""How accounts stand while no bridge runs, and the list of them for staff (S0.13)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from portal import clock
from portal.beat import SCHEDULE
from portal.events import render
from portal.models import EndUser, Event, Lease, PortalAccount
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.factories import EndUserFactory, device_token
from portal.tests.residents import eventually
from portal.tests.tenants import LEVELS, Tenant
from tests.faults.residents_process import ResidentsProcess
from tests.faults.web_process import wait_until_alone
from xmpp.models import ImpAccount
from xmpp.services import sessions
from xmpp.services.accounts import tell_user
from xmpp.services.ownership import shard_lease
from xmpp.services.sessions import settle_abandoned
from xmpp.services.standing import NOBODY
from xmpp.shards import shard_of
from xmpp.states import LIVE, AccountStatus
from xmpp.tests.factories import ImpAccountFactory, lease_shards
from xmpp.tests.messaging import get
from xmpp.tests.running import wait_online

pytestmark = pytest.mark.django_db(transaction=True)
Api = Callable[[Any], APIClient]


def shown(api: Api, user: EndUser) -> tuple[str, str]:
    answer = get(api(device_token(user)), "xmpp/")
    return answer["status"], answer["reason"]


@pytest.mark.parametrize("status", AccountStatus.values)
def test_s0_13_without_a_bridge_nobody_is_online(api: Api, mary: EndUser, settings: Any, status: str) -> None:
    """What a bridge said last holds while one has the account, and for as long again as a lease lasts, in which
    another may take it over. What ended the session for good stays so."""
    ImpAccount.objects.update(status=status, status_reason="As it was.")
    for ended_s in (-settings.LEASE_TTL_S, settings.LEASE_TTL_S / 2):
        lease_shards(ended_s=ended_s)
        assert shown(api, mary) == (status, "As it was.")
    lease_shards(ended_s=settings.LEASE_TTL_S + 1)
    assert shown(api, mary) == (("offline", NOBODY) if status in LIVE else (status, "As it was."))


def test_the_event_says_the_same(mary: EndUser) -> None:
    account = ImpAccount.objects.get()
    ImpAccount.objects.update(status=AccountStatus.ONLINE)
    tell_user(account, session=False)
    [line] = render({mary: list(Event.objects.filter(user=mary))})[mary.pk]
    assert (line["data"]["status"], line["data"]["reason"]) == ("offline", NOBODY)


@pytest.mark.fault
def test_s0_13_killed_bridges_leave_nobody_online(api: Api, account: ImpAccount, settings: Any, tmp_path: Path) -> None:
    """`kill -9` of the only one."""
    settings.LEASE_TTL_S = 2
    bridge = ResidentsProcess(tmp_path, lease_s=2)
    try:
        wait_online(account)
        assert shown(api, account.user) == ("online", "")
    finally:
        bridge.kill()
        wait_until_alone()
    eventually(lambda: shown(api, account.user) == ("offline", NOBODY), "shown as offline")
    account.refresh_from_db()
    assert account.status == AccountStatus.ONLINE


def test_s0_13_clients_are_told_when_the_last_bridge_has_gone(mary: EndUser, tom: EndUser, settings: Any) -> None:
    """By an event, once, and only of accounts that nobody serves any more."""
    lease_shards(ended_s=settings.LEASE_TTL_S + 1)
    served = ImpAccount.objects.get(user=tom)
    Lease.objects.filter(name=shard_lease(shard_of(served.slot))).update(deadline=clock.now())
    ImpAccount.objects.update(status=AccountStatus.ONLINE)
    for _ in range(2):
        settle_abandoned()
    [event] = Event.objects.all()
    assert (event.user, event.type) == (mary, "xmpp.updated")
    assert ImpAccount.objects.get(user=mary).status_reason == NOBODY
    assert ImpAccount.objects.get(user=tom).status == AccountStatus.ONLINE
    assert "xmpp.tasks.settle_abandoned" in SCHEDULE


def test_what_ended_for_good_stays_so(mary: EndUser) -> None:
    ImpAccount.objects.update(status=AccountStatus.AUTHENTICATION_FAILED, status_reason="Refused")
    settle_abandoned()
    assert not Event.objects.exists()
    assert ImpAccount.objects.get().status_reason == "Refused"


def test_many_accounts_are_settled(mary: EndUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few in each transaction."""
    monkeypatch.setattr(sessions, "SETTLED_TOGETHER", 2)
    for n in range(4):
        ImpAccountFactory(user=EndUserFactory(group=mary.group), imp_id=f"u{n}@im.example")
    ImpAccount.objects.update(status=AccountStatus.RECONNECTING)
    settle_abandoned()
    assert set(ImpAccount.objects.values_list("status", flat=True)) == {AccountStatus.OFFLINE}
    assert Event.objects.count() == 5


# --- The staff site -----------------------------------------------------------------------------------------------
def rows_of(account: PortalAccount, query: str = "") -> list[str]:
    """The IM&P IDs that the list shows to somebody."""
    answer = browser(account).get(list_of(ImpAccount) + query)
    assert answer.status_code == 200
    return [row.imp_id for row in answer.context["cl"].result_list]


def test_staff_see_the_accounts_of_their_level_newest_first(two_tenants: tuple[Tenant, Tenant]) -> None:
    """With their status and a way to the user; nothing of other tenants."""
    mine, other = two_tenants
    for tenant in two_tenants:
        for user in (tenant.user, tenant.other_user):
            ImpAccountFactory(user=user, imp_id=f"{user.name.replace(' ', '.')}@im.example", status_reason=tenant.mark)
    both = ["Acme.other_user@im.example", "Acme.user@im.example"]
    expected = {"system_provider": both, "reseller": both[1:], "group": both[1:]}
    for level in LEVELS:
        staff = mine.accounts[level, "read_only"]
        assert rows_of(staff) == expected[level]
        page = browser(staff).get(list_of(ImpAccount)).content.decode()
        assert url_of(mine.user, "detail") in page
        assert other.mark not in page
        foreign = ImpAccount.objects.get(pk=other.user.pk)
        assert browser(staff).get(url_of(foreign, "detail")).status_code == 404


def test_the_list_is_filtered_by_how_accounts_stand(tenant: Tenant, settings: Any) -> None:
    """Not by what a bridge that is gone said last."""
    for status in AccountStatus.values:
        user = EndUserFactory(group=tenant.group)
        ImpAccountFactory(user=user, imp_id=f"{status}@im.example", status=status)
    staff = tenant.administrator

    def by_status() -> dict[str, set[str]]:
        found = {status: rows_of(staff, f"?status={status}") for status in AccountStatus.values}
        return {status: {jid.partition("@")[0] for jid in jids} for status, jids in found.items()}

    lease_shards()
    assert by_status() == {status: {status} for status in AccountStatus.values}
    assert len(rows_of(staff, "?status=nonsense")) == len(AccountStatus.values)
    lease_shards(ended_s=settings.LEASE_TTL_S + 1)
    found = by_status()
    assert found["offline"] == {"offline", *LIVE}
    assert [found[status] for status in LIVE] == [set()] * 3
    assert found["tls_failed"] == {"tls_failed"}
    assert NOBODY in browser(staff).get(list_of(ImpAccount)).content.decode()


def test_the_list_is_paged_by_key(tenant: Tenant, django_assert_max_num_queries: Any) -> None:
    """As many queries for a page as for one row."""
    for n in range(60):
        ImpAccountFactory(user=EndUserFactory(group=tenant.group), imp_id=f"u{n}@im.example")
    staff = browser(tenant.administrator)
    with django_assert_max_num_queries(8):
        first = staff.get(list_of(ImpAccount))
    shown = [row.imp_id for row in first.context["cl"].result_list]
    older = staff.get(list_of(ImpAccount) + first.context["cl"].older_url)
    shown += [row.imp_id for row in older.context["cl"].result_list]
    assert shown == [f"u{n}@im.example" for n in reversed(range(60))]


def test_an_accounts_page_and_that_of_its_user_say_how_it_stands(tenant: Tenant) -> None:
    account = ImpAccountFactory(
        user=tenant.user, imp_id="mary@im.example", status="authentication_failed", status_reason="<Refused>"
    )
    staff = browser(tenant.administrator)
    for row in (account, tenant.user):
        page = staff.get(url_of(row, "detail")).content.decode()
        assert '<span class="p-badge p-bad">Authentication failed</span> &lt;Refused&gt;' in page
    assert account.password not in page
