"""The account, its numbers and its messages as Twilio shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.incoming_numbers import IncomingNumbers, pn_sid
from sandbox.segments import segments
from sandbox.store import Message, Number, now
from sandbox.twilio.wire import API_VERSION, Failure, rfc2822

Data = dict[str, Any]
DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
_PATTERN = re.compile(r"[0-9*+]+")


def account(sid: str, token: str, status: str) -> Data:
    base = f"/{API_VERSION}/Accounts/{sid}"
    return {
        "sid": sid,
        "owner_account_sid": sid,
        "friendly_name": "Sandbox",
        "status": status,
        "type": "Full",
        "auth_token": token,
        "date_created": rfc2822(now()),
        "date_updated": rfc2822(now()),
        "subresource_uris": {"messages": f"{base}/Messages.json"},
        "uri": f"{base}.json",
    }


def number_row(account_sid: str, number: Number, written: IncomingNumbers) -> Data:
    sid = pn_sid(number.tn)
    works = number.status != "pending"
    names = ("sms_url", "sms_fallback_url", "sms_application_sid", "status_callback", "voice_url")
    return {
        "sid": sid,
        "account_sid": account_sid,
        "phone_number": number.tn,
        "friendly_name": written.value(number.tn, "friendly_name") or number.tn,
        "capabilities": {
            "fax": False,
            "voice": True,
            "sms": works and "SMS" in number.messaging,
            "mms": works and "MMS" in number.messaging,
        },
        "status": "in-use" if works else "pending",
        **{name: written.value(number.tn, name) or "" for name in names},
        "sms_method": written.value(number.tn, "sms_method") or "POST",
        "sms_fallback_method": written.value(number.tn, "sms_fallback_method") or "POST",
        "api_version": API_VERSION,
        "date_created": rfc2822(now()),
        "date_updated": rfc2822(now()),
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/IncomingPhoneNumbers/{sid}.json",
    }


def matching_numbers(numbers: Iterable[Number], query: Mapping[str, str]) -> list[Number]:
    """Part of a number finds it too; `*` is any digit."""
    wanted = query.get("PhoneNumber", "")
    if wanted and not _PATTERN.fullmatch(wanted):
        return []
    pattern = re.compile(re.escape(wanted).replace(r"\*", "[0-9]"))
    return [number for number in numbers if pattern.search(number.tn)]


def message_row(account_sid: str, message: Message, status: str | None = None) -> Data:
    """`status`: another word than the one it has by now."""
    uri = f"/{API_VERSION}/Accounts/{account_sid}/Messages/{message.sid}"
    return {
        "sid": message.sid,
        "account_sid": account_sid,
        "messaging_service_sid": None,
        "api_version": API_VERSION,
        "direction": message.direction,
        "from": message.sender,
        "to": message.to,
        "body": message.text,
        "num_segments": str(segments(message.text)),
        "num_media": str(len(message.media_urls)),
        "status": status or message.status,
        "error_code": int(message.error) if message.error and message.error.isdecimal() else None,
        "error_message": None,
        "price": None,
        "price_unit": "USD",
        "date_created": rfc2822(message.at),
        "date_sent": None if status == "queued" else rfc2822(message.at),
        "date_updated": rfc2822(message.at),
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "uri": f"{uri}.json",
    }


def matching_messages(messages: Iterable[Message], query: Mapping[str, str]) -> list[Message]:
    """Newest first. `DateSent`, `DateSent>=` and `DateSent<=` are days or moments in UTC."""
    found = [
        message
        for message in messages
        if query.get("To", message.to) == message.to
        and query.get("From", message.sender) == message.sender
        and _in_time(message, query)
    ]
    return sorted(found, key=lambda message: message.at, reverse=True)


def _in_time(message: Message, query: Mapping[str, str]) -> bool:
    # `DateSent>=2026-11-26` reaches the server as the name `DateSent>` with a value.
    at = message.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    exact, since, until = query.get("DateSent", ""), query.get("DateSent>", ""), query.get("DateSent<", "")
    return at.startswith(exact) and at[: len(since)] >= since and at[: len(until)] <= until


def page(name: str, rows: list[Data], uri: str, query: Mapping[str, str]) -> Data:
    number, size = _whole(query, "Page", 0), _whole(query, "PageSize", DEFAULT_PAGE_SIZE)
    size = min(max(size, 1), MAX_PAGE_SIZE)
    chosen = rows[number * size : (number + 1) * size]
    more = len(rows) > (number + 1) * size
    return {
        name: chosen,
        "page": number,
        "page_size": size,
        "start": number * size,
        "end": number * size + max(len(chosen) - 1, 0),
        "uri": f"{uri}?PageSize={size}&Page={number}",
        "first_page_uri": f"{uri}?PageSize={size}&Page=0",
        "previous_page_uri": f"{uri}?PageSize={size}&Page={number - 1}" if number else None,
        "next_page_uri": f"{uri}?PageSize={size}&Page={number + 1}" if more else None,
    }


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name, str(default))
    if not value.isdecimal():
        raise Failure(400, 20001, f"Invalid {name}")
    return int(value)
