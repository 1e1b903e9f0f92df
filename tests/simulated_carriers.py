"""The simulated carriers as a provider knows them: where they are, with which keys, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cpaas.carriers.base import ListsInbound
from cpaas.carriers.registry import CARRIERS as ADAPTERS


@dataclass(frozen=True)
class SimulatedCarrier:
    """One carrier of the sandbox. `paths`: options of a platform, below the carrier's own port, which can be closed.

    `callback_credentials`: what webhooks are signed with where we choose it, for tests that must know it.
    `opted_out`: how it refuses a text to somebody who told it STOP, when it does not just say so in words.
    `error`: a code of its own that a receipt may have. `undelivered`: what we call a text it could not deliver.
    `one_hook`: all numbers share one.
    """

    code: str
    port_offset: int
    credentials: Mapping[str, str]
    secrets: tuple[str, ...]
    paths: Mapping[str, str]
    error: str
    callback_credentials: Mapping[str, str] = field(default_factory=dict)
    opted_out: Mapping[str, str] = field(default_factory=dict)
    undelivered: str = "undelivered"
    one_hook: bool = False

    @property
    def label(self) -> str:
        return ADAPTERS[self.code].label

    @property
    def has_mms(self) -> bool:
        return ADAPTERS[self.code].supports_mms

    @property
    def tells_once(self) -> bool:
        """Whether it never repeats a call that failed. Then it can list what came in."""
        return isinstance(ADAPTERS[self.code], ListsInbound)

    @property
    def shown_secret(self) -> str:
        """How the last of its secrets is shown once it is stored (R9)."""
        return "••••" + self.secret_values[-1][-4:]

    @property
    def secret_values(self) -> list[str]:
        return [self.credentials[name] for name in self.secrets]

    def options(self, sandbox_port: int) -> dict[str, str]:
        own = f"http://127.0.0.1:{sandbox_port + self.port_offset}/{self.code}"
        return {name: own + path for name, path in self.paths.items()}


_KNOWN = (
    SimulatedCarrier(
        "inteliquent",
        1,
        credentials={
            "api_key": "sandbox-api-key",
            "api_secret": "sandbox-api-secret",
            "outbound_api_key": "sandbox-outbound-api-key",
        },
        secrets=("api_key", "api_secret", "outbound_api_key"),
        paths={"services_url": "/services/Services/2.0.0", "broker_url": "/broker/msgbroker/rest"},
        error="005",
        callback_credentials={"inbound_api_key": "test-inbound-key"},
    ),
    SimulatedCarrier(
        "restcomm",
        2,
        credentials={"account_sid": "AC7e570000000000000000000000000c0d", "auth_token": "sandbox-restcomm-auth-token"},
        secrets=("auth_token",),
        paths={"base_url": "/2012-04-24"},
        error="30003",
    ),
    SimulatedCarrier(
        "twilio",
        3,
        credentials={"account_sid": "AC5a4d00000000000000000000000000f3", "auth_token": "sandbox-twilio-auth-token"},
        secrets=("auth_token",),
        paths={"base_url": "/2010-04-01"},
        error="30003",
        opted_out={"code": "21610", "text": "Message blocked"},
    ),
    SimulatedCarrier(
        "bandwidth",
        4,
        credentials={
            "account_id": "9900000",
            "username": "sandbox-bandwidth-user",
            "password": "sandbox-bandwidth-password",
            "application_id": "93de2206-9669-4e07-948d-329f4b722ee2",
        },
        secrets=("password",),
        paths={"messaging_url": "/messaging/api/v2", "dashboard_url": "/dashboard/api"},
        error="4720",
        callback_credentials={"callback_user": "test-callback-user", "callback_password": "test-callback-password"},
        undelivered="failed",
        one_hook=True,
    ),
)
# Those that the portal speaks, by their codes.
SIMULATED = {carrier.code: carrier for carrier in _KNOWN if carrier.code in ADAPTERS}
EVERY_SECRET = [value for carrier in SIMULATED.values() for value in carrier.secret_values]
