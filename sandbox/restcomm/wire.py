"""Answers as Restcomm words them: JSON or XML by its own rule, plain words for refusals, two formats of dates."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from aiohttp import web

from sandbox.xml import xml_response

API_VERSION = "2012-04-24"
# Not UTC: who reads dates must read the zone.
SERVER_ZONE = timezone(timedelta(hours=-5))
# Code, name and text of what can become of a text. Callbacks give the name, look-ups the code.
ERRORS = {
    "30001": ("QUEUE_OVERFLOW", "Queue overflow"),
    "30002": ("ACCOUNT_SUSPENDED", "Account suspended"),
    "30003": ("UNREACHABLE_DESTINATION_HANDSET", "Unreachable destination handset"),
    "30004": ("MESSAGE_BLOCKED", "Message blocked"),
    "30005": ("UNKNOWN_DESTINATION_HANDSET", "Unknown destination handset"),
    "30006": ("LANDLINE_OR_UNREACHABLE_CARRIER", "Landline or unreachable carrier"),
    "30007": ("CARRIER_VIOLATION", "Carrier violation"),
    "30008": ("UNKNOWN_ERROR", "Unknown error"),
    "30009": ("MISSING_SEGMENT", "Missing segment"),
    "30010": ("MESSAGE_PRICE_EXCEEDS_MAX_PRICE", "Message price exceeds max price"),
}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Failure(Exception):
    """Restcomm says no: HTTP status and words."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def answer(wants_json: bool, root: str, data: dict[str, Any]) -> web.Response:
    """`data` as JSON, or as XML below `root` with names in camel case."""
    if not wants_json:
        return xml_response("RestcommResponse", {root: _camel(data)})
    return web.Response(body=json.dumps(data).encode(), content_type="application/json", charset="utf-8")


def failure(status: int, text: str) -> web.Response:
    headers = {"WWW-Authenticate": 'Basic realm="Restcomm realm"'} if status == 401 else None
    return web.Response(status=status, text=text, headers=headers)


def limit_exceeded(text: str) -> web.Response:
    return web.json_response({"message": text, "error": "SMS_LIMIT_EXCEEDED"}, status=403)


def rfc822(at: datetime) -> str:
    """`Thu, 5 Jul 2018 10:46:45 +0300`: English, the day without a leading zero, the server's zone."""
    at = at.astimezone(SERVER_ZONE)
    return f"{_DAYS[at.weekday()]}, {at.day} {_MONTHS[at.month - 1]} {at:%Y %H:%M:%S %z}"


def iso8601(at: datetime) -> str:
    return at.astimezone(SERVER_ZONE).isoformat(timespec="milliseconds")


def _camel(data: Any) -> Any:
    if isinstance(data, dict):
        return {name.title().replace("_", ""): _camel(value) for name, value in data.items()}
    if isinstance(data, list):
        return {"Item": [_camel(item) for item in data]}
    return data
