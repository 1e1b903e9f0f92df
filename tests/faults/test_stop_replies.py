"""STOP while the portal is killed: every one counts, and each is answered once (R20)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults.stage import Stage
from tests.faults.traffic import CARRIER_LINES, LATENCY_MS, PATIENCE_S, Town
from tests.sandbox_process import wait_for

pytestmark = pytest.mark.fault
STOPS = 60
REPLY = "You will get no more texts from us."
_REPLIES = "SELECT remote, status FROM cpaas_message WHERE direction = 'out' AND text = %s"
_STOPPED = "SELECT remote FROM cpaas_stop WHERE stopped AND remote = ANY(%s)"


@pytest.fixture
def answering(town: Town, stage: Stage) -> Iterator[Town]:
    """The town, with a platform that answers STOP and a carrier that takes its time and gives nobody up."""
    town.carrier.reset()
    town.carrier.set(latency_ms=LATENCY_MS, retries=1000)
    town.carrier.receipts(mode="auto")
    path = f"platforms/{town.platform['id']}/"
    town.tenant.staff.patch(path, {"options": {"stop_reply": REPLY}})
    yield town
    town.tenant.staff.patch(path, {"options": {"stop_reply": None}})


def test_r20_every_stop_is_answered_once_whoever_is_killed(answering: Town, stage: Stage) -> None:
    remotes = [answering.new_remote() for _ in range(STOPS)]
    line = answering.lines[0]
    with ThreadPoolExecutor(CARRIER_LINES) as pool:
        calls = [pool.submit(answering.carrier.inbound, remote, line.number, "STOP") for remote in remotes]
        wait_for(lambda: len(stage.rows(_REPLIES, REPLY)) >= STOPS // 4, PATIENCE_S, "the first answers")
        for program in (stage.web, *stage.residents):
            program.kill()
        for program in (stage.web, *stage.residents):
            program.start()
        deliveries: list[Any] = [call.result()[-1] for call in calls]
    assert {delivery["http_status"] for delivery in deliveries} == {200}
    assert {row["remote"] for row in stage.rows(_STOPPED, remotes)} == set(remotes)
    wait_for(lambda: not _under_way(stage), PATIENCE_S, "every answer to be settled")
    assert Counter(row["remote"] for row in stage.rows(_REPLIES, REPLY)) == dict.fromkeys(remotes, 1)
    taken = Counter(row["to"] for row in answering.carrier.taken(line.number) if row["text"] == REPLY)
    assert not [remote for remote, times in taken.items() if times > 1]
    reached = {row["remote"] for row in stage.rows(_REPLIES, REPLY) if row["status"] in ("sent", "delivered")}
    assert reached <= set(taken)


def _under_way(stage: Stage) -> list[str]:
    """The remotes whose answer still waits or is being sent."""
    return [row["remote"] for row in stage.rows(_REPLIES, REPLY) if row["status"] in ("queued", "sending")]
