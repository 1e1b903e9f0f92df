"""Applications: where Bandwidth posts what concerns all numbers that belong to one."""

from __future__ import annotations

import uuid
from typing import Any

from sandbox.bandwidth.wire import DashboardFailure
from sandbox.basic import basic_header
from sandbox.store import Hook

FIELDS = (
    *("ServiceType", "AppName", "InboundCallbackUrl", "OutboundCallbackUrl"),
    *("InboundCallbackCreds", "OutboundCallbackCreds", "RequestedCallbackTypes"),
)
SERVICE_TYPES = ("Messaging-V2", "Voice-V2")
CREDENTIALS = ("InboundCallbackCreds", "OutboundCallbackCreds")
Data = dict[str, Any]


class Applications:
    """The account's applications. All of its numbers belong to the first one, which is there from the start."""

    def __init__(self, first_id: str) -> None:
        self.first_id = first_id
        self._rows: dict[str, Data] = {first_id: {"ServiceType": "Messaging-V2", "AppName": "Sandbox"}}

    def rename_first(self, application_id: str) -> None:
        self._rows = {application_id if key == self.first_id else key: row for key, row in self._rows.items()}
        self.first_id = application_id

    def rows(self) -> list[Data]:
        return [self.shown(application_id) for application_id in self._rows]

    def shown(self, application_id: str) -> Data:
        """The application without its passwords. Raises DashboardFailure."""
        row: Data = {"ApplicationId": application_id, **self._row(application_id)}
        for name in CREDENTIALS:
            if isinstance(row.get(name), dict):
                row[name] = {"UserId": row[name].get("UserId", "")}
        return row

    def create(self, given: Data) -> Data:
        _check(given)
        application_id = str(uuid.uuid4())
        self._rows[application_id] = _known(given)
        return self.shown(application_id)

    def replace(self, application_id: str, given: Data) -> Data:
        """All that is not given is gone. Raises DashboardFailure."""
        kept = {"ServiceType": self._row(application_id)["ServiceType"]}
        _check({**kept, **given})
        self._rows[application_id] = {**kept, **_known(given)}
        return self.shown(application_id)

    def change(self, application_id: str, given: Data) -> Data:
        """What is not given stays, inside of credentials too. Raises DashboardFailure."""
        row = dict(self._row(application_id))
        for name, value in _known(given).items():
            both = isinstance(value, dict) and isinstance(row.get(name), dict)
            row[name] = {**row[name], **value} if both else value
        _check(row)
        self._rows[application_id] = row
        return self.shown(application_id)

    def delete(self, application_id: str) -> None:
        self._row(application_id)
        if application_id == self.first_id:
            raise DashboardFailure(400, "12018", "Application is associated with a location")
        del self._rows[application_id]

    def inbound_hook(self, tn: str | None = None) -> Hook | None:
        """Where texts to the account's numbers go."""
        return self._hook("Inbound", tn)

    def status_hook(self, event: str) -> Hook | None:
        """Where the status of texts goes; None without an address, or when this kind of event was not asked for."""
        row = self._rows[self.first_id]
        requested = row.get("RequestedCallbackTypes")
        wanted = requested.get("CallbackType") if isinstance(requested, dict) else None
        return None if wanted and event not in wanted else self._hook("Outbound", None)

    def _hook(self, direction: str, tn: str | None) -> Hook | None:
        row = self._rows[self.first_id]
        url, credentials = row.get(f"{direction}CallbackUrl"), row.get(f"{direction}CallbackCreds")
        if not url:
            return None
        header = None
        if isinstance(credentials, dict):
            header = basic_header(credentials.get("UserId", ""), credentials.get("Password", ""))
        name = "Authorization" if header else None
        return Hook(self.first_id, tn, url, row.get("OutboundCallbackUrl") or None, None, name, header)

    def _row(self, application_id: str) -> Data:
        if application_id not in self._rows:
            raise DashboardFailure(404, "12016", f"Application with id '{application_id}' not found")
        return self._rows[application_id]


def _known(given: Data) -> Data:
    return {name: given[name] for name in FIELDS if name in given}


def _check(given: Data) -> None:
    if not given.get("AppName"):
        raise DashboardFailure(400, "12003", "AppName is required")
    if given.get("ServiceType") not in SERVICE_TYPES:
        raise DashboardFailure(400, "12004", "ServiceType must be Messaging-V2 or Voice-V2")
