"""The Bandwidth simulator: which request is which, who may ask, and how webhooks are signed.

Messaging base URL: `…/bandwidth/messaging/api/v2`, dashboard: `…/bandwidth/dashboard/api` (what stands before
`users` and `accounts` is the caller's choice).
"""

from __future__ import annotations

import json
import re
import secrets
import string
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web

from sandbox.answers import HTML_PAGE
from sandbox.bandwidth import events, listing, wire
from sandbox.bandwidth.applications import Applications
from sandbox.bandwidth.sending import read_texts, taken
from sandbox.basic import basic_header, basic_pair
from sandbox.calls import Call, Inbound, Settings
from sandbox.delivery import Post
from sandbox.faults import Fault
from sandbox.fields import Field
from sandbox.hosted_media import HostedMedia, HostedMediaSettings
from sandbox.media import Media
from sandbox.numbers import start_numbers
from sandbox.parties import e164
from sandbox.store import Hook, Message, Number
from sandbox.xml import read_xml, xml_response

_ID_CHARACTERS = string.ascii_lowercase + string.digits


@dataclass
class BandwidthSettings(HostedMediaSettings):
    """It tries again until it is answered with 2xx: here so many times, a second apart."""

    retries: int = 2
    media_redirect: bool = False


class Bandwidth(HostedMedia):
    """One account with the numbers +12019950760 to +12019950799 (sandbox/numbers.py says which are special)."""

    name: ClassVar[str] = "bandwidth"
    port_offset: ClassVar[int] = 4
    start_credentials: ClassVar[Mapping[str, str]] = {
        "account_id": "9900000",
        "username": "sandbox-bandwidth-user",
        "password": "sandbox-bandwidth-password",
        "application_id": "93de2206-9669-4e07-948d-329f4b722ee2",
    }
    optional_credentials: ClassVar[tuple[str, ...]] = ("callback_user", "callback_password")
    own_settings: ClassVar[Mapping[str, Field]] = HostedMedia.own_settings

    settings: BandwidthSettings

    def start_settings(self) -> Settings:
        return BandwidthSettings()

    def clear(self) -> None:
        super().clear()
        self.applications = Applications(self.credentials["application_id"])

    def set_credentials(self, given: Mapping[str, str]) -> None:
        super().set_credentials(given)
        self.applications.rename_first(self.credentials["application_id"])

    def start_numbers(self) -> Iterable[Number]:
        return start_numbers("+12019950")

    def new_sid(self) -> str:
        return f"{int(time.time() * 1000)}" + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(16))

    # Requests.

    def read(self, request: web.BaseRequest, body: bytes) -> Call:
        token = self.cdn_token(request)
        if token is not None:
            return Call(request, "cdn", token, "media", {})
        host, parts = _address(request.path)
        data = _read_json(body) if host == "messaging" else _read_application(body)
        operation = _operation(host, request.method, parts, data)
        to = data.get("to") if operation == "send" else None
        dialled = [item for item in to if isinstance(item, str)] if isinstance(to, list) else []
        return Call(request, host, "/".join(parts[1:2]), operation, data, to=dialled, parts=parts)

    async def answer(self, call: Call) -> web.Response:
        if call.host == "cdn":
            return self.from_cdn(call.request, call.name)
        try:
            return await (self._dashboard(call) if call.host == "dashboard" else self._messaging(call))
        except wire.Failure as failure:
            return wire.failure(failure)
        except wire.DashboardFailure as failure:
            return wire.dashboard_failure(failure)

    def _may_ask(self, call: Call) -> int:
        """401 for a wrong password, 403 for a foreign account, else 200."""
        pair = basic_pair(call.request.headers.get("Authorization", ""))
        if pair != (self.credentials["username"], self.credentials["password"]):
            return 401
        return 403 if call.parts[:1] != (self.credentials["account_id"],) else 200

    async def _messaging(self, call: Call) -> web.Response:
        status = self._may_ask(call)
        if status == 401:
            raise wire.Failure(401, "unauthorized", "Authentication Failed")
        if not call.operation:
            raise wire.Failure(404, "resource-not-found", "The resource specified cannot be found")
        if status == 403:
            raise wire.Failure(403, "forbidden", "Access is denied")
        if call.operation == "verify":
            return wire.as_json([])
        if call.operation == "media":
            return self.hosted(call.parts[2])
        if call.operation == "list":
            messages = [*self.messages.entries(), *self.received.entries()]
            return wire.as_json(listing.message_list(call.parts[0], messages, call.request.query))
        return await self._send(call)

    async def _send(self, call: Call) -> web.Response:
        if call.request.content_type != "application/json":
            raise wire.Failure(415, "unsupported-media-type", "Content-Type must be application/json")
        application_id = self.credentials["application_id"]
        messages = read_texts(self.numbers, application_id, call.data, self.new_sid())
        row = taken(messages, application_id)
        for message in messages:
            await self.take(call, message)
        return wire.as_json(row, 202)

    async def _dashboard(self, call: Call) -> web.Response:
        status = self._may_ask(call)
        if status != 200:
            raise wire.DashboardFailure(status, str(status), "Not authorized" if status == 401 else "Access is denied")
        if not call.operation:
            raise wire.DashboardFailure(404, "404", "No such resource")
        if call.operation == "number":
            number = self.numbers.get(e164(call.parts[2]))
            found = number is not None and number.status == "in_service"
            return web.Response(status=200 if found else 404)
        return self._application(call)

    def _application(self, call: Call) -> web.Response:
        method, application_id = call.request.method, "".join(call.parts[2:3])
        if method == "GET" and not application_id:
            rows = {"ApplicationList": {"Application": self.applications.rows()}}
            return xml_response("ApplicationProvisioningResponse", rows)
        if method == "DELETE":
            self.applications.delete(application_id)
            return web.Response(status=200)
        if method == "GET":
            row = self.applications.shown(application_id)
        elif method == "POST":
            row = self.applications.create(call.data)
        elif method == "PUT":
            row = self.applications.replace(application_id, call.data)
        else:
            row = self.applications.change(application_id, call.data)
        return xml_response("ApplicationProvisioningResponse", {"Application": row}, 201 if method == "POST" else 200)

    def fault_answer(self, call: Call, fault: Fault) -> web.Response:
        if fault.kind == "html":
            return web.Response(status=fault.status or 502, text=HTML_PAGE, content_type="text/html")
        if fault.kind == "xml":
            refusal = wire.DashboardFailure(fault.status or 401, fault.code or "401", fault.text or "Not authorized")
            return wire.dashboard_failure(refusal)
        if fault.kind == "refuse":
            text = fault.text or "The message was refused."
            return wire.failure(wire.Failure(fault.status or 400, fault.code or "request-validation", text))
        if fault.kind == "throttle":
            text = fault.text or "Too many requests. Please wait before trying again."
            return wire.failure(wire.Failure(429, fault.code or "too-many-requests", text))
        status = fault.status or 500
        usual = (
            ("unauthorized", "Authentication Failed") if status == 401 else ("internal-server-error", "Internal error")
        )
        return wire.failure(wire.Failure(status, fault.code or usual[0], fault.text or usual[1]))

    # What it posts.

    def hooks(self) -> list[Hook]:
        """One for all numbers."""
        hook = self.applications.inbound_hook()
        return [hook] if hook is not None else []

    def hook_for(self, tn: str) -> Hook | None:
        return self.applications.inbound_hook(tn) if tn in self.numbers else None

    def receipt_hook(self, message: Message, word: str) -> Hook | None:
        return self.applications.status_hook(events.event_type(word))

    def stranger(self, url: str, tn: str | None) -> Hook:
        user, password = (self.credentials.get(name) for name in self.optional_credentials)
        header = basic_header(user, password) if user and password else None
        return Hook("", tn, url, header_name="Authorization" if header else None, header_value=header)

    def copies_of(self, inbound: Inbound) -> list[tuple[Hook, Inbound]]:
        """An event with an id of its own for each of our numbers in a group."""
        return self.one_copy_each(inbound)

    def signed(self, hook: Hook, body: bytes, sign: str) -> Post:
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "BandwidthAPI/v2"}
        if sign == "wrong":
            headers["Authorization"] = basic_header("somebody", "else")
        elif sign == "right" and hook.header_name:
            headers[hook.header_name] = hook.header_value or ""
        return Post(hook.url, headers, body)

    def inbound_body(self, inbound: Inbound) -> bytes:
        party = events.as_int if self.settings.numbers_as == "int" else str
        return events.received(inbound, self.credentials["application_id"], party)

    def receipt_body(self, message: Message, word: str, error: str | None) -> bytes:
        recipients = [each.to for each in self.by_sid.get(message.sid, [message])]
        return events.status(message, recipients, self.credentials["application_id"], word, error)

    def media_url(self, media: Media, sid: str) -> str:
        token = self.media.put(media)
        account = f"{self.base_url}/bandwidth/messaging/api/v2/users/{self.credentials['account_id']}"
        return f"{account}/media/{token}/0/{media.name}"


