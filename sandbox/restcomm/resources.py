"""The account, its numbers, messages and notifications as Restcomm shows them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.delivery import Delivery
from sandbox.incoming_numbers import IncomingNumbers, pn_sid
from sandbox.restcomm.wire import API_VERSION, ERRORS, SERVER_ZONE, Failure, iso8601, rfc822
from sandbox.store import Message, Number, now

Data = dict[str, Any]
DEFAULT_PAGE_SIZE = 50
CONTENT_TYPE_ERROR = 12300


def account(sid: str, email: str, token: str) -> Data:
    return {
        "sid": sid,
        "friendly_name": "Sandbox",
        "email_address": email,
        "type": "Full",
        "status": "active",
        "auth_token": token,
        "role": "Administrator",
        "date_created": rfc822(now()),
        "date_updated": rfc822(now()),
        "uri": f"/{API_VERSION}/Accounts/{sid}",
    }


def number_row(account_sid: str, number: Number, written: IncomingNumbers) -> Data:
    """Members without a value are there, as null."""
    sid = pn_sid(number.tn)
    works = number.status != "pending"
    row = {name: written.value(number.tn, name) for name in ("sms_url", "sms_fallback_url", "sms_application_sid")}
    nulls = (
        *("voice_url", "voice_method", "voice_fallback_url", "voice_fallback_method", "voice_application_sid"),
        *("status_callback", "status_callback_method", "ussd_url", "ussd_method", "ussd_application_sid"),
        *("refer_url", "refer_method", "refer_application_sid"),
    )
    return {
        "sid": sid,
        "account_sid": account_sid,
        "friendly_name": written.value(number.tn, "friendly_name") or number.tn,
        "phone_number": number.tn,
        **dict.fromkeys(nulls),
        **row,
        "sms_method": written.value(number.tn, "sms_method") or "POST",
        "sms_fallback_method": written.value(number.tn, "sms_fallback_method"),
        "capabilities": {
            "voice_capable": True,
            "sms_capable": works and "SMS" in number.messaging,
            "mms_capable": False,
            "fax_capable": False,
        },
        "date_created": rfc822(now()),
        "date_updated": rfc822(now()),
        "api_version": API_VERSION,
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/IncomingPhoneNumbers/{sid}",
    }


def matching_numbers(numbers: Iterable[Number], query: Mapping[str, str]) -> list[Number]:
    """The database's LIKE '%value%': a part of a number finds it."""
    return [number for number in numbers if query.get("PhoneNumber", "") in number.tn]


def message_row(account_sid: str, message: Message) -> Data:
    """Members without a value are left out."""
    name_and_text = ERRORS.get(message.error or "")
    row = {
        "sid": message.sid,
        "date_created": rfc822(message.at),
        "date_updated": rfc822(message.at),
        "date_sent": None if message.status == "sending" else iso8601(message.at),
        "account_sid": account_sid,
        "from": message.sender,
        "to": message.to,
        "body": message.text,
        "status": message.status,
        "direction": message.direction,
        "error_code": int(message.error or "0") if name_and_text else None,
        "error_message": name_and_text[1] if name_and_text else None,
        "price": "0.00",
        "price_unit": "USD",
        "api_version": API_VERSION,
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/SMS/Messages/{message.sid}",
    }
    return {name: value for name, value in row.items() if value is not None}


def matching_messages(messages: Iterable[Message], query: Mapping[str, str]) -> list[Message]:
    """Oldest first, `SortBy=DateCreated:desc` turns them round. Days are those of the server's zone."""
    found = [
        message
        for message in messages
        if query.get("From", "") in message.sender
        and query.get("To", "") in message.to
        and query.get("Body", "") in message.text
        and query.get("Status", message.status) == message.status
        and query.get("StartTime", "") <= f"{message.at.astimezone(SERVER_ZONE):%Y-%m-%d}"
        and f"{message.at.astimezone(SERVER_ZONE):%Y-%m-%d}" <= query.get("EndTime", "9999")
    ]
    newest_first = query.get("SortBy", "").lower() == "datecreated:desc"
    return sorted(found, key=lambda message: message.at, reverse=newest_first)


def notification(account_sid: str, delivery: Delivery) -> Data:
    """What is filed when an answer to an inbound text was no XML."""
    sid = "NO" + uuid.uuid4().hex
    return {
        "sid": sid,
        "date_created": rfc822(now()),
        "account_sid": account_sid,
        "api_version": API_VERSION,
        "log": 0,
        "error_code": CONTENT_TYPE_ERROR,
        "message_text": "Invalid content type: " + delivery["headers"].get("Content-Type", "none"),
        "message_date": rfc822(now()),
        "request_url": delivery["url"],
        "request_method": "POST",
        "request_variables": delivery["request"]["body"],
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/Notifications/{sid}",
    }


def page(name: str, rows: list[Data], uri: str, query: Mapping[str, str]) -> Data:
    """A page of a list. Pages that are not there are the word "null"."""
    number, size = _whole(query, "Page", 0), _whole(query, "PageSize", DEFAULT_PAGE_SIZE) or DEFAULT_PAGE_SIZE
    last = len(rows) // size
    if number > last:
        raise Failure(400)
    chosen = rows[number * size : (number + 1) * size]

    def place(of: int) -> str:
        return f"{uri}?Page={of}&PageSize={size}" if 0 <= of <= last else "null"

    return {
        "page": number,
        "num_pages": last,
        "page_size": size,
        "total": len(rows),
        "start": str(number * size),
        "end": str(number * size + len(chosen)),
        "uri": uri,
        "first_page_uri": place(0),
        "previous_page_uri": place(number - 1),
        "next_page_uri": place(number + 1),
        "last_page_uri": place(last),
        name: chosen,
    }


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name, str(default))
    if not value.isdecimal():
        raise Failure(400)
    return int(value)
