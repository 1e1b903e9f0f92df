"""Outbound dispatch against a carrier that answers after 50 ms: our dispatcher with 64 in flight, every state
committed, against a Celery pool of 64 threads with one task and one UPDATE per text, in turn.

Goal (next issue): at least 2 times Celery and 80 % of in flight / latency.
"""

from __future__ import annotations

import os
import sys
import time
from statistics import median
from typing import Any

from benchmarks._setup import BIN, prepare, process, show
from tests.ports import free_block

TEXTS = int(os.environ.get("BENCH_TEXTS", "4000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
LATENCY_MS = 50
IN_FLIGHT = 64


def main() -> None:
    prepare()
    sandbox_port = free_block()
    carrier = f"http://127.0.0.1:{sandbox_port + 1}/inteliquent"
    with process(sys.executable, "-m", "sandbox", "--port", str(sandbox_port), port=sandbox_port):
        control = f"http://127.0.0.1:{sandbox_port}/_control"
        credentials = _slow_carrier(control)
        number = _number(carrier, credentials)
        _create_baseline_table()
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(_dispatch(number))
            theirs.append(_celery(carrier, credentials))
        taken = _taken(control)
    ideal = IN_FLIGHT * 1000 / LATENCY_MS
    ratio = median(mine / other for mine, other in zip(ours, theirs, strict=True))
    show(
        f"Dispatch of {TEXTS} texts, carrier answers after {LATENCY_MS} ms, {IN_FLIGHT} in flight, {ROUNDS} rounds",
        [
            ("sender", "texts/s (median)", "all rounds", f"of {ideal:.0f}/s", "portal / it"),
            _row("portal dispatcher", ours, ideal, 1.0),
            _row("Celery threads 64", theirs, ideal, ratio),
        ],
    )
    assert taken == TEXTS * ROUNDS * 2, f"the carrier took {taken}, not each text once"
    print(f"the carrier took {taken} texts, each once")


def _row(name: str, rates: list[float], ideal: float, ratio: float) -> tuple[str, ...]:
    found = median(rates)
    return name, f"{found:.0f}", " ".join(f"{rate:.0f}" for rate in rates), f"{found / ideal:.0%}", f"{ratio:.2f}"


def _slow_carrier(control: str) -> dict[str, str]:
    import requests

    requests.put(f"{control}/inteliquent/receipts/", json={"mode": "none"}, timeout=10).raise_for_status()
    requests.put(f"{control}/inteliquent/", json={"latency_ms": LATENCY_MS}, timeout=10).raise_for_status()
    found: dict[str, str] = requests.get(f"{control}/inteliquent/", timeout=10).json()["credentials"]
    return found


def _taken(control: str) -> int:
    import requests

    return len(requests.get(f"{control}/inteliquent/messages/", timeout=60).json()["results"])


def _number(carrier: str, credentials: dict[str, str]) -> Any:
    from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
    from portal.tests.factories import EndUserFactory

    user = EndUserFactory()
    platform = CpaasPlatformFactory(
        system_provider=user.system_provider,
        credentials={**credentials, "inbound_api_key": "bench"},
        options={
            "services_url": f"{carrier}/services",
            "broker_url": f"{carrier}/broker",
            "per_number_per_minute": 100_000,
            "per_number_per_day": 10_000_000,
        },
    )
    return CpaasNumberFactory(number="+12019920760", user=user, platform=platform)


def _dispatch(number: Any) -> float:
    from cpaas.models import Attempt
    from cpaas.services.sending import send_message

    Attempt.objects.filter(status="sent").update(status="delivered")
    for n in range(TEXTS):
        send_message(user=number.user, number=number, to=f"+1703608{n:04d}", text="Hello")
    environment = {"PORTAL_DISPATCH_IN_FLIGHT": str(IN_FLIGHT)}
    with process(sys.executable, "manage.py", "residents", **environment):
        return _rate(lambda: Attempt.objects.filter(status="sent").count())


def _create_baseline_table() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_text (id int PRIMARY KEY, status text, sid text)")


def _celery(carrier: str, credentials: dict[str, str]) -> float:
    from django.db import connection

    from benchmarks._baselines.celery_send import send

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE bench_text")
        cursor.execute("INSERT INTO bench_text SELECT n, 'queued', '' FROM generate_series(1, %s) n", [TEXTS])
    for n in range(1, TEXTS + 1):
        send.delay(n)
    command = (str(BIN / "celery"), "-A", "benchmarks._baselines.celery_send", "worker", "-P", "threads", "-c", "64")
    environment = {"BENCH_URL": f"{carrier}/broker/publishMessages", "BENCH_KEY": credentials["outbound_api_key"]}
    with process(*command, "-l", "error", **environment):
        return _rate(_celery_done)


def _celery_done() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM bench_text WHERE status = 'sent'")
        return int(cursor.fetchone()[0])


def _rate(done: Any) -> float:
    """Texts a second between the first tenth and the last: starting up does not count."""
    first: tuple[float, int] | None = None
    while (count := done()) < TEXTS:
        if first is None and count > TEXTS // 10:
            first = time.monotonic(), count
        time.sleep(0.05)  # counting takes the senders' two cores as well
    assert first is not None
    return (TEXTS - first[1]) / (time.monotonic() - first[0])


if __name__ == "__main__":
    main()
