"""Texts as such a carrier has them on record, for those whose fate we do not know (R32)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

from cpaas.carriers.base import CarrierAccount, LookUp, LookUpMatch, Operation, ReceiptStatus, Refused
from cpaas.carriers.twilio_style.calls import Api, Pages, ask
from cpaas.carriers.twilio_style.errors import error_code, error_text
from cpaas.carriers.wire import as_dict, clean, message_id, party, read_time

STATUSES: Mapping[str, ReceiptStatus] = {
    "accepted": "sent",
    "scheduled": "sent",
    "queued": "sent",
    "sending": "sent",
    "sent": "sent",
    "partially_delivered": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "undelivered",
    "failed": "failed",
    "canceled": "failed",
}
FAILED = ("failed", "undelivered", "canceled")


def look_up(
    account: CarrierAccount, api: Api, path: str, query: LookUp, filters: Mapping[str, str]
) -> Operation[list[LookUpMatch]]:
    """The record of a text by its id, else those between the two numbers around the time of sending, newest first.

    `path` is the list of texts, `filters` narrow it by more than the numbers.
    """
    if query.sid:
        return (yield from _by_id(account, api, f"{path}/{quote_plus(query.sid)}.json", query))
    wanted = {"From": query.from_number, "To": query.to_number, "PageSize": "50", **filters}
    rows = yield from Pages(account, api, f"{path}.json", ("messages",), wanted).next()
    found = [match for row in rows or [] if _is_candidate(row, query) and (match := _match(row)) is not None]
    near = [match for match in found if query.earliest <= match.at <= query.latest]
    return sorted(near, key=lambda match: match.at, reverse=True)


def _by_id(account: CarrierAccount, api: Api, path: str, query: LookUp) -> Operation[list[LookUpMatch]]:
    try:
        row = as_dict((yield from ask(account, api, path)))
    except Refused as error:
        if error.code in ("404", "20404"):
            return []
        raise
    match = _match(row)
    return [match] if match is not None and match.sid == message_id(query.sid) else []


def _is_candidate(row: Mapping[str, Any], query: LookUp) -> bool:
    parties = (party(row.get("from")), party(row.get("to")))
    is_outbound = not clean(row.get("direction")).startswith(("inbound", "incoming"))
    return is_outbound and parties == (query.from_number, query.to_number)


def _match(row: Mapping[str, Any]) -> LookUpMatch | None:
    """None for a record without a readable time or id, which proves nothing."""
    at, sid = read_time(row.get("date_created")) or read_time(row.get("date_sent")), message_id(row.get("sid"))
    if at is None or not sid:
        return None
    word = clean(row.get("status")).strip().lower()
    code = error_code(clean(row.get("error_code"))) if word in FAILED else ""
    said = error_text(code, clean(row.get("error_message")))
    return LookUpMatch(at, party(row.get("to")), STATUSES.get(word), word, sid, code, said if word in FAILED else "")
