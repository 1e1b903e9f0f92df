"""What a journey starts with: a tenant of its own, made through the provisioning API, and the simulated carrier."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import requests

from tests.e2e.clients import Api, Device, staff_api
from tests.sandbox_process import wait_for
from tests.simulated_carriers import SIMULATED, SimulatedCarrier
from tests.stack_process import Stack

PASSWORD = "correct horse battery"


class Carrier:
    """One of the sandbox's carriers, and its mail, through `/_control/`."""

    # Numbers are used once, over all carriers and tenants.
    _numbers = itertools.count(1)

    def __init__(self, port: int, kind: SimulatedCarrier = SIMULATED["inteliquent"]) -> None:
        self.port, self.kind = port, kind

    @property
    def options(self) -> dict[str, str]:
        """The options of a platform that leads to the carrier's own port, which can really be down."""
        return self.kind.options(self.port)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(method, f"http://127.0.0.1:{self.port}/_control/{path}", json=body, timeout=60)
        assert answer.ok, f"{answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def reset(self) -> None:
        """Up, quick, whole and silent; receipts only when a test orders them. What it took stays listed."""
        self.control("PATCH", "", {"echo": False})
        for fault in self.control("GET", f"{self.kind.code}/faults/")["results"]:
            self.mend(fault["id"])
        self.set(state="up", latency_ms=0, retries=0)
        self.receipts(mode="manual")

    def set(self, **settings: Any) -> None:
        self.control("PUT", f"{self.kind.code}/", settings)

    def fault(self, operation: str, kind: str, *, times: int | None = None, to: str | None = None, **more: Any) -> str:
        """Let an operation go wrong, for ever or so many times; returns the fault's id."""
        order = {"operation": operation, "times": times, "to": to, "fault": {"kind": kind, **more}}
        made: str = self.control("POST", f"{self.kind.code}/faults/", order)["id"]
        return made

    def mend(self, fault_id: str) -> None:
        self.control("DELETE", f"{self.kind.code}/faults/{fault_id}/")

    def receipts(self, **plan: Any) -> None:
        self.control("PUT", f"{self.kind.code}/receipts/", plan)

    def receipt(self, sid: str, status: str, **more: Any) -> Any:
        return self.control("POST", f"{self.kind.code}/receipts/", {"sid": sid, "status": status, **more})["deliveries"]

    def inbound(self, sender: str, to: str, text: str, **more: Any) -> Any:
        """Post a text to the hook of `to`; returns the deliveries."""
        order = {"from": sender, "to": to, "text": text, **more}
        return self.control("POST", f"{self.kind.code}/inbound/", order)["deliveries"]

    def new_number(self) -> str:
        """A TN that is on the account now, in E.164."""
        tn = f"+1551555{next(self._numbers):04d}"
        self.control("PUT", f"{self.kind.code}/numbers/{tn}/", {})
        return tn

    def taken(self, sender: str) -> list[dict[str, Any]]:
        """The texts it took from `sender`, doubles visible."""
        found: list[dict[str, Any]] = self.control("GET", f"{self.kind.code}/messages/?from=%2B{sender[1:]}")["results"]
        return found

    def hooks(self, tn: str) -> list[dict[str, Any]]:
        """Those that texts to `tn` go to."""
        wanted = None if self.kind.one_hook else tn[1:]
        return [hook for hook in self.control("GET", f"{self.kind.code}/hooks/")["results"] if hook["tn"] == wanted]

    def mails(self, to: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", f"mail/?to={to}")["results"]
        return found


class Tenant:
    """A system provider with reseller, group, an administrator and a user, all called after `mark`."""

    def __init__(
        self, stack: Stack, operator: Api, carrier: Carrier, *, alerts: bool = True, zone: str = "UTC"
    ) -> None:
        self.url, self.carrier = stack.url, carrier
        self.mark = f"T{uuid.uuid4().hex[:8]}"
        self.operator = operator
        provider = {"name": f"{self.mark} Telecom", "time_zone": zone, "default_country": "US"}
        self.provider = operator.post("system-providers/", provider)
        self.reseller = self._child("resellers", "Partners", system_provider=self.provider["id"])
        self.group = self._child("groups", "Works", reseller=self.reseller["id"])
        self.administrator = self.account("system_provider", self.provider["id"], send_alerts=alerts)
        self.staff = self.staff_api(self.administrator["username"])
        self.user = self.new_user("ann")

    def _child(self, collection: str, name: str, **fields: Any) -> Any:
        return self.operator.post(f"{collection}/", {"name": f"{self.mark} {name}", **fields})

    def account(self, level: str, scope: str, **fields: Any) -> Any:
        username = f"{self.mark.lower()}-{level.replace('_', '-')}-{uuid.uuid4().hex[:4]}"
        wanted = {"username": username, "email": f"{username}@mail.example", "password": PASSWORD, "level": level}
        return self.operator.post("portal-accounts/", {**wanted, "scope": scope, **fields})

    def staff_api(self, username: str) -> Api:
        order = {"username": username, "password": PASSWORD, "name": "e2e"}
        return staff_api(self.url, staff_api(self.url, "").post("tokens/", order)["token"])

    def new_user(self, name: str, **fields: Any) -> Any:
        login = f"{name}@{self.mark.lower()}.example"
        wanted = {
            "group": self.group["id"],
            "login": login,
            "password": PASSWORD,
            "name": f"{self.mark} {name.title()}",
        }
        return self.operator.post("users/", {**wanted, **fields})

    def device(self, user: Any = None, name: str = "e2e") -> Device:
        return Device(self.url, (user or self.user)["login"], PASSWORD, name)

    def platform(self, **fields: Any) -> Any:
        wanted = {
            "system_provider": self.provider["id"],
            "carrier": self.carrier.kind.code,
            "name": self.carrier.kind.label,
            "credentials": dict(self.carrier.kind.credentials),
            "options": self.carrier.options,
        }
        return self.staff.post("platforms/", {**wanted, **fields})

    def number(self, user: Any = None, *, answer: str = "yes", **fields: Any) -> Any:
        """An enabled number of the user, who has given `answer` ("" for none yet)."""
        user = user or self.user
        row = self.staff.post("numbers/", {"number": self.carrier.new_number(), "user": user["id"], **fields})
        self.wait_for_status(row["id"], "enabled")
        if answer:
            self.device(user).post(f"numbers/{row['id']}/opt-in/", {"answer": answer}, status=200)
        return self.staff.get(f"numbers/{row['id']}/")

    def wait_for_status(self, number_id: str, status: str) -> Any:
        return wait_for(lambda: self.staff.get(f"numbers/{number_id}/")["status"] == status, what=status)
