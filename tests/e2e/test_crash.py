"""`kill -9` in the middle of sending: nothing lost, nothing doubled, what is doubtful says so (R32)."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import first_operator
from tests.e2e.world import PASSWORD, Carrier, Tenant
from tests.sandbox_process import wait_for
from tests.simulated_carriers import EVERY_SECRET
from tests.stack_process import Stack, own_broker, own_database

TEXTS = [f"text {n:02d}" for n in range(50)]
REMOTES = [f"+12125550{n}" for n in range(140, 152)]


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory, broker_place: int) -> Iterator[Stack]:
    """A stack for one test, which kills parts of it."""
    with own_database() as database_url:
        running = Stack(tmp_path_factory.mktemp("crash"), DATABASE_URL=database_url, **own_broker(broker_place + 1))
        try:
            running.wait_until_ready()
            yield running
        finally:
            running.kill()
        assert running.leaks(*EVERY_SECRET, PASSWORD) == set()


@pytest.mark.fault
def test_kill_9_of_the_dispatcher_among_50_sends_loses_and_doubles_nothing_r32(own_stack: Stack) -> None:
    carrier = Carrier(own_stack.sandbox_port)
    carrier.reset()
    tenant = Tenant(own_stack, first_operator(own_stack), carrier)
    tenant.platform(options={**carrier.options, "per_number_per_minute": 100_000, "per_number_per_day": 1_000_000})
    number = tenant.number()
    device = tenant.device()
    wait_for(own_stack.residents_up, what="the dispatcher")
    carrier.set(latency_ms=3000)

    # Held still while the texts pile up, so that it dies with many in its hands.
    dispatcher = own_stack.pid_of("residents")
    assert dispatcher is not None
    os.kill(dispatcher, signal.SIGSTOP)
    accepted = {device.send(REMOTES[n % len(REMOTES)], text)["id"]: text for n, text in enumerate(TEXTS)}
    os.kill(dispatcher, signal.SIGCONT)
    wait_for(lambda: len(carrier.taken(number["number"])) >= 5, what="the first sends")
    os.kill(dispatcher, signal.SIGKILL)
    carrier.set(latency_ms=0)
    taken_before = len(carrier.taken(number["number"]))

    def settled() -> bool:
        return not Counter(device.message(key)["status"] for key in accepted) & Counter(["queued", "sending"])

    wait_for(settled, 90, "every text to be settled")
    assert own_stack.pid_of("residents") != dispatcher
    assert taken_before < len(TEXTS), "killed too late to mean anything"
    taken = Counter(row["text"] for row in carrier.taken(number["number"]))
    assert not [text for text, times in taken.items() if times > 1]
    statuses = {text: device.message(key)["status"] for key, text in accepted.items()}
    assert set(statuses.values()) <= {"sent", "delivered", "unknown"}
    assert {"sent", "unknown"} <= set(statuses.values()), "it died with nothing in its hands"
    # What the carrier never got is not called sent; what is called sent it got, once.
    assert [text for text, status in statuses.items() if status != "unknown" and taken[text] != 1] == []
