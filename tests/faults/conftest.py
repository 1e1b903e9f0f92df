"""One stage for all scenarios of a test process: that it is whole again after each fault is part of the proof."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.e2e.world import PASSWORD, Carrier
from tests.faults.ledger import FIGURES, Ledger
from tests.faults.stage import Stage, standing_stage
from tests.faults.tcp_gate import Gate
from tests.faults.traffic import Town, Traffic
from tests.faults.web_process import WebProcess
from tests.simulated_carriers import EVERY_SECRET, SIMULATED

STARTED = time.time()
Begin = Callable[..., tuple[Traffic, Ledger]]
_COLUMNS = ["delivered", "sent", "failed", "doubtful", "settled", "still_unknown", "send_retries", "webhook_retries"]
_COLUMNS += ["reconnects", "whole_after_s"]


@pytest.fixture(scope="session")
def town(broker_place: int) -> Iterator[Town]:
    with standing_stage(broker_place + 2) as stage:
        yield Town(stage)
        # A test that failed may have left the database dead.
        stage.mend()
        assert stage.leaks(*EVERY_SECRET, PASSWORD) == set()


@pytest.fixture(scope="session")
def town_of(town: Town) -> Callable[[str], Town]:
    """The town of the same stage whose users text over such a carrier, built when it is first asked for."""
    towns = {town.carrier.kind.code: town}

    def find(code: str) -> Town:
        if code not in towns:
            towns[code] = Town(town.stage, Carrier(town.stage.sandbox_port, SIMULATED[code]), town.operator)
        return towns[code]

    return find


@pytest.fixture
def stage(town: Town) -> Stage:
    town.stage.mend()
    town.stage.wait_until_whole()
    return town.stage


@pytest.fixture
def begin(town_of: Callable[[str], Town], stage: Stage, request: pytest.FixtureRequest) -> Iterator[Begin]:
    """`begin()` starts the traffic of a test; what the test found is written down when it passes."""
    running: list[Traffic] = []

    def start(carrier: str = "inteliquent", **options: int) -> tuple[Traffic, Ledger]:
        name = "-".join(re.findall("[a-z0-9]+", request.node.name.removeprefix("test_")))
        running.append(Traffic(town_of(carrier), name, **options))
        return running[-1], Ledger(running[-1])

    yield start
    for traffic in running:
        traffic.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """The way to the test database, which can be shut."""
    found = connection.settings_dict
    with Gate((found["HOST"], int(found["PORT"]))) as opened:
        yield opened


@pytest.fixture
def web(gate: Gate, tmp_path: Path) -> Iterator[WebProcess]:
    """A web server behind the gate."""
    process = WebProcess(tmp_path, database_port=gate.port)
    process.start()
    yield process
    process.kill()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    found = [path for path in sorted(FIGURES.glob("*.json")) if path.stat().st_mtime > STARTED]
    rows = [json.loads(path.read_text()) for path in found]
    if not rows:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(" | ".join(["scenario", *_COLUMNS]))
    for row in rows:
        if "delivered" in row:
            terminalreporter.write_line(" | ".join(str(row[name]) for name in ["scenario", *_COLUMNS]))
        else:
            terminalreporter.write_line(" | ".join(f"{name} {value}" for name, value in row.items()))
