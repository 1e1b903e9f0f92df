"""IM&P tests against a real simulator of BroadWorks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.sandbox_process import BroadworksControl, SandboxProcess


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    process = SandboxProcess()
    yield process
    process.stop()


@pytest.fixture
def broadworks(sandbox_process: SandboxProcess, settings: Any) -> BroadworksControl:
    """BroadWorks as it starts: no users, no faults."""
    sandbox_process.reset()
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    return sandbox_process.broadworks
