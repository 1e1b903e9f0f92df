"""What breaks around the SMS gateway: killed and sleeping workers, a server that restarts, a database that is away."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django.live_server_helper import LiveServer

from cpaas.models import Message
from cpaas.services.sending import lock_number
from portal.models import Lease
from portal.residents.database import close_database_threads
from portal.sql import execute
from portal.tests.residents import eventually, hosting
from tests.faults.residents_process import ResidentsProcess
from tests.faults.tcp_gate import Gate
from tests.faults.web_process import wait_until_alone
from tests.prosody import Prosody
from tests.sandbox_process import SandboxProcess
from tests.xmpp_peer import UcOne
from xmpp.gateway import SmsGatewayResident
from xmpp.models import SmsGateway, TextToXmpp
from xmpp.tests.gateway_town import Town

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fault]
LEASE_S = 3.0


@pytest.fixture
def town(
    own_prosody: Prosody, sandbox_process: SandboxProcess, settings: Any, live_server: LiveServer
) -> Iterator[Town]:
    sandbox_process.reset()
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    settings.PUBLIC_URL = live_server.url
    made = Town(own_prosody, sandbox_process)
    made.hook("")
    yield made
    # Nothing may still come in when the database is emptied.
    sandbox_process.reset()


@contextmanager
def workers(folder: Path, count: int, database_port: int | None = None) -> Iterator[list[ResidentsProcess]]:
    started = []
    for n in range(count):
        (folder / str(n)).mkdir(exist_ok=True)
        started.append(ResidentsProcess(folder / str(n), lease_s=LEASE_S, database_port=database_port))
    try:
        yield started
    finally:
        for each in started:
            each.signal(signal.SIGCONT)
            each.kill()
        wait_until_alone()


def _wait_until_blocked() -> None:
    """Somebody waits for a lock of ours."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    eventually(lambda: execute(waiting))


def holder_of(town: Town) -> str:
    return Lease.objects.filter(name=f"sms-gateway:{town.provider.pk}").values_list("holder", flat=True).first() or ""


def busy(town: Town, started: list[ResidentsProcess]) -> ResidentsProcess:
    """The worker that has the gateway."""
    town.wait_status("online")
    holder = eventually(lambda: holder_of(town))
    return next(each for each in started if f":{each._process.pid}:" in holder)


def send_until_all_are_taken(town: Town, peer: UcOne, texts: Mapping[str, str]) -> None:
    """As a client does: what was not taken is sent again, with the same id. Each text goes out once."""

    def all_sent() -> bool:
        missing = set(texts.values()) - set(town.sent())
        for key, text in texts.items():
            if text in missing:
                peer.send(town.address(), text, id=key)
        peer.sync()
        return not missing

    eventually(all_sent)
    assert Counter(town.sent()) == Counter(texts.values())


def test_killed_under_traffic_nothing_is_missing_and_no_text_is_sent_twice(town: Town, tmp_path: Path) -> None:
    """`kill -9` of the worker that has the gateway, with texts in both directions: another takes over. What a client
    repeats is known by its id, what was received comes with the same id if it comes again."""
    with workers(tmp_path, 2) as started:
        victim = busy(town, started)
        peer = town.peer.connect()
        inbound = threading.Thread(target=lambda: [town.receive(f"In {n}") for n in range(40)])
        inbound.start()
        ids = {f"out-{n}": f"Out {n}" for n in range(40)}
        for n, (key, text) in enumerate(ids.items()):
            peer.send(town.address(), text, id=key)
            if n == 20:
                victim.kill()
        inbound.join()
        eventually(lambda: holder_of(town) and f":{victim._process.pid}:" not in holder_of(town))
        town.wait_status("online")
        send_until_all_are_taken(town, peer, ids)
        eventually(lambda: not TextToXmpp.objects.filter(state__in=["queued", "sending"]).exists())
        peer.sync()
        by_id = {each.id: each.body for each in peer.messages}
        assert sorted(by_id.values(), key=lambda body: int(body.split()[1])) == [f"In {n}" for n in range(40)]
        peer.disconnect()


def test_one_that_sleeps_through_its_lease_says_nothing_when_it_wakes(town: Town, tmp_path: Path) -> None:
    """SIGSTOP: the other one is let in, and passes on what comes; awake again, the sleeper neither writes nor stays."""
    with workers(tmp_path, 2) as started:
        sleeper = busy(town, started)
        peer = town.peer.connect()
        town.receive("Before")
        peer.wait_text("Before")
        eventually(lambda: not TextToXmpp.objects.filter(state__in=["queued", "sending"]).exists())
        sleeper.signal(signal.SIGSTOP)
        eventually(lambda: holder_of(town) and f":{sleeper._process.pid}:" not in holder_of(town))
        town.receive("While it slept")
        peer.wait_text("While it slept")
        sleeper.signal(signal.SIGCONT)
        for n in range(5):
            town.receive(f"After {n}")
            peer.wait_text(f"After {n}")
        assert f":{sleeper._process.pid}:" not in holder_of(town)
        texts = [each.body for each in peer.messages]
        assert texts == ["Before", "While it slept", *(f"After {n}" for n in range(5))]
        peer.disconnect()


