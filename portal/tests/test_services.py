"""Manage Services: residents started, stopped and restarted by staff (contracts section 5, R36)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from portal import clock
from portal.models import AuditEntry, Lease, PortalAccount, Service
from portal.residents import Resident, leases
from portal.residents.database import close_database_threads
from portal.services.residents import SILENT_AFTER, holdings, restart_service, stop_service
from portal.tests.admin_walk import browser, list_of, url_of
from portal.tests.factories import SystemProviderFactory
from portal.tests.residents import eventually, hosting
from portal.tests.tenants import LEVELS, Tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]
BASE = "/api/v1/provisioning/services/"
Api = Callable[[Any], APIClient]


def make_service(name: str, **fields: Any) -> Service:
    given = {"actual": "running", "seen_at": clock.now(), "holder": "host-1:7", **fields}
    row: Service = Service.objects.create(name=name, **given)
    return row


@pytest.fixture
def bridge() -> Service:
    return make_service("xmpp-bridge", counters={"in": 3})


@pytest.fixture
def connectors(two_tenants: tuple[Tenant, Tenant]) -> dict[tuple[str, str], Service]:
    """The services that each tenant has of its own, by name and mark."""
    return {
        (name, tenant.mark): make_service(name, system_provider=tenant.system_provider, detail=f"of {tenant.mark}")
        for name in ("presence-server", "sip-connector", "cti-connector")
        for tenant in two_tenants
    }


def wanted(row: Service) -> str:
    row.refresh_from_db()
    return row.desired


def test_a_service_as_operators_see_it(api: Api, operator: PortalAccount, bridge: Service) -> None:
    """Contracts section 5: desired, actual, holder, since, detail, counters; by id or by name."""
    shown = api(operator).get(f"{BASE}xmpp-bridge/").json()
    assert shown == {
        "id": str(bridge.pk),
        "name": "xmpp-bridge",
        "title": "XMPP bridge",
        "system_provider": None,
        "desired": "running",
        "actual": "running",
        "detail": "",
        "holder": "host-1:7",
        "since": clock.iso(bridge.since),
        "seen_at": clock.iso(bridge.seen_at) if bridge.seen_at else None,
        "counters": {"in": 3},
    }
    assert api(operator).get(f"{BASE}{bridge.pk}/").json() == shown
    assert api(operator).get(f"{BASE}?name=xmpp-bridge").json()["results"] == [shown]


def test_a_service_that_fell_silent_is_not_called_running(api: Api, operator: PortalAccount, bridge: Service) -> None:
    Service.objects.update(seen_at=clock.now() - 2 * SILENT_AFTER)
    shown = api(operator).get(f"{BASE}xmpp-bridge/").json()
    assert (shown["actual"], shown["detail"]) == ("failed", "It has not been heard of. Is its worker running?")


@pytest.mark.parametrize(
    ("action", "before", "after"), [("start", "stopped", "running"), ("stop", "running", "stopped")]
)
def test_started_and_stopped_it_is_wanted_so(
    api: Api, operator: PortalAccount, bridge: Service, action: str, before: str, after: str
) -> None:
    """With an audit row for the change and none when nothing changes."""
    Service.objects.update(desired=before)
    for _ in range(2):
        answer = api(operator).post(f"{BASE}xmpp-bridge/{action}/", {}, format="json")
        assert (answer.status_code, answer.json()["desired"]) == (200, after)
    entry = AuditEntry.objects.get(object_id=bridge.pk)
    assert (entry.action, entry.actor_name, entry.after) == (action, operator.username, {"desired": after})


def test_r36_the_process_wide_services_are_the_operators(
    api: Api, operator: PortalAccount, tenant: Tenant, bridge: Service
) -> None:
    """Others get 404, by name, by id and on the pages."""
    for level in LEVELS:
        client = api(tenant.staff_tokens[level, "administrator"])
        for url in (f"{BASE}xmpp-bridge/", f"{BASE}{bridge.pk}/"):
            assert client.get(url).status_code == 404
            for action in ("start", "stop", "restart"):
                assert client.post(f"{url}{action}/", {}, format="json").status_code == 404
        assert client.get(BASE).json()["results"] == []
        staff = browser(tenant.accounts[level, "administrator"])
        assert staff.get(url_of(bridge, "detail")).status_code == 404
        assert staff.post(url_of(bridge, "stop")).status_code == 404
    assert wanted(bridge) == "running"


def test_r36_each_tenant_manages_its_own(
    api: Api, two_tenants: tuple[Tenant, Tenant], connectors: dict[tuple[str, str], Service]
) -> None:
    """A name means the own one; another tenant's does not exist, and stays as it is."""
    own, foreign = (connectors["sip-connector", tenant.mark] for tenant in two_tenants)
    client = api(two_tenants[0].token)
    assert {row["system_provider"] for row in client.get(BASE).json()["results"]} == {str(own.system_provider_id)}
    assert client.post(f"{BASE}sip-connector/stop/", {}, format="json").json()["id"] == str(own.pk)
    for url in (f"{BASE}{foreign.pk}/", f"{BASE}sip-connector/?system_provider={foreign.system_provider_id}"):
        assert client.get(url).status_code == 404
    assert (wanted(own), wanted(foreign)) == ("stopped", "running")


