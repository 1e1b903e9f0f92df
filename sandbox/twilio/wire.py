"""Answers as Twilio words them, its dates, and its signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from aiohttp import web

from sandbox.xml import xml_response

API_VERSION = "2010-04-01"
TRY_AGAIN = 20429


class Failure(Exception):
    """Twilio says no: HTTP status, its own code, a sentence."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text


def as_json(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=json.dumps(data).encode(), status=status, headers=headers, content_type="application/json", charset="utf-8"
    )


def failure(status: int, code: int, text: str) -> web.Response:
    body = {
        "code": code,
        "message": text,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return as_json(body, status, {"Retry-After": "1"} if status == 429 else None)


def xml_failure(status: int, code: str, text: str) -> web.Response:
    details = {"Code": code, "Message": text, "MoreInfo": f"https://www.twilio.com/docs/errors/{code}"}
    return xml_response("TwilioResponse", {"RestException": {**details, "Status": status}}, status)


def rfc2822(at: datetime) -> str:
    return format_datetime(at)


def signature(token: str, url: str, form: Mapping[str, list[str]]) -> str:
    """HMAC-SHA1 under the account's token over the address and, sorted, each name with its values, each value once."""
    text = url + "".join(name + value for name in sorted(form) for value in sorted(set(form[name])))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()
