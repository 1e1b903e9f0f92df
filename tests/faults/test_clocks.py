"""One machine's clock jumps in the middle of the traffic, by days to years, while all others are right.

Only the wall clock of the program is turned (turned_clock/), not the clocks that nobody can set, as with a real jump.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests

from tests.faults.conftest import Begin
from tests.faults.programs import Program
from tests.faults.stage import Stage
from tests.sandbox_process import wait_for

pytestmark = pytest.mark.fault
PURGE, SWEEP = "cpaas.tasks.purge", "cpaas.tasks.work_numbers"
TURNED_CLOCK = Path(__file__).parent / "turned_clock"


class Clock:
    """The wall clock of a program started with `environment`, to be turned while it runs."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.environment = {"PYTHONPATH": str(TURNED_CLOCK), "TURNED_CLOCK": str(self._file)}
        self.jump(0)

    def jump(self, days: int) -> None:
        aside = self._file.with_suffix(".new")
        aside.write_text(str(days))
        aside.rename(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


def restart(stage: Stage, program: Program, **environment: str) -> None:
    program.end()
    program.start(**environment)
    stage.wait_until_whole()


def residents_live(stage: Stage, days: int) -> bool:
    """The residents' log is dated so many days from now: the jump was a real one."""
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat() in stage.here.said()


def web_lives(stage: Stage, days: int) -> bool:
    """What the web server takes for today is so many days from now."""
    date = requests.get(f"{stage.url}/healthz", timeout=10).headers["Date"]
    return parsedate_to_datetime(date).date() == (datetime.now(UTC) + timedelta(days=days)).date()


def test_clock_of_a_dispatcher_jumps(stage: Stage, begin: Begin, clock: Clock) -> None:
    """Nothing expires, and nothing waits for a day. It keeps the schedule too, and leaves it in order."""
    restart(stage, stage.here, **clock.environment)
    stage.there.end()
    wait_for(lambda: stage.keeper_of_the_schedule() is stage.here, what="the schedule to be kept by the wrong clock")
    stage.there.start()
    stage.wait_until_whole()
    purges, runs = stage.periodic_runs(PURGE), stage.periodic_runs(SWEEP)
    traffic, ledger = begin()
    traffic.amid()
    for days in (400, -1):
        clock.jump(days)
        wait_for(lambda days=days: residents_live(stage, days), what="the jump")
    ledger.wait_until_whole()
    wait_for(lambda: stage.periodic_runs(SWEEP) > runs, what="the schedule to go on")
    stage.here.kill()
    wait_for(lambda: stage.keeper_of_the_schedule() is stage.there, what="its successor")
    runs = stage.periodic_runs(SWEEP)
    wait_for(lambda: stage.periodic_runs(SWEEP) > runs, what="its successor's first sweep")
    assert stage.periodic_runs(PURGE) == purges
    stage.here.start()
    ledger.write("the clock of a dispatcher and scheduler jumps by +400 and -1 days")


def test_clock_of_the_web_server_jumps(stage: Stage, begin: Begin, clock: Clock) -> None:
    """No device is logged out, and texts bear the right time, so that no purge takes them."""
    restart(stage, stage.web, **clock.environment)
    traffic, ledger = begin()
    traffic.amid()
    for days in (400, -1):
        clock.jump(days)
        wait_for(lambda days=days: web_lives(stage, days), what="the jump")
    ledger.wait_until_whole()
    query = "SELECT count(*) AS n FROM cpaas_message WHERE abs(extract(epoch FROM now() - created_at)) > 3600"
    assert stage.rows(query)[0]["n"] == 0
    # A purge on a machine that is years ahead takes nothing either.
    clock.jump(4000)
    before = stage.rows("SELECT count(*) AS n FROM cpaas_message")
    stage.manage("purge", **clock.environment)
    assert stage.rows("SELECT count(*) AS n FROM cpaas_message") == before
    restart(stage, stage.web)
    ledger.write("the web server's clock jumps by +400 and -1 days")
