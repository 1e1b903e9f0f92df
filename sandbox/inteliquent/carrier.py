"""The Inteliquent simulator: which request is which, who may ask, and how webhooks are written and signed.

Services base URL: `…/inteliquent/services/Services/2.0.0`, broker: `…/inteliquent/broker/msgbroker/rest` (what stands
between the host's name and the last part of the path is the caller's choice).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from aiohttp import web

from sandbox.answers import HTML_PAGE
from sandbox.basic import basic_pair
from sandbox.calls import Call, Inbound
from sandbox.carrier import Carrier
from sandbox.delivery import Post
from sandbox.faults import Fault
from sandbox.inteliquent import broker, services, wire
from sandbox.inteliquent.authorizations import Authorizations
from sandbox.numbers import start_numbers
from sandbox.parties import as_dialled, without_plus
from sandbox.store import Hook, Message, Number, now

SERVICES_CALLS = {
    "tnFeatureMessageList": "verify",
    "tnDetail": "number",
    "tnAssignedList": "number",
    "tnMessaging": "number",
    "tnMessagingCampaignList": "number",
    "messageDetailSearch": "list",
}
BROKER_CALLS = {
    "publishMessages": "send",
    "configureAuthorization": "hook",
    "removeAuthorization": "unhook",
    "selectAuthorization": "list",
}
STAT_WORDS = {"sent": "ACCEPTD", "delivered": "DELIVRD", "undelivered": "UNDELIV", "failed": "REJECTD"}
# A key of another application of the same customer: whoever removes it has removed too much.
OTHER_OUTBOUND_KEY = "BfRNyiOgcyjI5UPgC2ZR5grsj2XyW5DD"


class Inteliquent(Carrier):
    """One account of 40 numbers: +12012010580 and +12019920760 to +12019920799 without +12019920789.

    70 to 74 have SMS only, 75 no messaging, 76 is pending, 77 is A2P without a campaign; the others have SMS and MMS.
    """

    name: ClassVar[str] = "inteliquent"
    port_offset: ClassVar[int] = 1
    start_credentials: ClassVar[Mapping[str, str]] = {
        "api_key": "sandbox-api-key",
        "api_secret": "sandbox-api-secret",
        "outbound_api_key": "sandbox-outbound-api-key",
    }
    optional_credentials: ClassVar[tuple[str, ...]] = ("inbound_api_key",)

    def clear(self) -> None:
        super().clear()
        self.tokens = services.Tokens()
        self.table = Authorizations([self.credentials["outbound_api_key"], OTHER_OUTBOUND_KEY])

    def set_credentials(self, given: Mapping[str, str]) -> None:
        super().set_credentials(given)
        if "outbound_api_key" in given:
            self.table.replace_first_key(given["outbound_api_key"])

    def start_numbers(self) -> Iterable[Number]:
        yield Number("+12012010580")
        yield from start_numbers("+12019920")

    # Requests.

    def read(self, request: web.BaseRequest, body: bytes) -> Call:
        parts = request.path.strip("/").removeprefix(self.name).strip("/").split("/")
        host, name = parts[0], parts[-1]
        calls = {"services": SERVICES_CALLS, "broker": BROKER_CALLS}.get(host, {})
        operation = {"media": "media", "oauth2": "verify"}.get(host) or calls.get(name, "")
        data = _read_object(body) if calls else {}
        to = data.get("to") if operation == "send" else None
        dialled = [as_dialled(item) for item in to if isinstance(item, str)] if isinstance(to, list) else []
        return Call(request, host, name, operation, data, to=dialled)

    async def answer(self, call: Call) -> web.Response:
        if call.host == "media":
            return self._media(call)
        if not call.operation:
            return wire.as_json({"statusCode": "404", "status": f"No such resource: {call.request.path}"}, 404)
        if call.request.method != "POST":
            return wire.as_json({"statusCode": "405", "status": "Method not allowed"}, 405, {"Allow": "POST"})
        if call.host == "oauth2":
            return await self._token(call)
        refused = self._refused(call)
        if refused is not None:
            return refused
        try:
            return wire.as_json(await self._carry_out(call))
        except wire.Failure as failure:
            make = wire.broker_failure if call.host == "broker" else wire.failure
            return make(self.settings.errors, failure.code, failure.text)

    def _refused(self, call: Call) -> web.Response | None:
        """The answer to a wrong key, None when the key is right."""
        header = call.request.headers.get("Authorization", "")
        bearer = header[7:].strip() if header[:7].lower() == "bearer " else None
        if call.host == "broker":
            return None if bearer in self.table.outbound.values() else wire.wrong_broker_key()
        if bearer is not None:
            return None if bearer in self.tokens.given else wire.xml_fault()
        right = self.credentials["api_key"], self.credentials["api_secret"]
        return None if basic_pair(header) == right else wire.wrong_basic()

    async def _carry_out(self, call: Call) -> dict[str, Any]:
        if call.name == "publishMessages":
            messages = broker.read_text(self.numbers, call.data, self.new_sid())
            for message in messages:
                await self.take(call, message)
            return broker.sent_answer(messages, call.data)
        if call.name == "selectAuthorization":
            return broker.select_authorization(self.table, self.settings.tn_digits)
        if call.name == "configureAuthorization":
            return broker.configure_authorization(self.table, self.numbers, call.data)
        if call.name == "removeAuthorization":
            return broker.remove_authorization(self.table, call.data)
        services.check_private_key(call.data, self.credentials["api_key"])
        if call.name == "messageDetailSearch":
            return services.message_detail_search(self.numbers, self.messages.entries(), call.data)
        inventory = {
            "tnDetail": services.tn_detail,
            "tnAssignedList": services.tn_assigned_list,
            "tnMessaging": services.tn_messaging,
            "tnMessagingCampaignList": services.tn_messaging_campaign_list,
            "tnFeatureMessageList": services.tn_feature_message_list,
        }
        return inventory[call.name](self.numbers, call.data)

    async def _token(self, call: Call) -> web.Response:
        form = await call.request.post()
        pair = (form.get("client_id"), form.get("client_secret"))
        if form.get("grant_type") != "client_credentials":
            return wire.as_json({"error": "unsupported_grant_type"}, 400)
        if pair != (self.credentials["api_key"], self.credentials["api_secret"]):
            return wire.as_json({"error": "invalid_client"}, 401)
        return wire.as_json(self.tokens.give())

    def _media(self, call: Call) -> web.Response:
        parts = call.request.path.strip("/").split("/")
        return self.media.answer(parts[-2] if len(parts) > 2 else "", self.settings.media_misses)

    def fault_answer(self, call: Call, fault: Fault) -> web.Response:
        errors = self.settings.errors
        if fault.kind == "html":
            return web.Response(status=fault.status or 502, text=HTML_PAGE, content_type="text/html")
        if fault.kind == "xml":
            return wire.xml_fault(fault.status or 401, fault.code or "900901", fault.text or "Invalid Credentials")
        if fault.kind == "refuse":
            make = wire.broker_failure if call.host == "broker" else wire.failure
            return make(errors, fault.code or "408", fault.text or "The request was rejected")
        if fault.kind == "throttle" and "429" in (str(fault.status), fault.code):
            body = {"statusCode": "429", "status": fault.text or "Too many requests"}
            return wire.as_json(body, 429, {"Retry-After": "1"})
        if fault.kind == "throttle":
            return wire.failure(errors, fault.code or "431", fault.text or wire.TRY_AGAIN_TEXT)
        return self._status_answer(call, fault)

    def _status_answer(self, call: Call, fault: Fault) -> web.Response:
        if fault.status is None and fault.code:
            return wire.failure(self.settings.errors, fault.code, fault.text or "The request was rejected")
        status = fault.status or 500
        if status == 401 and not fault.code:
            return wire.wrong_broker_key() if call.host == "broker" else wire.wrong_basic()
        return wire.as_json({"statusCode": fault.code or str(status), "status": fault.text or "Internal error"}, status)

    # What it posts.

    def hooks(self) -> list[Hook]:
        return list(self.table.hooks.values())

    def hook_for(self, tn: str) -> Hook | None:
        return self.table.hook_for(tn)

    def stranger(self, url: str, tn: str | None) -> Hook:
        return Hook(id="", tn=tn, url=url, api_key=self.credentials.get("inbound_api_key"))

    def signed(self, hook: Hook, body: bytes, sign: str) -> Post:
        headers = {"Content-Type": "application/json"}
        if hook.header_name and sign != "none":
            headers[hook.header_name] = hook.header_value or ""
        if sign == "wrong" or (hook.api_key and sign == "right"):
            message_id = str(uuid.uuid4())
            key = f"not {hook.api_key}" if sign == "wrong" else hook.api_key or ""
            headers |= {"messageID": message_id, "verificationToken": self._token_of(key, message_id)}
        return Post(hook.url, headers, body)

    def _token_of(self, key: str, message_id: str) -> str:
        if self.settings.token == "hmac":  # noqa: S105 - the name of a scheme
            return hmac.new(key.encode(), message_id.encode(), hashlib.sha256).hexdigest()
        return hashlib.sha256((key + message_id).encode()).hexdigest()

    def inbound_body(self, inbound: Inbound) -> bytes:
        return self._webhook_body(inbound, is_receipt=False)

    def receipt_body(self, message: Message, word: str, error: str | None) -> bytes:
        """The receipt of the text, as SMSCs word it; it comes from the remote party to the number that sent."""
        stat = STAT_WORDS.get(word, word.upper())
        text = (
            f"id:{message.sid} sub:001 dlvrd:{int(stat == 'DELIVRD'):03} submit date:{message.at:%y%m%d%H%M} "
            f"done date:{now():%y%m%d%H%M} stat:{stat} err:{error or '000'} text:{message.text[:20]}"
        )
        return self._webhook_body(Inbound(message.sid, message.to, [message.sender], text), is_receipt=True)

    def _webhook_body(self, inbound: Inbound, *, is_receipt: bool) -> bytes:
        data = {
            "referenceId": inbound.sid,
            "from": self._party(inbound.sender),
            "to": [self._party(tn) for tn in inbound.to],
            "text": inbound.text,
            "deliveryReceipt": is_receipt,
            "mediaUrls": inbound.media_urls,
        }
        return json.dumps(data).encode()

    def _party(self, number: str) -> str | int:
        digits = without_plus(number)
        return int(digits) if self.settings.numbers_as == "int" and digits.isdecimal() else digits


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
