"""A dispatcher that sleeps longer than its lease while another one works on (R32)."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cpaas.models import Attempt, Message
from cpaas.services.sending import send_message
from cpaas.tests.conftest import number, platform, sandbox, sandbox_process
from cpaas.tests.running import DispatcherThread
from portal.models import Lease
from tests.faults.residents_process import ResidentsProcess
from tests.sandbox_process import wait_for

__all__ = ["number", "platform", "sandbox", "sandbox_process"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fault]
LEASE_S = 1.0
TEXTS = 90


def test_r32_no_text_goes_twice_and_none_stays_behind(number: Any, sandbox: Any, settings: Any, tmp_path: Path) -> None:
    settings.LEASE_TTL_S = LEASE_S
    number.platform.options |= {"per_number_per_minute": 100_000, "per_number_per_day": 1_000_000}
    number.platform.save()
    sandbox.carrier(latency_ms=200)
    sleeper = ResidentsProcess(tmp_path, lease_s=LEASE_S)
    try:
        wait_for(lambda: Lease.objects.filter(name__startswith="sms-dispatcher:").exists())
        with DispatcherThread():
            for n in range(TEXTS):
                send_message(user=number.user, number=number, to=f"+1703608{n % 30:04d}", text=f"text {n}")
                if n % 30 == 29:
                    sleeper.signal(signal.SIGSTOP)
                    time.sleep(2 * LEASE_S)
                    sleeper.signal(signal.SIGCONT)
            wait_for(lambda: not Attempt.objects.filter(status__in=["queued", "sending"]).exists())
    finally:
        sleeper.kill()
    taken = Counter(row["text"] for row in sandbox.taken())
    assert max(taken.values()) == 1
    statuses = dict(Message.objects.values_list("text", "status"))
    assert set(statuses.values()) <= {"sent", "unknown", "failed"}
    assert [
        text for text, status in statuses.items() if taken[text] != (status == "sent") and status != "unknown"
    ] == []
