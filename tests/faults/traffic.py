"""What goes on while a part dies: clients that send and repeat what was not answered, a carrier that does the same."""

from __future__ import annotations

import itertools
import os
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests

from tests.e2e.clients import Api, Device, staff_api
from tests.e2e.world import Carrier, Tenant
from tests.faults.listeners import Listener
from tests.faults.stage import Stage
from tests.sandbox_process import wait_for

# Each way.
TEXTS = int(os.environ.get("PORTAL_FAULT_TEXTS", "200"))
USERS = 4
SENDERS = 6
CARRIER_LINES = 16
# So long the carrier takes for a text, so that many are in flight at any moment.
LATENCY_MS = 150
RETRY_S = 0.3
PATIENCE_S = 240


@dataclass
class Line:
    """A user with a number and a device that is logged in."""

    device: Device
    user_id: str
    number: str


@dataclass
class Sending:
    """One text a client wants to send; `id` when it was told that it is on its way."""

    text: str
    remote: str
    line: Line
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    id: str = ""
    tries: int = 0
    refusal: str = ""


@dataclass
class Arriving:
    """One text the carrier has for a user; `deliveries` are its tries, the last one answered 2xx unless it is a carrier
    that tries only once."""

    text: str
    remote: str
    line: Line
    deliveries: list[dict[str, Any]] = field(default_factory=list)


class Town:
    """The people of one stage: a tenant whose users text, and a carrier that gives nobody up."""

    _remotes = itertools.count()

    def __init__(self, stage: Stage, carrier: Carrier | None = None, operator: Api | None = None) -> None:
        self.stage = stage
        self.carrier = carrier or Carrier(stage.sandbox_port)
        self.operator = operator or staff_api(stage.url, stage.operator_token())
        self.tenant = Tenant(stage, self.operator, self.carrier)  # type: ignore[arg-type]
        self.platform = self.tenant.platform(
            options={**self.carrier.options, "per_number_per_minute": 100_000, "per_number_per_day": 1_000_000}
        )
        self.lines = [self._line(n) for n in range(USERS)]

    def _line(self, n: int) -> Line:
        user = self.tenant.user if n == 0 else self.tenant.new_user(f"user{n}")
        device = self.tenant.device(user)
        return Line(device, user["id"], self.tenant.number(user)["number"])

    def new_remote(self) -> str:
        n = next(self._remotes)
        return f"+1{['703608', '212555', '415555', '617555'][n // 10_000]}{n % 10_000:04d}"


class Traffic:
    """So many texts each way, and an open event stream of every user. Begins at once; `amid` is the time to strike."""

    def __init__(self, town: Town, name: str, texts: int = TEXTS) -> None:
        self.town, self.stage, self.name = town, town.stage, name
        carrier = town.carrier
        carrier.reset()
        carrier.set(latency_ms=LATENCY_MS, retries=0 if carrier.kind.tells_once else 1000)
        carrier.receipts(mode="auto")
        # What the carrier took before is none of this traffic.
        self._taken_before = max((row["n"] for row in self._taken_after(0)), default=0)
        self.listeners = {line.user_id: Listener(line.device) for line in town.lines}
        self.sendings = [self._sending(n) for n in range(texts)]
        self.arrivals = [self._arriving(n) for n in range(texts)]
        self.began_at = self.struck_at = time.monotonic()
        self._given_up = threading.Event()
        self._pool = ThreadPoolExecutor(SENDERS + CARRIER_LINES)
        turns = iter(list(self.sendings))
        lock = threading.Lock()
        self._senders: list[Future[None]] = [self._pool.submit(self._send_on, turns, lock) for _ in range(SENDERS)]
        self._callers: list[Future[None]] = [self._pool.submit(self._call_in, each) for each in self.arrivals]

    def _sending(self, n: int) -> Sending:
        # Most to people of their own, so that a look-up can tell them apart; some after each other to the same.
        line = self.town.lines[n % USERS]
        if n % 4 == 3 and n >= USERS * 2:
            return Sending(f"{self.name} out {n:03d}", self._shared[n % USERS], line)
        remote = self.town.new_remote()
        if n < USERS:
            self._shared = [*getattr(self, "_shared", []), remote]
        return Sending(f"{self.name} out {n:03d}", remote, line)

    def _arriving(self, n: int) -> Arriving:
        return Arriving(f"{self.name} in {n:03d}", f"+1718555{n // USERS % 10:04d}", self.town.lines[n % USERS])

    def amid(self) -> None:
        """A quarter each way is through; now is the time to strike."""
        quarter = len(self.sendings) // 4
        wait_for(lambda: sum(bool(each.id) for each in self.sendings) >= quarter, PATIENCE_S, "a quarter to be sent")
        wait_for(
            lambda: sum(bool(each.deliveries) for each in self.arrivals) >= quarter, PATIENCE_S, "a quarter to come in"
        )
        wait_for(lambda: len(self.taken()) >= quarter // 2, PATIENCE_S, "the carrier's first texts")
        assert not self.answered, "too late to strike"
        self.struck_at = time.monotonic()

    @property
    def answered(self) -> bool:
        """Clients and carrier have heard a yes to everything."""
        return all(future.done() for future in (*self._senders, *self._callers))

    def finish(self) -> None:
        """Wait until everybody has been answered."""
        wait_for(lambda: self.answered, PATIENCE_S, "clients and carrier to be answered")
        for future in (*self._senders, *self._callers):
            future.result()

    def close(self) -> None:
        self._given_up.set()
        for listener in self.listeners.values():
            listener.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def taken(self) -> list[dict[str, Any]]:
        """What the carrier took of this traffic, in order, doubles visible."""
        return self._taken_after(self._taken_before)

    def _taken_after(self, n: int) -> list[dict[str, Any]]:
        carrier = self.town.carrier
        rows: list[dict[str, Any]] = carrier.control("GET", f"{carrier.kind.code}/messages/?after={n}")["results"]
        return rows

    def _send_on(self, turns: Any, lock: threading.Lock) -> None:
        """One client after another, each with a connection of its own."""
        apis: dict[str, Api] = {}
        while True:
            with lock:
                sending = next(turns, None)
            if sending is None or self._given_up.is_set():
                return
            device = sending.line.device
            api = apis.setdefault(sending.line.user_id, Api(device.url, device.token))
            while not (sending.id or sending.refusal or self._given_up.is_set()):
                self._try(api, sending)

    def _try(self, api: Api, sending: Sending) -> None:
        sending.tries += 1
        body = {"to": sending.remote, "text": sending.text}
        try:
            answer = api.call("POST", "messages/", body, headers={"Idempotency-Key": sending.key})
        except requests.RequestException:
            time.sleep(RETRY_S)
            return
        if answer.status_code == 202:
            sending.id = answer.json()["id"]
        elif answer.status_code >= 500 or answer.headers.get("Retry-After"):
            if answer.status_code == 500:
                sending.refusal = f"500 {answer.text}"
            time.sleep(RETRY_S)
        else:
            sending.refusal = f"{answer.status_code} {answer.text}"

    def _call_in(self, arriving: Arriving) -> None:
        order = {"from": arriving.remote, "to": arriving.line.number, "text": arriving.text}
        url = f"http://127.0.0.1:{self.stage.sandbox_port}/_control/{self.town.carrier.kind.code}/inbound/"
        answer = requests.post(url, json=order, timeout=PATIENCE_S)
        arriving.deliveries = answer.json()["deliveries"]
