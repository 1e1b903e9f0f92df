"""Outbound dispatch against a carrier that answers after 50 ms: our dispatcher, every state committed to PostgreSQL,
against Kannel with its queue on disk (spool store), both with 200 in flight, in turn.

Kannel is measured twice: taking texts in over HTTP as fast as it can while it sends, which is where its disk is at
work, and emptying a queue that it holds in memory by then. Ours always empties a full queue out of the database.
Goal: at least as fast as the first.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._setup import prepare, process, show
from tests.ports import free_block

TEXTS = int(os.environ.get("BENCH_TEXTS", "6000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "6"))
IN_FLIGHT = 200
# The last seven digits of the first recipient of each load.
_first = itertools.count(1_000_000, 100_000)
_LUA = """
local n = %d
request = function()
  n = n + 1
  return wrk.format("GET", "/cgi-bin/sendsms?username=bench&password=bench&from=12019920760&text=Hello&to=1703" .. n)
end
"""
_CONFIGURATION = """
group = core
admin-port = {admin}
admin-interface = 127.0.0.1
admin-password = bench
smsbox-port = {smsbox}
smsbox-interface = 127.0.0.1
log-file = {folder}/bearerbox.log
log-level = 3
box-deny-ip = ""
box-allow-ip = 127.0.0.1
store-type = spool
store-location = {folder}/store

group = smsc
smsc = http
smsc-id = carrier
system-type = generic
port = {inbound}
send-url = "http://127.0.0.1:{carrier}/sendsms?from=%P&to=%p&text=%b"
status-success-regex = "^0: Accepted"
max-pending-submits = {in_flight}

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sendsms}
sendsms-interface = 127.0.0.1
log-level = 3

