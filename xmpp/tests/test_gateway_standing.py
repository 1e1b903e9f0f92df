"""How gateways stand while no worker runs them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from portal import clock
from portal.models import Lease, SystemProvider
from portal.residents.resident import lease_name
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.factories import SystemProviderFactory
from portal.tests.tenants import Tenant
from xmpp.models import SmsGateway
from xmpp.services.gateway_standing import NOBODY

pytestmark = pytest.mark.django_db
URL = "/api/v1/provisioning/sms-gateways/"
Api = Callable[[Any], APIClient]


def gateway(system_provider: SystemProvider, status: str, *, lease_ended_s: float | None = None) -> SmsGateway:
    """One whose worker has the lease, or had it until so many seconds ago; or never had any (None)."""
    key = system_provider.pk
    if lease_ended_s is not None:
        deadline = clock.now() - timedelta(seconds=lease_ended_s)
        Lease.objects.create(name=lease_name("sms-gateway", key), holder="worker", deadline=deadline)
    return SmsGateway.objects.create(
        system_provider=system_provider, domain=f"{key}.example", host="im.example", secret="s" * 8, status=status
    )


def states(api: Api, tenant: Tenant) -> set[tuple[str, str]]:
    """What the row and the list say."""
    client = api(tenant.administrator)
    [listed] = client.get(URL).json()["results"]
    shown = client.get(f"{URL}{listed['id']}/").json()
    return {(each["status"]["state"], each["status"]["detail"]) for each in (listed, shown)}


@pytest.mark.parametrize("status", ["", "connecting", "refused", "disabled", "online"])
def test_without_a_worker_no_gateway_is_online(api: Api, tenant: Tenant, settings: Any, status: str) -> None:
    """What a worker said last holds while one has the gateway, and as long again, in which another may take it over."""
    row = gateway(tenant.system_provider, status, lease_ended_s=-5)
    lease = Lease.objects.filter(name=lease_name("sms-gateway", row.pk))
    assert states(api, tenant) == {(status, "")}
    lease.update(deadline=clock.now() - timedelta(seconds=settings.LEASE_TTL_S / 2))
    assert states(api, tenant) == {(status, "")}
    lease.update(deadline=clock.now() - timedelta(seconds=settings.LEASE_TTL_S + 1))
    gone = {("unreachable", NOBODY)} if status == "online" else {(status, "")}
    assert states(api, tenant) == gone
    lease.delete()
    assert states(api, tenant) == gone


def test_pages_say_the_same(tenant: Tenant) -> None:
    row = gateway(tenant.system_provider, "online")
    staff = browser(tenant.administrator)
    assert NOBODY in staff.get(url_of(row, "detail")).content.decode()
    listed = staff.get(list_of(SmsGateway)).content.decode()
    assert ("p-bad" in listed, "Online" in listed) == (True, False)


def test_a_page_of_many_asks_once(api: Api, operator: Any, django_assert_max_num_queries: Any) -> None:
    """As many queries as for one row."""
    for n in range(20):
        gateway(SystemProviderFactory(), "online", lease_ended_s=-5 if n % 2 else None)
    staff, client = browser(operator), api(operator)
    with django_assert_max_num_queries(8):
        answer = client.get(URL)
    assert [each["status"]["state"] for each in answer.json()["results"]] == ["online", "unreachable"] * 10
    with django_assert_max_num_queries(8):
        assert staff.get(list_of(SmsGateway)).status_code == 200