def _address(path: str) -> tuple[str, tuple[str, ...]]:
    """Which interface a path belongs to, and what stands below `users` or `accounts`."""
    found = re.search(r"/(users|accounts)/(.*)", path)
    if found is None:
        return "messaging", ()
    return "messaging" if found[1] == "users" else "dashboard", tuple(found[2].strip("/").split("/"))


def _operation(host: str, method: str, parts: tuple[str, ...], data: Mapping[str, Any]) -> str:
    """The name under which faults know a request, "" for one that Bandwidth does not know."""
    resource = parts[1].replace("_", "").lower() if len(parts) > 1 else ""
    if (host, resource) == ("dashboard", "applications"):
        if method == "GET":
            return "list"
        known = len(parts) == (2 if method == "POST" else 3) and method in ("POST", "PUT", "PATCH", "DELETE")
        return "" if not known else "hook" if data.get("InboundCallbackUrl") else "unhook"
    shapes = {
        ("messaging", "GET", "media", 2): "verify",
        ("messaging", "POST", "messages", 2): "send",
        ("messaging", "GET", "messages", 2): "list",
        ("dashboard", "GET", "inservicenumbers", 3): "number",
    }
    if (host, method, resource) == ("messaging", "GET", "media") and len(parts) > 2:
        return "media"
    return shapes.get((host, method, resource, len(parts)), "")


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _read_application(body: bytes) -> dict[str, Any]:
    try:
        return read_xml(body)[1] if body else {}
    except ValueError:
        return {}