group = sendsms-user
username = bench
password = bench
max-messages = 10
"""


def main() -> None:
    prepare()
    carrier = free_block()
    ours, through, drained = [], [], []
    with process(sys.executable, "-m", "benchmarks._baselines.slow_carrier", str(carrier), port=carrier):
        number = _number(carrier)
        for _ in range(ROUNDS):
            ours.append(_dispatch(number, carrier))
            with _kannel(carrier) as ports:
                through.append(_send_through(ports, carrier))
            with _kannel(carrier) as ports:
                drained.append(_drain(ports, carrier))
    show(
        f"Dispatch, carrier answers after 50 ms, {IN_FLIGHT} in flight, {ROUNDS} rounds",
        [
            ("sender", "texts/s (median)", "all rounds", "portal / it"),
            _row("portal dispatcher, queue and states in PostgreSQL", ours, ours),
            _row("Kannel, through its spool", through, ours),
            _row("Kannel, emptying a queue in memory", drained, ours),
        ],
    )
    print("the carrier took each text of the first two once in every round")


def _row(name: str, rates: list[float], ours: list[float]) -> tuple[str, ...]:
    ratio = median(mine / other for mine, other in zip(ours, rates, strict=True))
    return name, f"{median(rates):.0f}", " ".join(f"{rate:.0f}" for rate in rates), f"{ratio:.2f}"


def _number(carrier: int) -> Any:
    from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
    from portal.tests.factories import EndUserFactory

    user = EndUserFactory()
    urls = {"services_url": f"http://127.0.0.1:{carrier}/s", "broker_url": f"http://127.0.0.1:{carrier}/b"}
    options = {**urls, "per_number_per_minute": 100_000, "per_number_per_day": 10_000_000}
    platform = CpaasPlatformFactory(system_provider=user.system_provider, options=options)
    return CpaasNumberFactory(number="+12019920760", user=user, platform=platform)


def _dispatch(number: Any, carrier: int) -> float:
    from cpaas.models import Attempt
    from cpaas.services.sending import send_message

    Attempt.objects.filter(status="sent").update(status="delivered")
    for n in range(TEXTS):
        send_message(user=number.user, number=number, to=f"+1703608{n:04d}", text="Hello")
    with process(sys.executable, "manage.py", "residents", PORTAL_DISPATCH_IN_FLIGHT=str(IN_FLIGHT)):
        rate = _rate(lambda: Attempt.objects.filter(status="sent").count())
    _check_taken(carrier)
    return rate


@contextmanager
def _kannel(carrier: int) -> Iterator[dict[str, int]]:
    """Kannel with an empty queue; yields its ports by name."""
    names = ("admin", "smsbox", "inbound", "sendsms")
    ports = dict(zip(names, itertools.count(free_block()), strict=False))
    with tempfile.TemporaryDirectory(prefix="kannel-") as folder:
        (Path(folder) / "store").mkdir()
        configuration = Path(folder) / "kannel.conf"
        values = ports | {"folder": folder, "carrier": carrier, "in_flight": IN_FLIGHT}
        configuration.write_text(_CONFIGURATION.format(**values))
        with (
            process("/usr/sbin/bearerbox", "-v", "4", str(configuration), port=ports["smsbox"]),
            process("/usr/sbin/smsbox", "-v", "4", str(configuration), port=ports["sendsms"]),
        ):
            yield ports


def _send_through(ports: dict[str, int], carrier: int) -> float:
    """Texts a second that reach the carrier while as many are handed to Kannel as it takes."""
    accepted = _load(ports["sendsms"], SECONDS)
    rate = _taken(carrier)["taken"] / SECONDS
    deadline = time.monotonic() + 60
    while _taken(carrier)["taken"] < accepted and time.monotonic() < deadline:
        time.sleep(0.05)
    found = _taken(carrier, forget="1")
    # What wrk had under way when its time was up may have been taken too.
    assert accepted <= found["taken"] == found["different"], (accepted, found)
    return rate


def _drain(ports: dict[str, int], carrier: int) -> float:
    """Texts a second out of a queue that was filled while the carrier held its answers back."""
    import requests

    requests.put(f"http://127.0.0.1:{carrier}/hold", timeout=10).raise_for_status()
    accepted = 0
    while accepted < TEXTS:
        accepted += _load(ports["sendsms"], 1)
    requests.put(f"http://127.0.0.1:{carrier}/release", timeout=10).raise_for_status()
    rate = _rate(lambda: _taken(carrier)["taken"])
    # What was accepted beyond that must not reach the carrier in somebody else's round.
    before = 0
    while (taken := _taken(carrier)["taken"]) > before:
        before = taken
        time.sleep(1)
    _taken(carrier, forget="1")
    return rate


def _load(port: int, seconds: int) -> int:
    """Hand Kannel texts to different numbers for so long; returns how many it accepted."""
    script = Path(tempfile.mkstemp(suffix=".lua")[1])
    script.write_text(_LUA % next(_first))
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    script.unlink()
    assert "Non-2xx" not in said, said
    found = re.search(r"(\d+) requests in", said)
    assert found is not None, said
    return int(found[1])


def _taken(carrier: int, **query: str) -> dict[str, int]:
    import requests

    found: dict[str, int] = requests.get(f"http://127.0.0.1:{carrier}/taken", params=query, timeout=30).json()
    return found


def _check_taken(carrier: int) -> None:
    found = _taken(carrier, forget="1")
    assert found == {"taken": TEXTS, "different": TEXTS}, found


def _rate(done: Callable[[], int]) -> float:
    """Texts a second between the first tenth and the last: starting up does not count."""
    first: tuple[float, int] | None = None
    deadline = time.monotonic() + 120
    while (count := done()) < TEXTS:
        if first is None and count > TEXTS // 10:
            first = time.monotonic(), count
        assert time.monotonic() < deadline, f"only {count} of {TEXTS} went"
        time.sleep(0.05)
    assert first is not None
    return (TEXTS - first[1]) / (time.monotonic() - first[0])


if __name__ == "__main__":
    main()
