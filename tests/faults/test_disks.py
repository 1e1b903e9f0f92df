"""Disks without a byte left: the database's, and the one webhooks are spooled to while the database is away (R37)."""

from __future__ import annotations

import time

import pytest
import requests

from tests.faults.conftest import Begin
from tests.faults.servers import Postgres
from tests.faults.stage import Stage
from tests.sandbox_process import wait_for

pytestmark = pytest.mark.fault
FULL_S = 5


def test_disk_of_the_database_full(stage: Stage, begin: Begin) -> None:
    """PostgreSQL cannot write, and may even give up; webhooks are spooled, clients hear 503 and come back."""
    traffic, ledger = begin()
    traffic.amid()
    stage.data_disk.fill()
    wait_for(lambda: list(stage.var_disk.path.glob("spool/*.call")), what="the first call in the spool")
    time.sleep(FULL_S)
    stage.data_disk.clear()
    wait_for(lambda: up_again(stage.postgres), what="PostgreSQL")
    ledger.wait_until_whole()
    ledger.write("the database's disk full")


def test_disk_of_the_spool_full(stage: Stage, begin: Begin) -> None:
    """With the database away too, nothing can be kept: the carrier hears 503 and tries again."""
    traffic, ledger = begin()
    traffic.amid()
    stage.var_disk.fill()
    stage.postgres.program.kill()
    wait_for(lambda: refused(stage), what="the first call that could not be kept")
    time.sleep(1)
    assert not list(stage.var_disk.path.glob("spool/*.call"))
    stage.var_disk.clear()
    wait_for(lambda: list(stage.var_disk.path.glob("spool/*.call")), what="the first call in the spool")
    stage.postgres.start()
    ledger.wait_until_whole()
    assert not list(stage.var_disk.path.glob("spool/*"))
    ledger.write("the spool's disk full and PostgreSQL away")


def up_again(postgres: Postgres) -> bool:
    """It may have given up, or be about to."""
    if not postgres.program.running:
        postgres.program.start()
    return postgres.answers()


def refused(stage: Stage) -> bool:
    """A webhook was answered 503, as the carrier saw it."""
    url = f"http://127.0.0.1:{stage.sandbox_port}/_control/inteliquent/deliveries/"
    return any(row["http_status"] == 503 for row in requests.get(url, timeout=30).json()["results"][-50:])
