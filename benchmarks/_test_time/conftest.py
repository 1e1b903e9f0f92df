"""Tells, in the folder BENCH_TIMES, how long the tests of this process took, without the making of their database."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _clock(django_db_setup: None) -> Iterator[None]:
    began = time.perf_counter()
    yield
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    (Path(os.environ["BENCH_TIMES"]) / worker).write_text(str(time.perf_counter() - began))