def test_what_comes_while_the_server_is_away_is_there_when_it_is_back(town: Town, tmp_path: Path) -> None:
    """Stopped in order and killed: each received text arrives, in order."""
    with workers(tmp_path, 1) as started:
        busy(town, started)
        peer = town.peer.connect()
        for n, end in enumerate([town.prosody.stop, town.prosody.kill]):
            end()
            town.wait_status("unreachable")
            for part in range(3):
                town.receive(f"Away {n}.{part}")
            town.prosody.start()
            town.wait_status("online")
            peer.wait(lambda: not peer.online)
            peer.connect()
            peer.wait_text(f"Away {n}.2")
        # Sent without an answer from the server, a text comes again with the same id.
        by_id = {each.id: each.body for each in peer.messages}
        assert list(by_id.values()) == [f"Away {n}.{part}" for n in range(2) for part in range(3)]
        peer.disconnect()


def test_a_text_from_xmpp_while_no_gateway_runs_is_refused_by_the_server(town: Town, tmp_path: Path) -> None:
    """The client sees at once that nobody took it, and sends it again later."""
    peer = town.peer.connect()
    assert peer.wait_error(peer.send(town.address(), "Anybody?", id="again")).error_type == "wait"
    with workers(tmp_path, 1) as started:
        busy(town, started)
        peer.send(town.address(), "Anybody?", id="again")
        eventually(lambda: town.sent() == ["Anybody?"])
        assert Message.objects.count() == 1
        assert SmsGateway.objects.get().status == "online"
    peer.disconnect()


def test_texts_that_wait_at_an_ordinary_stop_go_back_to_their_writers(town: Town) -> None:
    """What is being taken is taken; of all others the client hears that it must send them again."""
    with hosting(SmsGatewayResident) as host:
        town.wait_status("online")
        peer = town.peer.connect()
        with transaction.atomic():
            lock_number(town.number.pk)
            peer.send(town.address(), "Being taken")
            _wait_until_blocked()
            ids = [peer.send(town.address(), f"Waiting {n}") for n in range(5)]
            town.wait_heard(peer)
            host.stop()
            assert {peer.wait_error(key).error_type for key in ids} == {"wait"}
        eventually(lambda: town.sent() == ["Being taken"])
        peer.disconnect()
    close_database_threads()
    assert town.sent() == ["Being taken"]


def test_texts_that_wait_when_the_connection_breaks_are_taken(town: Town) -> None:
    """In their order, once; a refusal is told on the next connection."""
    with hosting(SmsGatewayResident):
        town.wait_status("online")
        peer = town.peer.connect()
        with transaction.atomic():
            lock_number(town.number.pk)
            texts = ["Being taken", *(f"Waiting {n}" for n in range(5))]
            peer.send(town.address(), texts[0])
            _wait_until_blocked()
            refused = peer.send(town.address("+442079460000"), "To another country")
            for text in texts[1:]:
                peer.send(town.address(), text)
            town.wait_heard(peer)
            town.prosody.kill()
            town.wait_status("unreachable")
            town.prosody.start()
            peer.wait(lambda: not peer.online)
            peer.connect()
        eventually(lambda: town.sent() == texts)
        assert "country" in (peer.wait_error(refused).error_text or "")
        peer.disconnect()
    close_database_threads()


def test_with_the_database_away_nothing_is_lost_and_nothing_comes_twice(town: Town, tmp_path: Path) -> None:
    """Under traffic in both directions: who writes meanwhile is told to send again, what is received comes later."""
    address = connection.settings_dict
    with Gate((address["HOST"], int(address["PORT"]))) as gate, workers(tmp_path, 1, gate.port) as started:
        busy(town, started)
        peer = town.peer.connect()
        ids = {f"out-{n}": f"Out {n}" for n in range(30)}
        for n, (key, text) in enumerate(ids.items()):
            town.receive(f"In {n}")
            peer.send(town.address(), text, id=key)
            if n == 10:
                gate.cut()
        assert peer.wait_error("out-29").error_type == "wait"
        gate.open()
        send_until_all_are_taken(town, peer, ids)
        eventually(lambda: TextToXmpp.objects.count() == 30)
        eventually(lambda: not TextToXmpp.objects.filter(state__in=["queued", "sending"]).exists())
        peer.sync()
        by_id = {each.id: each.body for each in peer.messages}
        assert list(by_id.values()) == [f"In {n}" for n in range(30)]
        peer.disconnect()
