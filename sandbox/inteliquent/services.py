"""The Services interface: inventory, messaging features, look-ups. POST with JSON, even to read."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sandbox.inteliquent.wire import SUCCESS, Failure
from sandbox.parties import e164, without_plus
from sandbox.store import Message, Number, iso

STATUS_WORDS = {"in_service": "In Service", "pending": "Pending", "pending_disconnect": "Pending Disconnect"}
STATUS_CODES = {"INSVC": "in_service", "PNDNG": "pending", "PDISC": "pending_disconnect"}
DISPOSITIONS = {"sent": "Enroute", "delivered": "Successful", "undelivered": "Failed", "failed": "Failed"}
MESSAGE_CLASSES = ("P2P", "A2PLC", "A2P8XX")
MESSAGE_TYPES = ("SMS", "MMS", "SMSMMS", "SMS_ALT", "MMS_ALT", "SMSMMS_ALT")
MAX_PAGE_SIZE = 10_000
Data = dict[str, Any]


@dataclass
class Tokens:
    """OAuth access tokens given out; they last as long as the simulator's account does."""

    given: set[str] = field(default_factory=set)

    def give(self) -> Data:
        token = secrets.token_hex(16)
        self.given.add(token)
        scope = "am_application_scope default"
        # The sample answer of the API file says this, while its text says one hour.
        return {"scope": scope, "token_type": "bearer", "expires_in": 9223372036854775807, "access_token": token}


def check_private_key(data: Data, key: str) -> None:
    if not data.get("privateKey"):
        raise Failure("408", "privateKey can not blank.")
    if data["privateKey"] != key:
        raise Failure("408", "Invalid privateKey.")


def tn_detail(numbers: dict[str, Number], data: Data) -> Data:
    searches = _at(data, "tnSearchList", "tnSearchItem")
    if not isinstance(searches, list) or not searches:
        raise Failure("414", "Fields Are Required:tnSearchItem")
    found: dict[str, Number] = {}
    for search in searches:
        found |= {number.tn: number for number in _search(numbers.values(), search)}
    page = _page(list(found.values()), data)
    return {**SUCCESS, "tnList": {"tnItem": [_detail(number) for number in page.pop("rows")]}, **page}


def tn_feature_message_list(numbers: dict[str, Number], data: Data) -> Data:
    page = _page([number for number in numbers.values() if number.messaging], data)
    rows = [
        {"tn": number.tn[2:], "messageClass": number.message_class, "messageType": number.messaging, "netNumberId": "1"}
        for number in page.pop("rows")
    ]
    return {**SUCCESS, "tnFeatureList": {"tnFeatureItem": rows}, **page}


def tn_assigned_list(numbers: dict[str, Number], data: Data) -> Data:
    if not numbers:
        raise Failure("430", "No Result Found")
    rows = [{"tn": number.tn[2:], "tnStatus": STATUS_WORDS[number.status]} for number in numbers.values()]
    return {**SUCCESS, "tnBasicList": {"tnBasicItem": rows}}


def tn_messaging(numbers: dict[str, Number], data: Data) -> Data:
    missing = [name for name in ("tn", "messageClass", "messageType") if not data.get(name)]
    if missing:
        raise Failure("414", "Fields Are Required:" + ",".join(missing))
    number = numbers.get(e164(data["tn"]))
    if number is None:
        raise Failure("430", "No Result Found")
    if data["messageClass"] not in MESSAGE_CLASSES or data["messageType"] not in MESSAGE_TYPES:
        raise Failure("409", "Invalid Input Parameters")
    removed = data.get("removeMessaging") == "Y"
    if number.campaign and (removed or data["messageClass"] != number.message_class):
        raise Failure("425", "Cannot update message class on TN with campaign")
    number.message_class = data["messageClass"]
    number.messaging = "" if removed else data["messageType"]
    return dict(SUCCESS)


def tn_messaging_campaign_list(numbers: dict[str, Number], data: Data) -> Data:
    rows = [{"tn": row.tn[2:], "msgCampaignId": row.campaign} for row in numbers.values() if row.campaign]
    return {**SUCCESS, "tnMessageCampaignList": {"tnMessageCampaignItem": rows}}


