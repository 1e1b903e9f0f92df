"""Three workers keep XMPP sessions online while one is killed, one sleeps, or the server goes away."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.ledger import FIGURES
from tests.faults.tcp_gate import Gate
from tests.faults.xmpp_town import (
    Stopwatch,
    Traffic,
    accounts_of,
    busiest,
    make_accounts,
    online,
    wait_all_online,
    workers,
)
from tests.prosody import Prosody
from tests.sandbox_process import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fault]
LEASE_S = 6.0 if "PORTAL_FAULT_SLEEP_S" in os.environ else 3.0
AWAY_S = float(os.environ.get("PORTAL_FAULT_AWAY_S", "6"))
SLEEP_S = float(os.environ.get("PORTAL_FAULT_SLEEP_S", "8"))


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keep what a scenario measured (docs/faults.md); nothing is asserted of it."""

    def write(**figures: object) -> None:
        FIGURES.mkdir(parents=True, exist_ok=True)
        row = {"scenario": request.node.name.removeprefix("test_"), **figures}
        (FIGURES / f"xmpp-{request.node.name}.json").write_text(json.dumps(row))

    return write


def test_kill_of_the_busiest(prosody: Prosody, broker_place: int, tmp_path: Path, note: Callable[..., None]) -> None:
    """Architecture 6: its sessions are taken up by the others; nothing is missing, and nobody sees anything twice."""
    accounts = make_accounts(prosody, 24)
    with workers(tmp_path, broker_place + 1, 3, lease_s=LEASE_S) as programs:
        wait_all_online(accounts, programs)
        wait_for(lambda: all(accounts_of(program, accounts) for program in programs), what="a share for each")
        traffic = Traffic(prosody, accounts)
        try:
            wait_for(lambda: len(traffic.sent) > 40, what="traffic")
            victim = busiest(programs, accounts)
            lost = accounts_of(victim, accounts)
            logins = Counter({account.imp_id: len(prosody.mechanisms(account.imp_id)) for account in lost})
            victim.kill()
            watch = Stopwatch()
            again = lambda a: len(prosody.mechanisms(a.imp_id)) > logins[a.imp_id]  # noqa: E731
            wait_for(lambda: all(map(again, lost)) and online(accounts) == len(accounts), what="sessions elsewhere")
            elsewhere_s = watch.seconds
            wait_for(lambda: len(traffic.sent) > 200, what="traffic")
            traffic.stop()
            traffic.settle()
        finally:
            traffic.close()
    note(
        lease_s=LEASE_S,
        sessions=len(lost),
        elsewhere_s=elsewhere_s,
        out=len(traffic.sent),
        incoming=len(traffic.received),
        stanzas_doubled=traffic.stanzas_doubled_outwards(),
    )
    assert traffic.doubled_inwards() == 0
    assert traffic.visible_twice_outwards() == []


def test_sleeper_does_not_send_when_it_wakes(
    prosody: Prosody, broker_place: int, tmp_path: Path, note: Callable[..., None]
) -> None:
    """Architecture 6: a worker that slept through its leases sends and stores nothing more for them."""
    accounts = make_accounts(prosody, 24)
    with workers(tmp_path, broker_place + 1, 3, lease_s=LEASE_S) as programs:
        wait_all_online(accounts, programs)
        wait_for(lambda: all(accounts_of(program, accounts) for program in programs), what="a share for each")
        traffic = Traffic(prosody, accounts)
        try:
            wait_for(lambda: len(traffic.sent) > 40, what="traffic")
            sleeper = busiest(programs, accounts)
            lost = accounts_of(sleeper, accounts)
            sleeper.pause()
            time.sleep(SLEEP_S)
            assert not accounts_of(sleeper, accounts)
            before = Counter(each.id for peer in traffic.peers for each in peer.messages)
            sleeper.resume()
            wait_for(lambda: len(traffic.sent) > 300, what="traffic")
            traffic.stop()
            traffic.settle()
        finally:
            traffic.close()
    after = Counter(each.id for peer in traffic.peers for each in peer.messages)
    note(
        slept_s=SLEEP_S,
        sessions=len(lost),
        out=len(traffic.sent),
        incoming=len(traffic.received),
        stanzas_doubled=traffic.stanzas_doubled_outwards(),
    )
    assert [key for key in before if after[key] > before[key]] == []
    assert traffic.doubled_inwards() == 0
    assert traffic.visible_twice_outwards() == []


def test_database_away(
    prosody: Prosody, gate: Gate, broker_place: int, tmp_path: Path, note: Callable[..., None]
) -> None:
    """Rule 3: no worker has the database for a while, twice, in the middle of traffic; nothing is missing after."""
    accounts = make_accounts(prosody, 12)
    with workers(tmp_path, broker_place + 1, 2, lease_s=LEASE_S, database_port=gate.port) as programs:
        wait_all_online(accounts, programs)
        traffic = Traffic(prosody, accounts)
        try:
            for wanted in (60, 160):
                wait_for(lambda wanted=wanted: len(traffic.sent) > wanted, what="traffic")
                gate.cut()
                time.sleep(AWAY_S)
                gate.open()
            watch = Stopwatch()
            wait_for(lambda: len(traffic.sent) > 300, what="traffic")
            traffic.stop()
            traffic.settle()
        finally:
            traffic.close()
    note(
        away_s=AWAY_S,
        whole_after_s=watch.seconds,
        out=len(traffic.sent),
        incoming=len(traffic.received),
        stanzas_doubled=traffic.stanzas_doubled_outwards(),
    )
    assert traffic.doubled_inwards() == 0
    assert traffic.visible_twice_outwards() == []


def test_server_restart_with_a_hundred_accounts(
    own_prosody: Prosody, broker_place: int, tmp_path: Path, note: Callable[..., None]
) -> None:
    """Facts 5: everybody comes back by themselves, once each, and not all in the same moment."""
    accounts = make_accounts(own_prosody, 100)
    with workers(tmp_path, broker_place + 1, 3, lease_s=LEASE_S) as programs:
        wait_all_online(accounts, programs)
        # Shares have to settle, or a rebalance would be taken for logins of the restart.
        wait_for(lambda: all(accounts_of(program, accounts) for program in programs), what="a share for each")
        own_prosody.stop()
        wait_for(lambda: online(accounts) == 0, what="everybody to notice")
        begun = len(own_prosody.mechanisms())
        own_prosody.start()
        watch = Stopwatch()
        wait_all_online(accounts, programs)
        back_s = watch.seconds
    attempts = re.findall(r"(\w{3} \d\d \d\d:\d\d:\d\d) .*SASL attempt", own_prosody.log)[begun:]
    note(accounts=len(accounts), back_s=back_s, logins=len(attempts), most_in_a_second=max(Counter(attempts).values()))
    assert len(attempts) == len(accounts)
