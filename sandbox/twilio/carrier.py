"""The Twilio simulator: which request is which, who may ask, and how webhooks are written and signed.

Base URL: `…/twilio/2010-04-01`. SignalWire and others speak the same under another address.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urljoin

from aiohttp import web

from sandbox.answers import HTML_PAGE
from sandbox.basic import basic_pair
from sandbox.calls import Call, Inbound, Settings
from sandbox.delivery import Post
from sandbox.faults import Fault
from sandbox.fields import Field, word
from sandbox.form_carrier import FormCarrier
from sandbox.forms import FORM_TYPE, as_form, read_form
from sandbox.hosted_media import HostedMedia, HostedMediaSettings
from sandbox.media import Media
from sandbox.numbers import start_numbers
from sandbox.parties import without_plus
from sandbox.segments import segments
from sandbox.store import Hook, Message, Number
from sandbox.twilio import resources, wire
from sandbox.twilio.sending import read_text


@dataclass
class TwilioSettings(HostedMediaSettings):
    account_status: str = "active"


class Twilio(FormCarrier, HostedMedia):
    """One account with the numbers +12019940760 to +12019940799 (sandbox/numbers.py says which are special)."""

    name: ClassVar[str] = "twilio"
    port_offset: ClassVar[int] = 3
    start_credentials: ClassVar[Mapping[str, str]] = {
        "account_sid": "AC5a4d00000000000000000000000000f3",
        "auth_token": "sandbox-twilio-auth-token",
    }
    own_settings: ClassVar[Mapping[str, Field]] = {
        **HostedMedia.own_settings,
        "account_status": word("active", "suspended", "closed"),
    }

    settings: TwilioSettings

    def start_settings(self) -> Settings:
        return TwilioSettings()

    def start_numbers(self) -> Iterable[Number]:
        return start_numbers("+12019940")

    def new_sid(self) -> str:
        return _sid("SM")

    # Requests.

    def read(self, request: web.BaseRequest, body: bytes) -> Call:
        below = request.path.partition("/Accounts/")[2].removesuffix(".json")
        parts = tuple(below.strip("/").split("/")) if below else ()
        token = self.cdn_token(request)
        if token is not None:
            return Call(request, "cdn", token, "media", {})
        form = read_form(body)
        name = "/".join(parts[1::2])
        return Call(
            request, "api", name, _operation(request.method, parts, form), form, to=form.get("To", []), parts=parts
        )

    async def answer(self, call: Call) -> web.Response:
        if call.host == "cdn":
            return self.from_cdn(call.request, call.name)
        try:
            self._check(call)
            if call.name == "Messages/Media":
                return self.hosted(call.parts[4])
            return await self._carry_out(call)
        except wire.Failure as failure:
            return wire.failure(failure.status, failure.code, failure.text)

    def _check(self, call: Call) -> None:
        """Raises Failure for a wrong token, a foreign account, an unknown address, an account that is closed."""
        pair = basic_pair(call.request.headers.get("Authorization", ""))
        if pair != (self.credentials["account_sid"], self.credentials["auth_token"]):
            raise wire.Failure(401, 20003, "Authenticate")
        wants_json = call.request.path.endswith(".json") or call.name == "Messages/Media"
        if not call.operation or call.parts[0] != self.credentials["account_sid"] or not wants_json:
            raise _not_found(call)
        if call.name and self.settings.account_status != "active":
            raise wire.Failure(403, 20005, "Account is not active")

    async def _carry_out(self, call: Call) -> web.Response:
        account_sid = self.credentials["account_sid"]
        query = call.request.query
        if call.operation == "verify":
            status = self.settings.account_status
            return wire.as_json(resources.account(account_sid, self.credentials["auth_token"], status))
        if call.operation == "send":
            return await self._send(call)
        if call.name == "Messages":
            if len(call.parts) == 3:
                return wire.as_json(resources.message_row(account_sid, self._message(call)))
            found = resources.matching_messages([*self.messages.entries(), *self.received.entries()], query)
            rows = [resources.message_row(account_sid, message) for message in found]
            return wire.as_json(resources.page("messages", rows, call.request.path, query))
        if len(call.parts) == 2:
            numbers = resources.matching_numbers(self.numbers.values(), query)
            rows = [resources.number_row(account_sid, number, self.written) for number in numbers]
            return wire.as_json(resources.page("incoming_phone_numbers", rows, call.request.path, query))
        number = self.written.find(call.parts[2])
        if number is None:
            raise _not_found(call)
        self.written.write(number.tn, call.data)
        return wire.as_json(resources.number_row(account_sid, number, self.written))

    async def _send(self, call: Call) -> web.Response:
        message = read_text(self.numbers, call.data, self.new_sid())
        await self.take(call, message)
        return wire.as_json(resources.message_row(self.credentials["account_sid"], message, "queued"), 201)

    def _message(self, call: Call) -> Message:
        known = self.by_sid.get(call.parts[2])
        if known is None:
            raise _not_found(call)
        return known[0]

    def fault_answer(self, call: Call, fault: Fault) -> web.Response:
        if fault.kind == "html":
            return web.Response(status=fault.status or 502, text=HTML_PAGE, content_type="text/html")
        if fault.kind == "xml":
            return wire.xml_failure(fault.status or 401, fault.code or "20003", fault.text or "Authenticate")
        if fault.kind == "refuse":
            return wire.failure(
                400, _code(fault, 21408), fault.text or "Permission to send an SMS has not been enabled"
            )
        if fault.kind == "throttle":
            return wire.failure(429, _code(fault, wire.TRY_AGAIN), fault.text or "Too Many Requests")
        status = fault.status or 500
        if status == 401:
            return wire.failure(401, _code(fault, 20003), fault.text or "Authenticate")
        return wire.failure(status, _code(fault, 20500), fault.text or "An internal server error has occurred")

    # What it posts.

    def signed(self, hook: Hook, body: bytes, sign: str) -> Post:
        headers = {"Content-Type": FORM_TYPE, "User-Agent": "TwilioProxy/1.1"}
        if sign != "none":
            token = self.credentials["auth_token"] if sign == "right" else "another token"
            url = urljoin(self.world.portal_url, hook.url)
            headers["X-Twilio-Signature"] = wire.signature(token, url, read_form(body))
        return Post(hook.url, headers, body)

    def inbound_body(self, inbound: Inbound) -> bytes:
        fields = {
            "MessageSid": inbound.sid,
            "SmsSid": inbound.sid,
            "SmsMessageSid": inbound.sid,
            "AccountSid": self.credentials["account_sid"],
            "From": self._party(inbound.sender),
            "To": self._party(inbound.own or inbound.to[0]),
            "NumMedia": str(len(inbound.media_urls)),
            "NumSegments": str(segments(inbound.text)),
            "SmsStatus": "received",
            "ApiVersion": wire.API_VERSION,
            **{f"MediaUrl{index}": url for index, url in enumerate(inbound.media_urls)},
            **{f"MediaContentType{index}": kind for index, kind in enumerate(inbound.media_types)},
        }
        # A picture alone comes without the field.
        return as_form({**fields, **({"Body": inbound.text} if inbound.text or not inbound.media_urls else {})}.items())

    def _party(self, number: str) -> str:
        """`numbers_as` "int": digits alone, as some servers that speak the same write them."""
        return without_plus(number) if self.settings.numbers_as == "int" else number

    def receipt_body(self, message: Message, word: str, error: str | None) -> bytes:
        fields = {
            "MessageSid": message.sid,
            "SmsSid": message.sid,
            "AccountSid": self.credentials["account_sid"],
            "From": self._party(message.sender),
            "To": self._party(message.to),
            "MessageStatus": word,
            "SmsStatus": word,
            "ApiVersion": wire.API_VERSION,
        }
        return as_form({**fields, **({"ErrorCode": error} if error else {})}.items())

    def media_url(self, media: Media, sid: str) -> str:
        token = self.media.put(media, _sid("ME"))
        account = f"{self.base_url}/twilio/{wire.API_VERSION}/Accounts/{self.credentials['account_sid']}"
        return f"{account}/Messages/{sid}/Media/{token}"

    def parts_of(self, media: list[Media]) -> list[Media]:
        return media


def _operation(method: str, parts: tuple[str, ...], form: dict[str, list[str]]) -> str:
    """The name under which faults know a request, "" for one that Twilio does not know."""
    resource = parts[1] if len(parts) > 1 else ""
    shape: dict[tuple[str, str, int], str] = {
        ("GET", "", 1): "verify",
        ("GET", "IncomingPhoneNumbers", 2): "number",
        ("GET", "IncomingPhoneNumbers", 3): "number",
        ("POST", "IncomingPhoneNumbers", 3): "hook" if form.get("SmsUrl", [""])[-1] else "unhook",
        ("POST", "Messages", 2): "send",
        ("GET", "Messages", 2): "list",
        ("GET", "Messages", 3): "list",
        ("GET", "Messages", 5): "media",
    }
    return shape.get((method, resource, len(parts)), "")


def _not_found(call: Call) -> wire.Failure:
    return wire.Failure(404, 20404, f"The requested resource {call.request.path} was not found")


def _code(fault: Fault, usual: int) -> int:
    return int(fault.code) if fault.code and fault.code.isdecimal() else usual


def _sid(kind: str) -> str:
    return kind + uuid.uuid4().hex
