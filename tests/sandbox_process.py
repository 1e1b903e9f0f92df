"""The sandbox as a process of its own, for tests that talk to carriers and read mail over real wires."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.ports import free_block

ROOT = Path(__file__).resolve().parent.parent
NUMBERS = [f"+1201992{n:04d}" for n in range(760, 789)]


class SandboxProcess:
    """A running sandbox and its `/_control/` API. `url` is the carrier's own port, which can really be down."""

    def __init__(self) -> None:
        self.port = free_block()
        self.control = f"http://127.0.0.1:{self.port}/_control"
        self.url = f"http://127.0.0.1:{self.port + 1}/inteliquent"
        self.mail_port = self.port + 25
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "--port", str(self.port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith("sandbox ready"):
            raise RuntimeError("The sandbox did not start.")

    @property
    def credentials(self) -> dict[str, str]:
        return {
            "api_key": "sandbox-api-key",
            "api_secret": "sandbox-api-secret",
            "outbound_api_key": "sandbox-outbound-api-key",
            "inbound_api_key": "test-inbound-key",
        }

    @property
    def options(self) -> dict[str, str]:
        return {"services_url": f"{self.url}/services", "broker_url": f"{self.url}/broker"}

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One control request; returns the JSON answer, None for an empty one."""
        response = requests.request(method, f"{self.control}{path}", json=body, timeout=30)
        assert response.ok, f"{response.status_code} {response.text}"
        return response.json() if response.content else None

    def reset(self) -> None:
        self.call("POST", "/reset/", {})

    def carrier(self, **settings: Any) -> Any:
        return self.call("PUT", "/inteliquent/", settings)

    def fault(self, operation: str, kind: str, *, times: int | None = 1, **more: Any) -> Any:
        outer = {name: more.pop(name) for name in ("to", "after_accept") if name in more}
        return self.call(
            "POST",
            "/inteliquent/faults/",
            {"operation": operation, "times": times, **outer, "fault": {"kind": kind, **more}},
        )

    def receipts(self, **settings: Any) -> None:
        self.call("PUT", "/inteliquent/receipts/", settings)

    def receipt(self, sid: str, status: str, **more: Any) -> Any:
        return self.call("POST", "/inteliquent/receipts/", {"sid": sid, "status": status, **more})

    def inbound(self, **message: Any) -> Any:
        return self.call("POST", "/inteliquent/inbound/", message)

    def taken(self, **query: str) -> list[dict[str, Any]]:
        """What the carrier took, oldest first, doubles visible."""
        wanted = "&".join(f"{name}={requests.utils.quote(value)}" for name, value in query.items())
        found: list[dict[str, Any]] = self.call("GET", f"/inteliquent/messages/?{wanted}")["results"]
        return found

    def hooks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", "/inteliquent/hooks/")["results"]
        return found

    def mails(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", "/mail/")["results"]
        return found


def wait_for(condition: Callable[[], Any], seconds: float = 60, what: str = "") -> Any:
    """The first true value of `condition`, asked again and again; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s for {what or condition}"
        time.sleep(0.05)