def message_detail_search(numbers: dict[str, Number], messages: Iterable[Message], data: Data) -> Data:
    """Records of texts taken; they hold no message id, and inbound texts are not among them."""
    start, end = _date(data, "startDate"), _date(data, "endDate")
    source = e164(data["sourceTn"]) if data.get("sourceTn") else None
    kind, wanted = data.get("messageType"), data.get("disposition")
    rows = []
    for message in messages if data.get("direction") != "Inbound" else ():
        if (source and message.sender != source) or not start <= message.at <= end:
            continue
        row = _record(message, numbers.get(message.sender))
        if (not kind or row["messageType"] == kind) and (not wanted or row["status"] == wanted):
            rows.append(row)
    return {**SUCCESS, "messageDetails": rows}


def _search(numbers: Iterable[Number], search: Any) -> Iterable[Number]:
    mask = search.get("tnMask") if isinstance(search, dict) else None
    if not isinstance(mask, str) or not re.fullmatch(r"[0-9xX]{10}", mask):
        raise Failure("409", "Invalid Input Parameters:tnMask")
    pattern = re.compile(re.sub("[xX]", "[0-9]", mask))
    status = STATUS_CODES.get(search.get("tnStatus", ""))
    return [row for row in numbers if pattern.fullmatch(row.tn[2:]) and (status is None or row.status == status)]


def _detail(number: Number) -> Data:
    messaging = {"messageClass": number.message_class, "messageType": number.messaging, "netNumberId": "1"}
    return {
        "tn": number.tn[2:],
        "trunkGroup": "SANDBOX_1",
        "endUser": {},
        "tnFeature": {
            "callerId": {"cnamDip": "N"},
            "directoryListing": {},
            "e911": {},
            "messaging": messaging if number.messaging else {},
        },
        "tnStatus": STATUS_WORDS[number.status],
        "allowMsg": "Y",
        "countryCode": "1",
        "tnNote": "",
    }


def _page(rows: list[Number], data: Data) -> Data:
    """The page asked for under `rows`, with the counts beside it. Nothing at all is code 430."""
    sort = data.get("pageSort") or {}
    if not isinstance(sort, dict):
        raise Failure("409", "Invalid Input Parameters:pageSort")
    page, size = sort.get("page", 1), sort.get("size", MAX_PAGE_SIZE)
    if not (type(page) is int and type(size) is int and page >= 1 and size >= 1):
        raise Failure("409", "Invalid Input Parameters:pageSort")
    if size > MAX_PAGE_SIZE:
        raise Failure("417", "Size must be less than or equal to 10000")
    chosen = rows[(page - 1) * size : page * size]
    if not chosen:
        raise Failure("430", "No Result Found")
    return {
        "rows": chosen,
        "page": str(page),
        "totalPages": str(-(-len(rows) // size)),
        "totalItems": str(len(rows)),
        "searchId": uuid.uuid4().hex,
    }


def _record(message: Message, number: Number | None) -> Data:
    disposition = DISPOSITIONS.get(message.status, "Unknown")
    return {
        "operator": "Sandbox",
        "country": "United States of America",
        "region": "North America",
        "date": message.at.date().isoformat(),
        "timeStamp": iso(message.at),
        "gateWay": "Chicago",
        "direction": "Outbound",
        "messageClass": number.message_class if number else "P2P",
        "messageType": message.kind.upper(),
        "source": without_plus(message.sender),
        "destination": without_plus(message.to),
        "status": disposition,
        "statusCode": "8" if disposition in ("Failed", "Blocked") else "0",
    }


def _date(data: Data, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(str(data[name]))
    except KeyError:
        raise Failure("414", f"Fields Are Required:{name}") from None
    except ValueError:
        raise Failure("409", f"Invalid Input Parameters:{name}") from None
    if at.tzinfo is None:
        raise Failure("409", f"Invalid Input Parameters:{name}")
    return at


def _at(data: Any, *names: str) -> Any:
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data
