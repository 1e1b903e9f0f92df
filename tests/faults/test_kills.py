"""Every part of the portal killed in the middle of 200 sends and 200 inbound texts (architecture 3.3, R32, R37)."""

from __future__ import annotations

import pytest

from tests.faults.conftest import Begin
from tests.faults.stage import Stage

pytestmark = pytest.mark.fault


def test_web_killed(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    stage.web.kill()
    stage.web.start()
    ledger.wait_until_whole()
    ledger.write("web server with both workers killed")


def test_dispatcher_killed(stage: Stage, begin: Begin) -> None:
    traffic, ledger = begin()
    traffic.amid()
    stage.here.kill()
    stage.here.start()
    ledger.wait_until_whole()
    ledger.write("one of two dispatchers killed")
