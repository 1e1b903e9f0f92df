"""Answers as Bandwidth words them: JSON from messaging, XML from the dashboard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from sandbox.xml import xml_response


class Failure(Exception):
    """Messaging says no: HTTP status, a word, a sentence, and which fields are wrong."""

    def __init__(self, status: int, kind: str, text: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.kind = kind
        self.text = text
        self.fields = fields or {}


class DashboardFailure(Exception):
    """The dashboard says no."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text


def invalid(**fields: str) -> Failure:
    return Failure(400, "request-validation", "Your request could not be accepted.", fields)


def as_json(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=json.dumps(data).encode(), status=status, headers=headers, content_type="application/json", charset="utf-8"
    )


def failure(refusal: Failure) -> web.Response:
    body: dict[str, Any] = {"type": refusal.kind, "description": refusal.text}
    if refusal.fields:
        rows = [{"fieldName": name, "description": said} for name, said in refusal.fields.items()]
        body["fieldErrors"] = rows
    return as_json(body, refusal.status, {"Retry-After": "1"} if refusal.status == 429 else None)


def dashboard_failure(refusal: DashboardFailure) -> web.Response:
    status = {"ErrorCode": refusal.code, "Description": refusal.text}
    return xml_response("ErrorResponse", {"ResponseStatus": status}, refusal.status)