def test_an_operator_says_whose_it_is(
    api: Api, operator: PortalAccount, connectors: dict[tuple[str, str], Service]
) -> None:
    for row in connectors.values():
        found = api(operator).get(f"{BASE}{row.name}/?system_provider={row.system_provider_id}").json()
        assert found["id"] == str(row.pk)
    assert api(operator).get(f"{BASE}sip-connector/").status_code == 404


def test_the_presence_server_takes_its_connectors_along(
    api: Api, two_tenants: tuple[Tenant, Tenant], connectors: dict[tuple[str, str], Service]
) -> None:
    """Contracts section 5: stopping it stops both of that system provider, starting it starts the CTI connector."""
    client = api(two_tenants[0].token)
    client.post(f"{BASE}presence-server/stop/", {}, format="json")
    stopped = {key for key, row in connectors.items() if wanted(row) == "stopped"}
    assert stopped == {(name, two_tenants[0].mark) for name in ("presence-server", "sip-connector", "cti-connector")}
    client.post(f"{BASE}presence-server/start/", {}, format="json")
    stopped = {key for key, row in connectors.items() if wanted(row) == "stopped"}
    assert stopped == {("sip-connector", two_tenants[0].mark)}


def test_who_may_only_look_changes_nothing(
    api: Api, two_tenants: tuple[Tenant, Tenant], connectors: dict[tuple[str, str], Service]
) -> None:
    tenant = two_tenants[0]
    row = connectors["sip-connector", tenant.mark]
    answer = api(tenant.staff_tokens["system_provider", "read_only"]).post(f"{BASE}{row.pk}/stop/", {}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (403, "read_only")
    staff = browser(tenant.accounts["system_provider", "read_only"])
    assert b"Stop" not in staff.get(list_of(Service)).content
    assert staff.post(url_of(row, "stop")).status_code == 403
    assert wanted(row) == "running"


def test_the_page_shows_services_and_leases_and_asks_before_it_stops_one(
    operator: PortalAccount, bridge: Service
) -> None:
    """Confirmed, it is stopped; what it shows is asked for every two seconds."""
    for shard in (10, 2):
        Lease.objects.create(name=f"xmpp-shard:{shard}", holder="host-1:7", deadline=clock.now() + timedelta(hours=1))
    Lease.objects.create(name="scheduler", holder="host-2:9", deadline=clock.now() - timedelta(hours=1))
    staff = browser(operator)
    for url in (list_of(Service), list_of(Service, "now")):
        shown = staff.get(url).content.decode()
        for text in ("XMPP bridge", "Running", "in 3", "host-1, process 7", "XMPP shard", "2, 10", "Restart"):
            assert text in shown
        assert "host-2" not in shown
    assert "XMPP bridge finishes what it is at and stops." in staff.get(url_of(bridge, "stop_confirm")).content.decode()
    assert wanted(bridge) == "running"
    assert staff.post(url_of(bridge, "stop"), follow=True).status_code == 200
    assert wanted(bridge) == "stopped"
    assert "Start" in staff.get(url_of(bridge, "detail")).content.decode()


def test_of_very_many_services_those_of_the_whole_installation_are_shown(
    operator: PortalAccount, bridge: Service
) -> None:
    """And it is said that there are more."""
    providers = SystemProviderFactory.create_batch(201)
    Service.objects.bulk_create([Service(name="sip-connector", system_provider=provider) for provider in providers])
    page = browser(operator).get(list_of(Service)).content.decode()
    assert "XMPP bridge" in page
    assert "Only the first 200 services are shown." in page


def test_a_tenants_staff_see_no_workers_of_all(
    two_tenants: tuple[Tenant, Tenant], connectors: dict[tuple[str, str], Service], bridge: Service
) -> None:
    """Nor whatever other tenants have."""
    Lease.objects.create(name="xmpp-shard:1", holder="host-3:1", deadline=clock.now() + timedelta(hours=1))
    mine, other = two_tenants
    shown = browser(mine.administrator).get(list_of(Service)).content.decode()
    assert f"of {mine.mark}" in shown
    for text in (f"of {other.mark}", "XMPP bridge", "Leases", "host-3"):
        assert text not in shown


def test_leases_are_shown_as_people_read_them(tenant: Tenant) -> None:
    """Which service, for what, on which machine, since when it has the last of them."""
    first, second = "host-1:7:ab12", "host-2:9:cd34/ef56"
    gateways = [str(tenant.system_provider.pk), str(uuid.uuid4())]
    names = {"xmpp-shard:2": first, "xmpp-shard:10": first, "xmpp-shard:1": first, "xmpp-shard:3": second}
    names |= {f"sms-gateway:{gateways[0]}": first, f"sms-gateway:{gateways[1]}": second}
    names |= {"scheduler": second, f"xmpp-bridge:{second}": second, "nobodys": ""}
    now = timezone.now()
    for n, (name, holder) in enumerate(names.items()):
        since = now - timedelta(minutes=n)
        Lease.objects.create(name=name, holder=holder, deadline=now + timedelta(hours=1), held_since=since)
    found = {(row.title, row.worker): row for row in holdings()}
    assert {key: row.parts for key, row in found.items()} == {
        ("Scheduler", "host-2, process 9"): "",
        ("SMS gateway", "host-1, process 7"): str(tenant.system_provider),
        # An id that no tenant has says nothing to a reader.
        ("SMS gateway", "host-2, process 9"): "",
        ("XMPP bridge", "host-2, process 9"): "",
        ("XMPP shard", "host-1, process 7"): "1–2, 10",
        ("XMPP shard", "host-2, process 9"): "3",
    }
    assert found["XMPP shard", "host-1, process 7"].since == now


def test_a_lease_is_held_since_it_was_taken() -> None:
    """Not since it was renewed, nor since somebody else had it."""
    epoch = leases.acquire("one", "a", 60)
    taken = Lease.objects.get().held_since
    leases.renew(["one"], "a", 60)
    assert Lease.objects.get().held_since == taken
    assert epoch is not None
    leases.release("one", "a", epoch)
    leases.acquire("one", "b", 60)
    assert Lease.objects.get().held_since > taken


class Idler(Resident):
    """Runs until it is stopped."""

    name = "idler"

    async def run(self) -> None:
        await self.stopping.wait()


def test_a_worker_follows_at_once(operator: PortalAccount) -> None:
    """Stopped it ends and says so, restarted it runs again."""

    def row() -> Service:
        return Service.objects.get(name="idler")

    with ExitStack() as stack:
        stack.callback(close_database_threads)
        stack.enter_context(hosting(Idler))
        eventually(lambda: Service.objects.filter(name="idler", actual="running").exists(), "it runs")
        stop_service(actor=operator, service=row())
        eventually(lambda: row().actual == "stopped", "it is stopped")
        assert row().detail == "Stopped on request."
        restart_service(actor=operator, service=row())
        eventually(lambda: row().actual == "running", "it runs again")
