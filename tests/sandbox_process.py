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
from tests.simulated_carriers import SIMULATED, SimulatedCarrier

ROOT = Path(__file__).resolve().parent.parent
NUMBERS = [f"+1201992{n:04d}" for n in range(760, 789)]


class CarrierControl:
    """One simulated carrier of a running sandbox, through `/_control/`."""

    def __init__(self, port: int, kind: SimulatedCarrier) -> None:
        self.port, self.kind = port, kind
        self.control = f"http://127.0.0.1:{port}/_control"

    @property
    def url(self) -> str:
        """Of the carrier's own port, which can really be down."""
        return f"http://127.0.0.1:{self.port + self.kind.port_offset}/{self.kind.code}"

    @property
    def credentials(self) -> dict[str, str]:
        return {**self.kind.credentials, **self.kind.callback_credentials}

    @property
    def options(self) -> dict[str, str]:
        return self.kind.options(self.port)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One control request; returns the JSON answer, None for an empty one."""
        response = requests.request(method, f"{self.control}{path}", json=body, timeout=30)
        assert response.ok, f"{response.status_code} {response.text}"
        return response.json() if response.content else None

    def carrier(self, **settings: Any) -> Any:
        return self.call("PUT", f"/{self.kind.code}/", settings)

    def fault(self, operation: str, kind: str, *, times: int | None = 1, **more: Any) -> Any:
        outer = {name: more.pop(name) for name in ("to", "after_accept") if name in more}
        order = {"operation": operation, "times": times, **outer, "fault": {"kind": kind, **more}}
        return self.call("POST", f"/{self.kind.code}/faults/", order)

    def receipts(self, **settings: Any) -> None:
        self.call("PUT", f"/{self.kind.code}/receipts/", settings)

    def receipt(self, sid: str, status: str, **more: Any) -> Any:
        return self.call("POST", f"/{self.kind.code}/receipts/", {"sid": sid, "status": status, **more})

    def inbound(self, **message: Any) -> Any:
        return self.call("POST", f"/{self.kind.code}/inbound/", message)

    def put_number(self, tn: str, **settings: Any) -> None:
        self.call("PUT", f"/{self.kind.code}/numbers/{tn}/", settings)

    def taken(self, **query: str) -> list[dict[str, Any]]:
        """What the carrier took, oldest first, doubles visible."""
        wanted = "&".join(f"{name}={requests.utils.quote(value)}" for name, value in query.items())
        found: list[dict[str, Any]] = self.call("GET", f"/{self.kind.code}/messages/?{wanted}")["results"]
        return found

    def hooks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("GET", f"/{self.kind.code}/hooks/")["results"]
        return found


class BroadworksControl:
    """The simulated BroadWorks of a running sandbox, through `/_control/`."""

    username, password, imp_domain = "sandbox-admin", "sandbox-admin-password", "im.sandbox.example"

    def __init__(self, sandbox: SandboxProcess) -> None:
        self._sandbox = sandbox
        self.port, self.oci_port = sandbox.port + 5, sandbox.port + 8

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self._sandbox.call(method, f"/broadworks/{path}", body)

    def settings(self, **settings: Any) -> Any:
        return self.call("PUT", "", settings)

    def put_user(self, login: str, **fields: Any) -> Any:
        return self.call("PUT", f"users/{login}/", fields)

    def user(self, login: str) -> Any:
        return self.call("GET", f"users/{login}/")

    def fault(
        self, operation: str, kind: str, *, times: int | None = 1, after_accept: bool = False, **more: Any
    ) -> Any:
        order = {"operation": operation, "times": times, "after_accept": after_accept, "fault": {"kind": kind, **more}}
        return self.call("POST", "faults/", order)

    def commands(self) -> list[str]:
        """The names of the commands that came, logins left out, oldest first."""
        names = [row["path"] for row in self.call("GET", "requests/")["results"] if row["method"] == "OCI"]
        return [name for name in names if name not in ("AuthenticationRequest", "LoginRequest14sp4")]


class SandboxProcess(CarrierControl):
    """A running sandbox; it is controlled as its Inteliquent, `of` gives the other carriers."""

    def __init__(self) -> None:
        super().__init__(free_block(), SIMULATED["inteliquent"])
        self.mail_port = self.port + 25
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "--port", str(self.port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith("sandbox ready"):
            raise RuntimeError("The sandbox did not start.")

    def of(self, code: str) -> CarrierControl:
        return CarrierControl(self.port, SIMULATED[code])

    @property
    def broadworks(self) -> BroadworksControl:
        return BroadworksControl(self)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def reset(self) -> None:
        self.call("POST", "/reset/", {})

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
