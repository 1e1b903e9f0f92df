"""Answers as Inteliquent words them."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from sandbox.store import iso, now

SUCCESS = {"statusCode": "200", "status": "Success"}
BROKER_SUCCESS = {"success": True, "reason": "SUCCESS", "detail": "SUCCESS"}
TRY_AGAIN_TEXT = "Unable to complete the request at the moment, please try again."
XML_FAULT = (
    '<ams:fault xmlns:ams="http://wso2.org/apimanager/security"><ams:code>{code}</ams:code>'
    "<ams:message>{text}</ams:message><ams:description>Access failure for API: /Services/2.0.0, version: 2.0.0. "
    "Make sure you have given the correct access token</ams:description></ams:fault>"
)


class Failure(Exception):
    """The carrier says no, with one of its own codes."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def as_json(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=json.dumps(data).encode(), status=status, headers=headers, content_type="application/json", charset="utf-8"
    )


def failure(errors: str, code: str, text: str) -> web.Response:
    """A code of the carrier: as HTTP status (`errors` "http") or only in the body of a 200 ("body")."""
    status = int(code) if code.isdecimal() and 400 <= int(code) < 600 else 400
    return as_json({"statusCode": code, "status": text}, status if errors == "http" else 200)


def broker_failure(errors: str, code: str, text: str) -> web.Response:
    """The broker's no: `success` false in the body of a 200, or the coded form."""
    if errors == "http":
        return failure(errors, code, text)
    return as_json({"success": False, "reason": "FAILURE" if code == "408" else code, "detail": text})


def wrong_basic() -> web.Response:
    body = {
        "message": "Invalid authentication information provided",
        "status": "Invalid credentials",
        "statusCode": "401001",
        "timestamp": iso(now()).replace("Z", "+0000"),
    }
    return as_json(body, 401)


def wrong_broker_key() -> web.Response:
    return as_json({"success": False, "reason": "UNAUTHORIZED", "detail": "Invalid API key"}, 401)


def xml_fault(status: int = 401, code: str = "900901", text: str = "Invalid Credentials") -> web.Response:
    return web.Response(
        status=status, text=XML_FAULT.format(code=code, text=text), content_type="application/xml", charset="utf-8"
    )
