"""Fixtures of the tests that start processes, and the doors the walk tried."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def broker_place() -> int:
    """The first of three places at the tests' broker that belong to this test process, one for each stack it may run.

    The stack of tests/e2e takes the first, a stack of one module the second, the stage of tests/faults the third.
    """
    return 1 + 3 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 5)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Whoever walked (tests/isolation), how many doors were tried, and how many of them were open."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    walks = sorted(value for report in reports for name, value in report.user_properties if name == "doors")
    if walks:
        terminalreporter.section("doors tried by strangers")
        for who, tried, opened in [*walks, ["all", sum(w[1] for w in walks), sum(w[2] for w in walks)]]:
            terminalreporter.write_line(f"{who:32} {tried:6} tried {opened:4} open")
