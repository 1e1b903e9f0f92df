"""The Restcomm simulator: which request is which, who may ask, and what it posts.

Base URL: `…/restcomm/2012-04-24`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from aiohttp import web

from sandbox.answers import HTML_PAGE
from sandbox.basic import basic_pair
from sandbox.calls import Call, Inbound, Settings
from sandbox.delivery import Delivery, Post
from sandbox.faults import Fault
from sandbox.fields import Field, flag, word
from sandbox.form_carrier import FormCarrier
from sandbox.forms import FORM_TYPE, as_form, read_form
from sandbox.media import Media
from sandbox.numbers import start_numbers
from sandbox.parties import without_plus
from sandbox.restcomm import resources, wire
from sandbox.restcomm.sending import as_sent, read_text
from sandbox.store import Hook, Journal, Message, Number
from sandbox.xml import xml_response

EMAIL = "sandbox@restcomm.example"
OTHER_ACCOUNT = "AC00000000000000000000000000000bad"
XML_TYPES = ("text/xml", "application/xml", "text/html")


@dataclass
class RestcommSettings(Settings):
    """`normalize`: its setting for outbound numbers, which also cuts texts. `transport` "sip": no callbacks at all."""

    account_status: str = "active"
    normalize: bool = False
    transport: str = "smpp"


class Restcomm(FormCarrier):
    """One account with the numbers +12019930760 to +12019930799 (sandbox/numbers.py says which are special)."""

    name: ClassVar[str] = "restcomm"
    port_offset: ClassVar[int] = 2
    start_credentials: ClassVar[Mapping[str, str]] = {
        "account_sid": "AC7e570000000000000000000000000c0d",
        "auth_token": "sandbox-restcomm-auth-token",
    }
    own_settings: ClassVar[Mapping[str, Field]] = {
        "account_status": word("active", "closed", "suspended", "inactive", "uninitialized"),
        "normalize": flag(),
        "transport": word("smpp", "sip"),
    }

    settings: RestcommSettings

    def start_settings(self) -> Settings:
        return RestcommSettings()

    def clear(self) -> None:
        super().clear()
        self.notifications: Journal[dict[str, Any]] = Journal()

    def start_numbers(self) -> Iterable[Number]:
        return start_numbers("+12019930")

    def new_sid(self) -> str:
        return "SM" + uuid.uuid4().hex

    # Requests.

    def read(self, request: web.BaseRequest, body: bytes) -> Call:
        """`.json` anywhere in the path asks for JSON and is no part of it."""
        below = request.path.replace(".json", "").partition("/Accounts/")[2]
        parts = tuple(below.strip("/").split("/")) if below else ()
        form = read_form(body)
        operation = _operation(request.method, parts, form)
        return Call(request, "api", "/".join(parts[1:]), operation, form, to=form.get("To", []), parts=parts)

    async def answer(self, call: Call) -> web.Response:
        try:
            self._check(call)
            root, data = await self._carry_out(call)
        except wire.Failure as failure:
            return wire.failure(failure.status, failure.text)
        headers = call.request.headers
        wants_json = ".json" in call.request.path or "application/json" in headers.get("Accept", "")
        return wire.answer(wants_json, root, data)

    def _check(self, call: Call) -> None:
        """Raises Failure: the filter before everything, then the account in the path."""
        pair = basic_pair(call.request.headers.get("Authorization", ""))
        if pair is None or not self._is_account(*pair):
            raise wire.Failure(401)
        if self.settings.account_status != "active":
            raise wire.Failure(403, "Provided Account is not active")
        if not call.operation or call.parts[0] != self.credentials["account_sid"]:
            raise wire.Failure(404)

    def _is_account(self, name: str, password: str) -> bool:
        token = self.credentials["auth_token"]
        # Also the password of which the token is the digest.
        digest = hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()
        return name in (self.credentials["account_sid"], EMAIL) and token in (password, digest)

    async def _carry_out(self, call: Call) -> tuple[str, dict[str, Any]]:
        """Name and content of the answer."""
        account_sid = self.credentials["account_sid"]
        if call.operation == "verify":
            return "Account", resources.account(account_sid, EMAIL, self.credentials["auth_token"])
        if call.operation == "send":
            return "SMSMessage", await self._send(call)
        if call.parts[1] == "SMS":
            return self._messages(call)
        if call.parts[1] == "Notifications":
            rows = list(self.notifications.entries())
            return "Notifications", resources.page("notifications", rows, call.request.path, call.request.query)
        return self._numbers(call)

    async def _send(self, call: Call) -> dict[str, Any]:
        message = read_text(call.data, self.new_sid(), normalize=self.settings.normalize)
        row = resources.message_row(self.credentials["account_sid"], message)
        message.aired = as_sent(message.text, call.data)
        await self.take(call, message)
        return row

    def _messages(self, call: Call) -> tuple[str, dict[str, Any]]:
        account_sid = self.credentials["account_sid"]
        if len(call.parts) == 4:
            known = self.by_sid.get(call.parts[3])
            if known is None:
                raise wire.Failure(404)
            return "SMSMessage", resources.message_row(account_sid, known[0])
        received = [
            replace(message, sender=self._party(message.sender), to=self._party(message.to))
            for message in self.received.entries()
        ]
        everything = [*self.messages.entries(), *received]
        found = resources.matching_messages(everything, call.request.query)
        rows = [resources.message_row(account_sid, message) for message in found]
        return "SMSMessages", resources.page("messages", rows, call.request.path, call.request.query)

    def _numbers(self, call: Call) -> tuple[str, dict[str, Any]]:
        account_sid = self.credentials["account_sid"]
        if len(call.parts) == 2:
            found = resources.matching_numbers(self.numbers.values(), call.request.query)
            rows = [resources.number_row(account_sid, number, self.written) for number in found]
            page = resources.page("incomingPhoneNumbers", rows, call.request.path, call.request.query)
            return "IncomingPhoneNumbers", page
        number = self.written.find(call.parts[2])
        if number is None:
            raise wire.Failure(404)
        self.written.write(number.tn, call.data)
        return "IncomingPhoneNumber", resources.number_row(account_sid, number, self.written)

    def fault_answer(self, call: Call, fault: Fault) -> web.Response:
        if fault.kind == "html":
            return web.Response(status=fault.status or 502, text=HTML_PAGE, content_type="text/html")
        if fault.kind == "xml":
            error = {"Code": fault.code or "20003", "Message": fault.text or "Unauthorized"}
            return xml_response("RestcommResponse", {"RestException": error}, fault.status or 401)
        if fault.kind == "refuse":
            return wire.failure(fault.status or 400, fault.text or "The message was refused.")
        if fault.kind == "throttle" and fault.code == "SMS_LIMIT_EXCEEDED":
            return wire.limit_exceeded(fault.text or "Your account has reached its limit of messages.")
        if fault.kind == "throttle":
            return web.Response(status=429, text=fault.text or "Too many requests", headers={"Retry-After": "1"})
        status = fault.status or 500
        return wire.failure(status, fault.text or ("" if status == 401 else fault.code or "Internal error"))

    # What it posts.

    async def send_receipt(
        self, message: Message, word: str, *, error: str | None = None, copies: int = 1, parallel: bool = False
    ) -> list[Delivery]:
        """A text that left by SIP is sent or failed, and nobody is told."""
        if self.settings.transport == "sip":
            message.status, message.error = ("sent" if word in ("sent", "delivered") else "failed"), error
            return []
        return await super().send_receipt(message, word, error=error, copies=copies, parallel=parallel)

    def receipt_hook(self, message: Message, word: str) -> Hook | None:
        return super().receipt_hook(message, word) if self.settings.transport == "smpp" else None

    async def deliver_inbound(self, hook: Hook, post: Post, copies: int, parallel: bool) -> list[Delivery]:
        """An answer other than 200 sends the text to the fallback, once; a 200 without XML is noted and that is all."""
        deliveries = await super().deliver_inbound(hook, post, copies, parallel)
        last = deliveries[-1]
        fallback = self.written.value(hook.tn or "", "sms_fallback_url")
        if last["http_status"] != 200:
            return deliveries + (await self._deliver(replace(post, url=fallback), 1, False) if fallback else [])
        if last["headers"].get("Content-Type", "").partition(";")[0].strip().lower() not in XML_TYPES:
            self.notifications.add(resources.notification(self.credentials["account_sid"], last))
        return deliveries

    def signed(self, hook: Hook, body: bytes, sign: str) -> Post:
        """It signs nothing. "wrong" comes from another account, "none" from nobody."""
        ours = f"AccountSid={self.credentials['account_sid']}".encode()
        if sign == "wrong":
            body = body.replace(ours, f"AccountSid={OTHER_ACCOUNT}".encode())
        elif sign == "none":
            body = body.replace(b"&" + ours, b"")
        return Post(hook.url, {"Content-Type": FORM_TYPE}, body)

    def inbound_body(self, inbound: Inbound) -> bytes:
        fields = {
            "SmsSid": inbound.sid,
            "AccountSid": self.credentials["account_sid"],
            "From": self._party(inbound.sender),
            "To": self._party(inbound.own or inbound.to[0]),
            "Body": inbound.text,
        }
        return as_form(fields.items())

    def _party(self, number: str) -> str:
        """As the network wrote it, unless numbers are made uniform."""
        return number if self.settings.normalize else without_plus(number)

    def _dialled(self, number: str) -> str:
        """As it was written when the text was sent, or `numbers_as` "int": digits alone."""
        return without_plus(number) if self.settings.numbers_as == "int" else number

    def receipt_body(self, message: Message, word: str, error: str | None) -> bytes:
        """The error is the name of a constant, and the body stands there twice."""
        name, _ = wire.ERRORS.get(error or "", (error, ""))
        return as_form(
            [
                ("From", self._dialled(message.sender)),
                ("To", self._dialled(message.to)),
                ("Body", message.text),
                ("AccountSid", self.credentials["account_sid"]),
                *([("ErrorCode", name)] if name else []),
                ("MessageSid", message.sid),
                ("MessageStatus", word),
                ("Body", message.text),
            ]
        )

    def parts_of(self, media: list[Media]) -> list[Media]:
        """It knows no MMS."""
        return []


def _operation(method: str, parts: tuple[str, ...], form: dict[str, list[str]]) -> str:
    """The name under which faults know a request, "" for one that Restcomm does not know."""
    resource = "/".join(parts[1:3] if parts[1:2] == ("SMS",) else parts[1:2])
    written = "hook" if form.get("SmsUrl", [""])[-1] else "unhook"
    shapes: dict[tuple[str, str, int], str] = {
        ("GET", "", 1): "verify",
        ("GET", "IncomingPhoneNumbers", 2): "number",
        ("GET", "IncomingPhoneNumbers", 3): "number",
        ("POST", "IncomingPhoneNumbers", 3): written,
        ("PUT", "IncomingPhoneNumbers", 3): written,
        ("POST", "SMS/Messages", 3): "send",
        ("GET", "SMS/Messages", 3): "list",
        ("GET", "SMS/Messages", 4): "list",
        ("GET", "Notifications", 2): "list",
    }
    return shapes.get((method, resource, len(parts)), "")
