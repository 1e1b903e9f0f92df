"""Tells, through BENCH_TIMES, how long the tests took that lie beside this, without the making of their database."""

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
    Path(os.environ["BENCH_TIMES"]).write_text(str(time.perf_counter() - began))
