"""Fixtures of the tests that start processes."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def broker_place() -> int:
    """Which place at the tests' broker belongs to this test process: this one and, for a second stack, the next."""
    return 2 + 2 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 6)
