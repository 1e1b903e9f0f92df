"""What Inteliquent's records say of a number and of texts sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from cpaas.carriers.base import CarrierNumber, LookUp, LookUpMatch, ReceiptStatus
from cpaas.carriers.wire import as_dict, as_list, clean, party, without_plus

_DISPOSITIONS: Mapping[str, ReceiptStatus] = {
    "enroute": "sent",
    "successful": "delivered",
    "blocked": "failed",
    "failed": "failed",
}
_TIME_FORMATS = ("%m/%d/%Y %I:%M:%S.%f %p %z", "%m/%d/%Y %I:%M:%S %p %z", "%m/%d/%Y %H:%M:%S")


def carrier_number(tn: str, item: Mapping[str, Any]) -> CarrierNumber:
    """An item of the inventory. Messaging is on exactly when it has a message type."""
    messaging = as_dict(as_dict(item.get("tnFeature")).get("messaging"))
    kinds = clean(messaging.get("messageType")).upper()
    status = clean(item.get("tnStatus"))
    return CarrierNumber(
        tn=tn,
        in_service=status.upper().replace(" ", "") in ("INSERVICE", "INSVC"),
        sms="SMS" in kinds,
        mms="MMS" in kinds,
        messaging_class=clean(messaging.get("messageClass")),
        status_word=status,
    )


def whole(value: object) -> int:
    """A count, which comes as text or as a number; 0 when it is neither."""
    text = clean(value).strip()
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0


def search(query: LookUp) -> dict[str, Any]:
    """The body of a search around the time of sending; by sender only, as the API file misspells the other field."""
    return {
        "startDate": _search_time(query.earliest),
        "endDate": _search_time(query.latest),
        "direction": "Outbound",
        "sourceTn": without_plus(query.from_number),
    }


def matches(query: LookUp, data: Mapping[str, Any]) -> list[LookUpMatch]:
    """The records that may be the text, newest first. One without a readable time proves nothing and is left out."""
    found = []
    for record in map(as_dict, as_list(data.get("messageDetails"))):
        at = _record_time(record)
        if at is None or not query.earliest <= at <= query.latest:
            continue
        parties = (party(record.get("source")), party(record.get("destination")))
        if parties == (query.from_number, query.to_number):
            word = clean(record.get("status"))
            found.append(LookUpMatch(at, query.to_number, _DISPOSITIONS.get(word.lower()), word))
    return sorted(found, key=lambda match: match.at, reverse=True)


def _search_time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _record_time(record: Mapping[str, Any]) -> datetime | None:
    """`timeStamp`, alone or after `date`; the API file gives no format, without a zone it is read as UTC."""
    date, stamp = clean(record.get("date")).strip(), clean(record.get("timeStamp")).strip()
    return _parse_time(stamp) or _parse_time(f"{date} {stamp}") or (_parse_time(date) if ":" in date else None)


def _parse_time(text: str) -> datetime | None:
    if re.fullmatch(r"[0-9]{10}|[0-9]{13}", text):
        return datetime.fromtimestamp(int(text[:10]), UTC)
    if ":" not in text:
        return None
    for read in (datetime.fromisoformat, *(_by_format(form) for form in _TIME_FORMATS)):
        try:
            at = read(text)
        except ValueError:
            continue
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return None


def _by_format(form: str) -> Callable[[str], datetime]:
    return lambda text: datetime.strptime(text, form)  # noqa: DTZ007 - the zone is added by the caller
