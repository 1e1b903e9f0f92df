"""Fixtures of the tests that start processes."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def broker_place() -> int:
    """The first of three places at the tests' broker that belong to this test process, one for each stack it may run.

    The stack of tests/e2e takes the first, a stack of one module the second, the stage of tests/faults the third.
    """
    return 1 + 3 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 5)
