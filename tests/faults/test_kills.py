"""Every part of the portal killed, stopped or cut off in the middle of 200 sends and 200 inbound texts.

Accepted = kept, sent = sent once, doubtful = `unknown` until receipt or look-up settle it, and every event stream goes
on without a hole or a double: tests.faults.ledger checks all of it after each fault (architecture 3.3, R32, R37).
"""

from __future__ import annotations

import os
import time

import pytest

from tests.faults.conftest import Begin
from tests.faults.stage import LEASE_S, Stage
from tests.sandbox_process import wait_for
from tests.simulated_carriers import SIMULATED

pytestmark = pytest.mark.fault
# Long enough for everybody to notice, short enough for the carrier's and the clients' patience.
AWAY_S = int(os.environ.get("PORTAL_FAULT_AWAY_S", "6"))
ASLEEP_S = 30
OTHER_CARRIERS = sorted(SIMULATED.keys() - {"inteliquent"})
FEWER_TEXTS = 80


def test_web_killed(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    stage.web.kill()
    stage.web.start()
    ledger.wait_until_whole()
    ledger.write("web server with both its workers killed")


def test_dispatcher_killed(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    stage.here.kill()
    stage.here.start()
    ledger.wait_until_whole()
    ledger.write("one of two dispatchers killed")


def test_both_dispatchers_killed(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    for program in stage.residents:
        program.kill()
    for program in stage.residents:
        program.start()
    ledger.wait_until_whole()
    ledger.write("both dispatchers killed")


@pytest.mark.parametrize("carrier", OTHER_CARRIERS)
def test_web_and_dispatcher_killed(stage: Stage, begin: Begin, carrier: str) -> None:
    """With forms, receipts and look-ups of their own. What Restcomm told nobody is asked for afterwards."""
    traffic, ledger = begin(carrier=carrier, texts=FEWER_TEXTS)
    traffic.amid()
    for program in (stage.web, stage.here):
        program.kill()
    for program in (stage.web, stage.here):
        program.start()
    traffic.finish()
    if traffic.town.carrier.kind.tells_once:
        stage.fetch_missed()
    ledger.wait_until_whole()
    ledger.write(f"web server and a dispatcher killed, {traffic.town.carrier.kind.label}")


def test_scheduler_killed(stage: Stage, begin: Begin) -> None:
    """Its duties go on elsewhere before it is back."""
    traffic, ledger = begin()
    traffic.amid()
    keeper = wait_for(stage.keeper_of_the_schedule, what="a scheduler")
    runs = stage.periodic_runs("cpaas.tasks.work_numbers")
    keeper.kill()
    wait_for(lambda: stage.keeper_of_the_schedule() not in (None, keeper), what="another scheduler")
    wait_for(lambda: stage.periodic_runs("cpaas.tasks.work_numbers") > runs, what="the next sweep")
    keeper.start()
    ledger.wait_until_whole()
    ledger.write("the scheduler's holder killed, another takes over")


def test_task_worker_killed(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    stage.tasks.kill()
    stage.tasks.start()
    ledger.wait_until_whole()
    ledger.write("task worker killed")


def test_database_session_killed(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    stage.postgres.kill_a_backend()
    ledger.wait_until_whole()
    ledger.write("one PostgreSQL backend killed, PostgreSQL restarts all")


def test_database_killed(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    stage.postgres.program.kill()
    stage.postgres.start()
    ledger.wait_until_whole()
    ledger.write("PostgreSQL killed, started again at once")


def test_database_away(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    stage.postgres.program.kill()
    time.sleep(AWAY_S)
    stage.postgres.start()
    ledger.wait_until_whole()
    ledger.write(f"PostgreSQL killed and away for {AWAY_S} s")


def test_database_hangs(stage: Stage, begin: Begin) -> None:
    """Connections stand and nothing answers, as with a stalled disk; long enough for all leases to run out."""
    traffic, ledger = begin()
    traffic.amid()
    stage.postgres.program.pause()
    time.sleep(3 * LEASE_S)
    stage.postgres.program.resume()
    ledger.wait_until_whole()
    ledger.write(f"PostgreSQL stopped for {3 * LEASE_S:.0f} s, connections open")


def test_redis_killed(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    stage.redis.program.kill()
    stage.redis.start()
    ledger.wait_until_whole()
    ledger.write("Redis killed, started again empty")


def test_broker_gone_for_good(stage: Stage, begin: Begin) -> None:
    """Everything is whole before Redis is back: residents and streams go on by their sweeps."""
    traffic, ledger = begin()
    traffic.amid()
    stage.redis.program.kill()
    ledger.wait_until_whole()
    assert all(program.running for program in stage.portal)
    ledger.write("Redis gone for good: no broker, no wake-ups")
    stage.redis.start()


def test_everything_killed(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    for program in (*stage.portal, stage.redis.program, stage.postgres.program):
        program.kill()
    stage.postgres.start()
    stage.redis.start()
    for program in stage.portal:
        program.start()
    ledger.wait_until_whole()
    ledger.write("everything killed at once: web, workers, Redis, PostgreSQL")


def test_dispatcher_asleep(stage: Stage, begin: Begin) -> None:
    """Beyond its lease and beyond the carrier's time-out; what it had in its hands was given up meanwhile."""
    traffic, ledger = begin()
    traffic.amid()
    stage.here.pause_when(lambda: stage.held_by(stage.here))
    time.sleep(ASLEEP_S)
    stage.here.resume()
    ledger.wait_until_whole()
    ledger.write(f"a dispatcher stopped for {ASLEEP_S} s that wakes up late")


def test_two_dispatchers(stage: Stage, begin: Begin) -> None:
    """On one queue, and each once restarted in order: then nothing is even doubtful."""
    traffic, ledger = begin()
    traffic.amid()
    for program in stage.residents:
        program.end()
        program.start()
    ledger.wait_until_whole()
    query = """SELECT count(DISTINCT a.claim) AS n FROM cpaas_attempt a JOIN cpaas_message m ON m.id = a.message_id
               WHERE m.text LIKE %s"""
    assert stage.rows(query, f"{traffic.name} %")[0]["n"] >= 2
    assert ledger.figures()["doubtful"] == 0
    ledger.write("two dispatchers on one queue, each restarted in order")


def test_commit_overtaken(stage: Stage, begin: Begin) -> None:
    """Every tenth event's transaction is held open after its number was taken, and others commit (architecture 5)."""
    with stage.slow_inserts("portal_event", "NEW.number % 10 = 0", 0.2):
        _, ledger = begin()
        ledger.wait_until_whole()
    ledger.write("every tenth event's transaction held open for 0.2 s")
