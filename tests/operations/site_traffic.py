"""Texts through the nginx of a site while a procedure goes on, their books afterwards, and what a rehearsal prints."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.e2e.clients import Api
from tests.e2e.world import Carrier
from tests.faults.ledger import Ledger
from tests.faults.traffic import Arriving, Sending, Town, Traffic
from tests.operations.machines import HERE
from tests.operations.site import Site
from tests.sandbox_process import wait_for

# Longer than any procedure: the traffic ends with it.
LASTS_S = 900


class HouseCarrier(Carrier):
    """The carrier as the machines reach it."""

    @property
    def options(self) -> dict[str, str]:
        return {name: url.replace("127.0.0.1", HERE) for name, url in super().options.items()}


class SiteTown(Town):
    """A tenant whose users text through nginx."""

    def __init__(self, site: Site) -> None:
        self.site = site
        super().__init__(site, HouseCarrier(site.sandbox_port))  # type: ignore[arg-type]


class SteadyTraffic(Traffic):
    """One text each way every so many seconds until it is `enough`; a text that is due later then never was one.
    `webhooks` and `sends` are the times at which the portal said yes."""

    def __init__(self, town: Town, name: str, *, every_s: float) -> None:
        self._every_s, self._enough = every_s, threading.Event()
        self.webhooks: list[float] = []
        self.sends: list[float] = []
        self._never_due: set[str] = set()
        super().__init__(town, name, int(LASTS_S / every_s))

    def enough(self) -> None:
        assert not self.answered, "the procedure took longer than the traffic"
        self._enough.set()

    def longest_gap_s(self) -> float:
        times = sorted(self.webhooks)
        return round(max(later - former for former, later in itertools.pairwise(times)), 1)

    def finish(self) -> None:
        super().finish()
        self.sendings = [each for each in self.sendings if each.text not in self._never_due]
        self.arrivals = [each for each in self.arrivals if each.text not in self._never_due]

    def _is_due(self, text: str) -> bool:
        """Waits for a text's turn; false when it is enough before."""
        due = self.began_at + int(text.rpartition(" ")[2]) * self._every_s
        if self._enough.wait(max(0.0, due - time.monotonic())):
            self._never_due.add(text)
        return text not in self._never_due

    def _try(self, api: Api, sending: Sending) -> None:
        if sending.tries == 0 and not self._is_due(sending.text):
            sending.refusal = "never sent"
            return
        super()._try(api, sending)
        if sending.id:
            self.sends.append(time.monotonic())

    def _call_in(self, arriving: Arriving) -> None:
        if not self._is_due(arriving.text):
            return
        super()._call_in(arriving)
        self.webhooks.append(time.monotonic())


def say(title: str, **figures: Any) -> None:
    print(f"{time.strftime('%H:%M:%S')} {title}: {json.dumps(figures, default=str)}", flush=True)


@contextmanager
def timed(title: str, traffic: SteadyTraffic | None = None) -> Iterator[None]:
    """How long the block takes and, of the traffic meanwhile, how much the portal took."""
    began = time.monotonic()
    yield
    figures: dict[str, Any] = {"seconds": round(time.monotonic() - began, 1)}
    if traffic:
        figures["webhooks"] = sum(at >= began for at in list(traffic.webhooks))
        figures["sends"] = sum(at >= began for at in list(traffic.sends))
    say(title, **figures)


@contextmanager
def traffic_during(town: SiteTown, name: str, *, every_s: float = 0.25) -> Iterator[SteadyTraffic]:
    """Texts both ways and open streams while the block runs; afterwards the ledger must balance."""
    traffic = SteadyTraffic(town, name, every_s=every_s)
    try:
        with timed("the first texts, before anything is done", traffic):
            wait_for(lambda: len(traffic.taken()) >= 10, what="the first texts")
        traffic.struck_at = time.monotonic()
        yield traffic
        traffic.enough()
        say("in all until then", webhooks=len(traffic.webhooks), sends=len(traffic.sends))
        ledger = Ledger(traffic)
        ledger.wait_until_whole(240)
        for machine in town.site.portals:
            assert not machine.spooled()
        answers = Counter(
            str(row["http_status"] or row["error"]) for each in traffic.arrivals for row in each.deliveries
        )
        slowest = max(row["elapsed_ms"] for each in traffic.arrivals for row in each.deliveries)
        stored = Counter(row["text"] for row in ledger.texts())
        accepted = [each.text for each in traffic.sendings] + [each.text for each in traffic.arrivals]
        lost = [text for text in accepted if not stored[text]]
        twice = [text for text, times in Counter(row["text"] for row in traffic.taken()).items() if times > 1]
        log = town.site.data.programs["postgres"].log.read_text()
        assert not any(text in log for text in accepted), "a text in PostgreSQL's log"
        say(
            name,
            **ledger.figures(),
            lost=len(lost),
            sent_twice=len(twice),
            stored_twice=sum(times > 1 for times in stored.values()),
            webhook_answers=answers,
            slowest_ms=slowest,
            longest_gap_s=traffic.longest_gap_s(),
        )
    finally:
        traffic.close()


def log_in(site: Site, town: Town) -> requests.Session:
    """The tenant's administrator in a browser."""
    session = requests.Session()
    page = session.get(f"{site.url}/login/", timeout=30)
    token = session.cookies["csrftoken"]
    form = {
        "username": town.tenant.administrator["username"],
        "password": "correct horse battery",
        "csrfmiddlewaretoken": token,
    }
    answer = session.post(f"{site.url}/login/", data=form, headers={"Referer": page.url}, timeout=30)
    assert "/login/" not in answer.url, answer.text[:300]
    return session
