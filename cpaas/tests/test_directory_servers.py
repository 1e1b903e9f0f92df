"""Servers among the directories: asked together, for a moment only, and never in the way of the others (S1.35)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import wait
from typing import Any

import pytest
from django.db import transaction

from cpaas.tests.factories import ConversationFactory, CpaasNumberFactory, MessageFactory
from portal import clock
from portal.directory.models import Directory, FoundName
from portal.directory.services import asking
from portal.directory.tests.factories import DirectoryFactory, make_contact
from portal.directory.tests.ldap_server import LdapServer
from portal.models import Event
from portal.outside import TransactionOpen
from portal.tests.tenants import Tenant, make_tenant
from portal.tests.test_api_conventions import problem

BASE = "/api/v1/"
GRACE = "+12025550131"


@pytest.fixture(scope="module")
def server() -> Iterator[LdapServer]:
    running = LdapServer([("Grace Hopper", {"mobile": GRACE})])
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.PORTAL_ALLOW_PRIVATE_URLS = True


@pytest.fixture
def acme(transactional_db: None) -> Tenant:
    return make_tenant("Acme")


def ldap_directory(tenant: Tenant, server: LdapServer, **changes: Any) -> Directory:
    settings = server.settings(**changes)
    secrets = {"password": settings.pop("password")}
    return DirectoryFactory(group=tenant.group, kind="ldap", name="Navy", settings=settings, secrets=secrets)


def test_contacts_of_servers_are_merged(api: Any, acme: Tenant, server: LdapServer) -> None:
    directory = ldap_directory(acme, server)
    make_contact(acme.user, "Grace Jones", "+12025550199")
    client = api(acme.device_token)
    answer = client.get(f"{BASE}directory/?q=grace").json()
    assert [(row["name"], row["source"]) for row in answer["results"]] == [
        ("Grace Hopper", "ldap"), ("Grace Jones", "personal")
    ]  # fmt: skip
    assert answer["servers"] == [{"name": "Navy", "source": "ldap", "ok": True}]
    assert client.get(f"{BASE}directory/", {"number": GRACE}).json()["results"] == [answer["results"][0]]
    assert client.get(f"{BASE}directory/?q=grace&source=personal").json()["servers"] == []
    assert client.get(f"{BASE}directory/").json()["servers"] == []
    directory.refresh_from_db()
    assert directory.state == "connected"


def test_one_that_is_away_does_not_hide_the_others(
    api: Any, acme: Tenant, server: LdapServer, time_machine: Any
) -> None:
    make_contact(acme.user, "Grace Jones")
    good = ldap_directory(acme, server)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bad = ldap_directory(acme, server, port=silent.getsockname()[1])
        client = api(acme.device_token)
        answer = client.get(f"{BASE}directory/?q=grace").json()
        assert {row["name"] for row in answer["results"]} == {"Grace Hopper", "Grace Jones"}
        assert [one["ok"] for one in answer["servers"]] == [True, False]
        bad.refresh_from_db()
        assert (bad.state, bad.failed_until is not None) == ("failed", True)
        silent.settimeout(5)
        silent.accept()[0].close()
        assert [one["ok"] for one in client.get(f"{BASE}directory/?q=grace").json()["servers"]] == [True, False]
        silent.settimeout(0.2)
        with pytest.raises(TimeoutError):  # it was left alone
            silent.accept()
    assert good.pk != bad.pk


def test_one_whose_turn_did_not_come_has_not_failed(acme: Tenant, server: LdapServer) -> None:
    """Servers of other tenants that keep all threads waiting must not have it left alone afterwards."""
    directory, go_on = ldap_directory(acme, server), threading.Event()
    busy = [asking._pool().submit(go_on.wait, 60) for _ in range(asking._THREADS)]
    try:
        [answer] = asking.search([directory], "grace")
    finally:
        go_on.set()
        wait(busy)
    assert answer.error
    directory.refresh_from_db()
    assert (directory.state, directory.failed_until) == ("new", None)


def test_the_test_button_says_what_came_of_it(api: Any, acme: Tenant, server: LdapServer) -> None:
    staff = api(acme.token)
    directory = ldap_directory(acme, server)
    url = f"{BASE}provisioning/directories/{directory.pk}/"
    status = staff.post(f"{url}test/").json()["status"]
    assert (status["state"], status["rows"]) == ("connected", None)
    assert "Contacts read: 1, with a number: 1. The first is Grace Hopper." in status["detail"]
    wrong = {"password": "a-wrong-password-99"}
    staff.patch(url, {"settings": wrong})
    status = staff.post(f"{url}test/").json()["status"]
    assert (status["state"], status["detail"]) == ("failed", "The server refused the bind DN or its password.")
    problem(api(acme.staff_tokens["system_provider", "read_only"]).post(f"{url}test/"), 403, "read_only")


def test_nobody_is_asked_with_a_transaction_open(acme: Tenant, server: LdapServer) -> None:
    directory = ldap_directory(acme, server)
    with transaction.atomic(), pytest.raises(TransactionOpen):
        asking.search([directory], "grace")


class TestNames:
    """Numbers that somebody saw are asked for by a task, which then tells that user."""

    def see(self, api: Any, acme: Tenant, remote: str = GRACE) -> Any:
        number = CpaasNumberFactory(user=acme.user)
        conversation = MessageFactory(conversation=ConversationFactory(number=number, remote=remote)).conversation
        client = api(acme.device_token)
        return lambda: client.get(f"{BASE}conversations/{conversation.pk}/").json()["remote"]

    def test_s1_34_a_name_is_found_and_told(self, api: Any, acme: Tenant, server: LdapServer) -> None:
        ldap_directory(acme, server)
        remote = self.see(api, acme)
        assert remote()["name"] is None
        before = Event.objects.filter(user_id=acme.user.pk).count()
        assert asking.look_up_due() == 1
        assert (remote()["name"], remote()["source"], remote()["kind"]) == ("Grace Hopper", "ldap", "mobile")
        assert Event.objects.filter(user_id=acme.user.pk).count() == before + 1
        assert asking.look_up_due() == 0

    def test_a_directory_that_is_deleted_while_it_is_asked(self, api: Any, acme: Tenant, server: LdapServer) -> None:
        directory = ldap_directory(acme, server)
        self.see(api, acme)()
        [row] = FoundName.objects.select_related("directory__system_provider")
        directory.delete()
        asking._look_up([row])
        assert not FoundName.objects.exists()

    def test_s1_34_who_saw_an_expired_name_again_is_told(self, api: Any, acme: Tenant, server: LdapServer) -> None:
        ldap_directory(acme, server)
        self.see(api, acme)()
        asking.look_up_due()
        FoundName.objects.update(expires_at="2026-01-01T00:00:00Z", wanted_by=acme.colleague.pk)
        self.see(api, acme)()
        assert FoundName.objects.get().wanted_by == acme.user.pk

    def test_nobody_of_that_number(self, api: Any, acme: Tenant, server: LdapServer) -> None:
        ldap_directory(acme, server)
        remote = self.see(api, acme, "+12025550177")
        remote()
        asking.look_up_due()
        [row] = FoundName.objects.all()
        assert (row.name, row.due_at, row.expires_at is not None) == ("", None, True)
        assert remote()["name"] is None
        assert asking.look_up_due() == 0

    def test_a_slow_server_keeps_no_name_of_others_waiting(
        self, api: Any, acme: Tenant, server: LdapServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor threads of the workers."""
        slow, quick = ldap_directory(acme, server), ldap_directory(make_tenant("Bolt"), server)
        now = clock.now()
        numbers = [GRACE, *(f"+1202555{n:04d}" for n in range(5))]
        FoundName.objects.bulk_create(FoundName(directory=slow, number=number, due_at=now) for number in numbers)
        FoundName.objects.create(directory=quick, number=GRACE, due_at=now)
        ask, beside = asking.with_number, list[int]()

        def ask_beside(*arguments: Any) -> Any:
            beside.append(asking.look_up_due())
            return ask(*arguments)

        monkeypatch.setattr(asking, "with_number", ask_beside)
        monkeypatch.setattr(asking, "TURN_S", 0)
        assert asking.look_up_due() == 7
        assert beside == [0, 0]
        assert FoundName.objects.get(directory=quick).name == "Grace Hopper"
        assert FoundName.objects.filter(directory=slow, due_at__gt=clock.now()).count() == 5
        assert asking.look_up_due() == 0

    def test_a_server_that_is_away_is_asked_later(self, api: Any, acme: Tenant, server: LdapServer) -> None:
        directory = ldap_directory(acme, server, port=9)
        remote = self.see(api, acme)
        remote()
        asking.look_up_due()
        [row] = FoundName.objects.all()
        assert row.due_at is not None
        assert row.expires_at is None
        settings = {**directory.settings, "port": server.tls_port}
        Directory.objects.update(settings=settings, failed_until=None)
        FoundName.objects.update(due_at="2026-01-01T00:00:00Z")
        asking.look_up_due()
        assert remote()["name"] == "Grace Hopper"
