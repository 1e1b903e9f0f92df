"""The Message Broker: hooks and keys, and sending. POST with JSON and an outbound key as bearer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from sandbox.inteliquent.authorizations import Authorizations
from sandbox.inteliquent.wire import BROKER_SUCCESS, Failure
from sandbox.parties import as_dialled, without_plus
from sandbox.store import Hook, Message, Number

Data = dict[str, Any]
_PARTY = re.compile(r"[0-9]{3,15}")


def select_authorization(table: Authorizations, tn_digits: int) -> Data:
    rows: list[Data] = [
        {"authId": int(row_id), "inboundAuth": False, "apiKey": key} for row_id, key in table.outbound.items()
    ]
    rows += [_row(hook, tn_digits) for hook in table.hooks.values()]
    rows.sort(key=lambda row: int(row["authId"]))
    return {**BROKER_SUCCESS, "authConfig": {"authorizations": rows}}


def configure_authorization(table: Authorizations, numbers: dict[str, Number], data: Data) -> Data:
    """Adds a row for each item, whatever stands there already; nothing is added when one of them is wrong."""
    items = [_checked_item(item, numbers) for item in _items(data)]
    added = [table.add(**item) for item in items]
    rows = [_row(replace(hook, api_key=None), 11) for hook in added]
    return {**BROKER_SUCCESS, "authConfig": {"authorizations": rows}}


def remove_authorization(table: Authorizations, data: Data) -> Data:
    """Removes rows by id, outbound keys like hooks."""
    ids = [str(item.get("authId", "")) for item in _items(data)]
    unknown = [auth_id for auth_id in ids if not table.knows(auth_id)]
    if unknown:
        raise Failure("408", f"authId {unknown[0]} does not exist")
    for auth_id in ids:
        table.remove(auth_id)
    return dict(BROKER_SUCCESS)


def read_text(numbers: dict[str, Number], data: Data, sid: str) -> list[Message]:
    """The texts of a `publishMessages`, one for each recipient, all with the same id. Raises Failure."""
    sender, to, text = data.get("from"), data.get("to"), data.get("text", "")
    media = data.get("mediaUrls") or []
    if not isinstance(sender, str) or not re.fullmatch(r"1[0-9]{10}", sender):
        raise Failure("408", "from must be a telephone number of 11 digits")
    if not isinstance(to, list) or not to or not all(isinstance(item, str) and _PARTY.fullmatch(item) for item in to):
        raise Failure("408", "to must be a list of telephone numbers with country code, digits only")
    if not isinstance(text, str):
        raise Failure("408", "text must be a string")
    if not isinstance(media, list) or not all(isinstance(item, str) for item in media):
        raise Failure("408", "mediaUrls must be a list of addresses")
    if not text and not media:
        raise Failure("408", "text or mediaUrls is required")
    _check_sender(numbers.get("+" + sender), sender, needed="MMS" if media else "SMS")
    return [Message(sid, "+" + sender, as_dialled(item), text, list(media)) for item in to]


def sent_answer(messages: list[Message], data: Data) -> Data:
    result = {
        "referenceId": messages[0].sid,
        "from": data["from"],
        "text": messages[0].text,
        "mediaUrls": messages[0].media_urls,
        "messageType": messages[0].kind.upper(),
        "resultResponses": [{"to": item, "status": "SUCCESS"} for item in data["to"]],
    }
    return {**BROKER_SUCCESS, "result": result}


def _check_sender(number: Number | None, sender: str, needed: str) -> None:
    if number is None:
        raise Failure("408", f"TN {sender} is not assigned to your account")
    if number.status == "pending" or needed not in number.messaging:
        raise Failure("408", f"TN {sender} has no active {needed} messaging service")


def _items(data: Data) -> list[Data]:
    items = data.get("authorizations")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise Failure("408", "authorizations is required")
    return items


def _checked_item(item: Data, numbers: dict[str, Number]) -> Data:
    tn, url = item.get("tn"), item.get("webhookUrl")
    if item.get("inboundAuth") is not True:
        raise Failure("408", "inboundAuth must be true")
    if not isinstance(url, str) or not url:
        raise Failure("408", "webhookUrl is required")
    if tn is not None and (not isinstance(tn, str) or not re.fullmatch(r"1[0-9]{10}", tn)):
        raise Failure("408", "tn must have 11 digits")
    if tn is not None and "+" + tn not in numbers:
        raise Failure("408", f"TN {tn} is not assigned to your account")
    texts = {name: item.get(name) for name in ("apiKey", "headerName", "headerValue")}
    for name, value in texts.items():
        if value is not None and (not isinstance(value, str) or re.search(r"[\x00-\x1f\x7f]", value)):
            raise Failure("408", f"{name} must be a string without control characters")
    return {
        "tn": tn and "+" + tn,
        "url": url,
        "api_key": texts["apiKey"] or None,
        "header_name": texts["headerName"] or None,
        "header_value": texts["headerValue"] or None,
    }


def _row(hook: Hook, tn_digits: int) -> Data:
    row = {
        "authId": int(hook.id),
        "inboundAuth": True,
        "webhookUrl": hook.url,
        "tn": hook.tn and without_plus(hook.tn)[-tn_digits:],
        "apiKey": hook.api_key,
        "headerName": hook.header_name,
        "headerValue": hook.header_value,
    }
    return {name: value for name, value in row.items() if value is not None}
