"""What the limits let through, minute by minute: a simulation with the portal's own services and a clock of its own.

A client that never waits offers 120 segments a minute from each number; a dispatcher looks every second. No timing is
involved, so the figures are the same on every machine.
"""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks._setup import prepare, show

MINUTES = 3
OFFERED_A_SECOND = 2
# Name, options, numbers that send.
CASES: list[tuple[str, dict[str, Any], int]] = [
    ("60 a minute and number (default)", {}, 1),
    ("100 a day and number", {"per_number_per_day": 100, "per_number_per_minute": 1000}, 1),
    ("75 a minute for the platform", {"per_platform_per_minute": 75}, 2),
    ("150 a day for the platform", {"per_platform_per_day": 150}, 2),
]


def main() -> None:
    prepare()
    rows = [("limit in segments", "numbers", "offered", *(f"minute {n + 1}" for n in range(MINUTES)), "refused")]
    for name, options, count in CASES:
        accepted, sent, refused = _simulate(options, count)
        minutes = (f"{accepted[n]} accepted, {sent[n]} sent" for n in range(MINUTES))
        rows.append((name, str(count), f"{OFFERED_A_SECOND * 60 * count} a minute", *minutes, str(refused)))
    show("What the limits let through", rows)


def _simulate(options: dict[str, Any], count: int) -> tuple[Counter[int], Counter[int], int]:
    """Segments accepted and sent in each minute, and how many texts were refused."""
    from cpaas.services.sending import send_message
    from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
    from portal import clock
    from portal.problems import Problem
    from portal.tests.factories import EndUserFactory

    user = EndUserFactory()
    platform = CpaasPlatformFactory(system_provider=user.system_provider, options=options)
    numbers = [CpaasNumberFactory(user=user, platform=platform) for _ in range(count)]
    accepted: Counter[int] = Counter()
    sent: Counter[int] = Counter()
    refused = 0
    start = datetime(2026, 11, 26, 12, tzinfo=UTC)
    for second in range(MINUTES * 60):
        now = start + timedelta(seconds=second)
        clock.now = lambda now=now: now  # type: ignore[misc]
        for n in range(OFFERED_A_SECOND * count):
            number = numbers[n % count]
            try:
                send_message(user=user, number=number, to=f"+17036{second * 10 + n:06d}", text="Hello")
                accepted[second // 60] += 1
            except Problem as problem:
                if problem.code != "rate_limited":
                    raise
                refused += 1
        sent[second // 60] += _dispatch()
    return accepted, sent, refused


def _dispatch() -> int:
    """Send all that may go now; returns how many texts."""
    from cpaas.carriers.base import Sent
    from cpaas.services.settling import Outcome, store_outcomes
    from cpaas.tests.running import claim_texts

    texts = claim_texts(1000, uuid.uuid4())
    store_outcomes([Outcome(text, Sent(str(text.attempt_id))) for text in texts])
    return len(texts)


if __name__ == "__main__":
    main()
