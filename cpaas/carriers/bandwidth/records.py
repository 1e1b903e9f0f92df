"""Texts as Bandwidth has them on record; neither their words nor our reference is kept there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cpaas.carriers.base import LookUp, LookUpMatch, ReceiptStatus
from cpaas.carriers.wire import as_dict, as_list, clean, message_id, party, read_time

_STATUSES: Mapping[str, ReceiptStatus] = {
    "QUEUED": "sent",
    "ACCEPTED": "sent",
    "SENDING": "sent",
    "SENT": "sent",
    "DELIVERED": "delivered",
    "UNDELIVERED": "undelivered",
    "FAILED": "failed",
}


def search(query: LookUp) -> dict[str, str]:
    if query.sid:
        return {"messageId": query.sid}
    return {
        "sourceTn": query.from_number,
        "destinationTn": query.to_number,
        "fromDateTime": _time(query.earliest),
        "toDateTime": _time(query.latest),
    }


def matches(query: LookUp, data: Any) -> list[LookUpMatch]:
    """The records that may be the text, newest first."""
    found = [_match(row) for row in map(as_dict, as_list(as_dict(data).get("messages"))) if _is_candidate(row, query)]
    return sorted((match for match in found if match is not None), key=lambda match: match.at, reverse=True)


def _is_candidate(row: Mapping[str, Any], query: LookUp) -> bool:
    if clean(row.get("messageDirection")).upper() == "INBOUND":
        return False
    if query.sid:
        return message_id(row.get("messageId")) == query.sid
    return (party(row.get("sourceTn")), party(row.get("destinationTn"))) == (query.from_number, query.to_number)


def _match(row: Mapping[str, Any]) -> LookUpMatch | None:
    at, sid = read_time(row.get("receiveTime")), message_id(row.get("messageId"))
    if at is None or not sid:
        return None
    word, code = clean(row.get("messageStatus")).strip(), clean(row.get("errorCode")).strip()
    status = _STATUSES.get(word.upper())
    failed = status in ("failed", "undelivered") and code not in ("", "0")
    text = f"The message could not be delivered (carrier error {code})." if failed else ""
    return LookUpMatch(at, party(row.get("destinationTn")), status, word, sid, code if failed else "", text)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
