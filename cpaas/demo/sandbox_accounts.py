"""The accounts that the sandbox's carriers start with (sandbox/README.md), for platforms that lead there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SandboxAccount:
    """Keys, and where the carrier is: so many ports above the sandbox's, below `paths` by the names of the options."""

    port_offset: int
    credentials: dict[str, str]
    paths: Mapping[str, str]

    def urls(self, sandbox_port: int) -> dict[str, str]:
        """The options of a platform."""
        host = f"http://127.0.0.1:{sandbox_port + self.port_offset}"
        return {name: host + path for name, path in self.paths.items()}


ACCOUNTS = {
    "inteliquent": SandboxAccount(
        1,
        {
            "api_key": "sandbox-api-key",
            "api_secret": "sandbox-api-secret",
            "outbound_api_key": "sandbox-outbound-api-key",
        },
        {
            "services_url": "/inteliquent/services/Services/2.0.0",
            "broker_url": "/inteliquent/broker/msgbroker/rest",
        },
    ),
    "twilio": SandboxAccount(
        3,
        {"account_sid": "AC5a4d00000000000000000000000000f3", "auth_token": "sandbox-twilio-auth-token"},
        {"base_url": "/twilio/2010-04-01"},
    ),
}
