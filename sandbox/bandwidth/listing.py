"""Messages looked up: neither text nor tag is among what Bandwidth keeps of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.bandwidth.wire import Failure
from sandbox.segments import segments
from sandbox.store import Message, iso

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
FILTERS = ("messageId", "sourceTn", "destinationTn", "messageStatus", "errorCode", "fromDateTime", "toDateTime")
Data = dict[str, Any]


def message_list(account_id: str, messages: Iterable[Message], query: Mapping[str, str]) -> Data:
    """Newest first. Raises Failure when nothing narrows the search."""
    if not any(query.get(name) for name in FILTERS):
        raise Failure(400, "bad-request", "At least one search parameter must be provided.")
    since, until = _moment(query, "fromDateTime"), _moment(query, "toDateTime")
    rows = [
        _row(account_id, message)
        for message in sorted(messages, key=lambda message: message.at, reverse=True)
        if (since is None or message.at >= since) and (until is None or message.at <= until)
    ]
    for name in ("messageId", "sourceTn", "destinationTn", "messageStatus", "errorCode"):
        if query.get(name):
            rows = [row for row in rows if str(row[name]) == query[name]]
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not limit.isdecimal():
        raise Failure(400, "bad-request", "'limit' must be a number.")
    return {"totalCount": len(rows), "pageInfo": {}, "messages": rows[: min(int(limit), MAX_LIMIT)]}


def _row(account_id: str, message: Message) -> Data:
    inbound = message.direction == "inbound"
    return {
        "messageId": message.sid,
        "accountId": account_id,
        "sourceTn": message.sender,
        "destinationTn": message.to,
        "messageStatus": message.status.upper(),
        "messageDirection": "INBOUND" if inbound else "OUTBOUND",
        "messageType": message.kind,
        "segmentCount": segments(message.text),
        "errorCode": int(message.error) if message.error and message.error.isdecimal() else 0,
        "receiveTime": iso(message.at),
        "carrierName": "other",
    }


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    if not query.get(name):
        return None
    try:
        at = datetime.fromisoformat(query[name])
    except ValueError:
        raise Failure(400, "bad-request", f"'{name}' must be a date and time in ISO 8601 format.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
