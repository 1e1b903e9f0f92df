"""The `/_control/` interface of one simulated carrier: set it up, break it, make it speak, see what it received."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from aiohttp import web

from sandbox.calls import Inbound
from sandbox.carrier import STATES, Carrier
from sandbox.control_base import NO_CONTENT, Refusal, after, answer, carrier_of, read_body, rows, sandbox_of
from sandbox.faults import KINDS, OPERATIONS
from sandbox.fields import BadInput, amount, flag, list_of, mapping, read_fields, text, text_or_list, whole, word
from sandbox.media import Media
from sandbox.parties import e164
from sandbox.receipts import MODES, Plan
from sandbox.store import Number

CARRIER = {
    "state": word(*STATES),
    "latency_ms": amount(),
    "credentials": mapping(),
    "errors": word("http", "body"),
    "token": word("sha256", "hmac"),
    "numbers_as": word("string", "int"),
    "tn_digits": word(10, 11),
    "retries": whole(),
    "media_misses": whole(),
}
NUMBER = {
    "status": word("in_service", "pending", "pending_disconnect", default="in_service"),
    "messaging": word("SMS", "MMS", "SMSMMS", "SMS_ALT", "MMS_ALT", "SMSMMS_ALT", "", default="SMSMMS"),
    "class": word("P2P", "A2PLC", "A2P8XX", default="P2P"),
    "campaign": text().or_null(),
}
FAULT_ORDER = {
    "operation": word(*OPERATIONS, default="*"),
    "times": whole(1, default=1).or_null(),
    "to": text().or_null(),
    "after_accept": flag(False),
    "fault": mapping(),
}
FAULT = {
    "kind": word(*KINDS),
    "status": whole(200).or_null(),
    "code": text().or_null(),
    "text": text().or_null(),
    "delay_s": amount(0),
}
PLAN = {
    "mode": word(*MODES, default="auto"),
    "sequence": list_of(text(), default=["sent", "delivered"]),
    "delay_s": amount(0.1),
    "copies": whole(1, default=1),
    "reverse": flag(False),
    "before_answer": flag(False),
    "to": text().or_null(),
}
RECEIPT = {
    "sid": text(),
    "status": text(),
    "error": text().or_null(),
    "copies": whole(1, default=1),
    "parallel": flag(False),
}
INBOUND = {
    "from": text().or_null(),
    "to": text_or_list().or_null(),
    "text": text(""),
    "media": list_of(mapping(), default=[]),
    "sid": text().or_null(),
    "copies": whole(1, default=1),
    "parallel": flag(False),
    "sign": word("right", "wrong", "none", default="right"),
    "url": text().or_null(),
    "raw": mapping().or_null(),
}
MEDIA = {"name": text(), "content_type": text(), "base64": text()}
RAW = {"headers": mapping({}), "body_base64": text("")}


async def show(request: web.Request) -> web.Response:
    return answer(carrier_of(request).as_json())


async def change(request: web.Request) -> web.Response:
    """PUT changes what is given and leaves the rest."""
    carrier = carrier_of(request)
    given = read_fields(await read_body(request), {**CARRIER, **carrier.own_settings}, partial=True)
    names = dict.fromkeys([*carrier.credentials, *carrier.optional_credentials], text())
    credentials = read_fields(given.pop("credentials", {}), names, partial=True, prefix="credentials.")
    state = given.pop("state", None)
    carrier.set_credentials(credentials)
    for name, value in given.items():
        setattr(carrier.settings, name, value)
    if state is not None:
        await sandbox_of(request).set_carrier_state(carrier, state)
    return answer(carrier.as_json())


async def list_numbers(request: web.Request) -> web.Response:
    return answer({"results": [number.as_json() for number in carrier_of(request).numbers.values()]})


async def put_number(request: web.Request) -> web.Response:
    carrier, tn = carrier_of(request), e164(request.match_info["tn"])
    if not (tn[:1] == "+" and tn[1:].isdecimal()):
        raise BadInput({"tn": ["must be a telephone number such as +12019920781"]})
    given = read_fields(await read_body(request), NUMBER)
    carrier.numbers[tn] = Number(tn, given["status"], given["messaging"], given["class"], given["campaign"])
    return answer(carrier.numbers[tn].as_json())


async def show_number(request: web.Request) -> web.Response:
    number = carrier_of(request).numbers.get(e164(request.match_info["tn"]))
    if number is None:
        raise Refusal(404, "not_found", "This number is not on the carrier's account.")
    return answer(number.as_json())


async def delete_number(request: web.Request) -> web.Response:
    if carrier_of(request).numbers.pop(e164(request.match_info["tn"]), None) is None:
        raise Refusal(404, "not_found", "This number is not on the carrier's account.")
    return web.Response(status=NO_CONTENT)


async def list_faults(request: web.Request) -> web.Response:
    return answer({"results": [fault.as_json() for fault in carrier_of(request).faults.rows]})


async def add_fault(request: web.Request) -> web.Response:
    order = read_fields(await read_body(request), FAULT_ORDER)
    fault = read_fields(order.pop("fault"), FAULT, prefix="fault.")
    if fault["status"] is not None and fault["status"] > 599:
        raise BadInput({"fault.status": ["must be an HTTP status"]})
    order["to"] = e164(order["to"]) if order["to"] else None
    return answer(carrier_of(request).faults.add(**order, **fault).as_json(), 201)


async def delete_fault(request: web.Request) -> web.Response:
    if not carrier_of(request).faults.remove(request.match_info["fault"]):
        raise Refusal(404, "not_found", "There is no fault with this id.")
    return web.Response(status=NO_CONTENT)


async def list_plans(request: web.Request) -> web.Response:
    return answer({"results": [plan.as_json() for plan in carrier_of(request).plans.rows()]})


async def put_plan(request: web.Request) -> web.Response:
    given = read_fields(await read_body(request), PLAN)
    given["to"] = e164(given["to"]) if given["to"] else None
    plan = Plan(**given)
    carrier_of(request).plans.put(plan)
    return answer(plan.as_json())


async def send_receipt(request: web.Request) -> web.Response:
    """Post a receipt now, whatever the plan says."""
    carrier = carrier_of(request)
    order = read_fields(await read_body(request), RECEIPT)
    messages = carrier.by_sid.get(order["sid"])
    if not messages:
        raise Refusal(404, "not_found", "The carrier took no message with this sid.")
    if not any(carrier.receipt_hook(message, order["status"]) for message in messages):
        raise Refusal(409, "no_hook", "Nobody is to be told about this message: there is no hook for it.")
    deliveries = []
    for message in messages:
        deliveries += await carrier.send_receipt(
            message, order["status"], error=order["error"], copies=order["copies"], parallel=order["parallel"]
        )
    return answer({"deliveries": deliveries})


async def send_inbound(request: web.Request) -> web.Response:
    """Post a text, or any bytes (`raw`), to the hooks of the numbers in `to` or to `url`."""
    carrier = carrier_of(request)
    order = read_fields(await read_body(request), INBOUND)
    to = [e164(tn) for tn in ([order["to"]] if isinstance(order["to"], str) else order["to"] or [])]
    how = {"sign": order["sign"], "copies": order["copies"], "parallel": order["parallel"]}
    tn = to[0] if to else None
    if order["raw"] is not None:
        body, headers = _raw(order["raw"])
        url = order["url"] or _require_hook(carrier, to)
        return answer(
            {"sid": order["sid"], "deliveries": await carrier.send_raw(url, tn, body, headers, **how)},
        )
    inbound = _inbound(carrier, order, to)
    if order["url"] is None:
        _require_hook(carrier, to)
    deliveries = await carrier.send_inbound(inbound, url=order["url"], **how)
    return answer({"sid": inbound.sid, "deliveries": deliveries})


def _inbound(carrier: Carrier, order: dict[str, Any], to: list[str]) -> Inbound:
    missing = {name: ["is required"] for name in ("from", "to") if not order[name]}
    if missing:
        raise BadInput(missing)
    files = [_media(item, index) for index, item in enumerate(order["media"])]
    return carrier.make_inbound(e164(order["from"]), to, order["text"], files, order["sid"])


def _media(item: dict[str, Any], index: int) -> Media:
    prefix = f"media.{index}."
    given = read_fields(item, MEDIA, prefix=prefix)
    return Media(given["name"], given["content_type"], _decoded(given["base64"], prefix + "base64"))


def _raw(raw: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    given = read_fields(raw, RAW, prefix="raw.")
    if not all(isinstance(value, str) for value in given["headers"].values()):
        raise BadInput({"raw.headers": ["must be an object of strings"]})
    return _decoded(given["body_base64"], "raw.body_base64"), given["headers"]


def _decoded(value: str, name: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput({name: ["must be base64"]}) from None


def _require_hook(carrier: Carrier, to: list[str]) -> str:
    """The address of the first hook set for one of the numbers."""
    hook = next(filter(None, map(carrier.hook_for, to)), None)
    if hook is None:
        raise Refusal(409, "no_hook", "No hook is set for this number; give `url` to post to an address of your own.")
    return hook.url


async def list_messages(request: web.Request) -> web.Response:
    """The texts the carrier took, oldest first, doubles visible."""
    wanted = {name: e164(request.query[name]) for name in ("to", "from") if name in request.query}
    found = [
        (n, message)
        for n, message in carrier_of(request).messages.after(after(request))
        if wanted.get("to", message.to) == message.to and wanted.get("from", message.sender) == message.sender
    ]
    return answer({"results": rows(found)})


async def list_requests(request: web.Request) -> web.Response:
    return answer({"results": rows(carrier_of(request).requests.after(after(request)))})


async def list_deliveries(request: web.Request) -> web.Response:
    found = carrier_of(request).deliveries.after(after(request))
    return answer({"results": [{"n": n, **delivery} for n, delivery in found]})


async def list_hooks(request: web.Request) -> web.Response:
    hooks = carrier_of(request).hooks()
    names = ("id", "url", "status_url", "api_key", "header_name", "header_value")
    shown = [{"tn": hook.tn and hook.tn[1:], **{name: getattr(hook, name) for name in names}} for hook in hooks]
    return answer({"results": shown})


def add_routes(router: web.UrlDispatcher) -> None:
    """Everything below `/_control/<carrier>/`."""
    base = "/_control/{carrier}/"
    for method, path, handler in [
        ("GET", "", show),
        ("PUT", "", change),
        ("GET", "numbers/", list_numbers),
        ("GET", "numbers/{tn}/", show_number),
        ("PUT", "numbers/{tn}/", put_number),
        ("DELETE", "numbers/{tn}/", delete_number),
        ("GET", "faults/", list_faults),
        ("POST", "faults/", add_fault),
        ("DELETE", "faults/{fault}/", delete_fault),
        ("GET", "receipts/", list_plans),
        ("PUT", "receipts/", put_plan),
        ("POST", "receipts/", send_receipt),
        ("POST", "inbound/", send_inbound),
        ("GET", "messages/", list_messages),
        ("GET", "requests/", list_requests),
        ("GET", "deliveries/", list_deliveries),
        ("GET", "hooks/", list_hooks),
    ]:
        router.add_route(method, base + path, handler)
