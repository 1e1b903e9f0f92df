"""What Bandwidth posts to us: arrays of events, with a name and password we gave it (facts 3.2)."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cpaas.carriers.base import (
    ForbiddenWebhook,
    InboundText,
    Receipt,
    ReceiptStatus,
    UnreadableWebhook,
    WebhookAnswer,
    WebhookEvent,
    WebhookRequest,
)
from cpaas.carriers.media import is_medium
from cpaas.carriers.wire import as_dict, as_list, clean, message_id, party, read_json, says_opted_out

ANSWER = WebhookAnswer(204, "text/plain", b"")

_RECEIVED = "message-received"
_STATUSES: Mapping[str, ReceiptStatus] = {
    "message-sending": "sent",
    "message-sent": "sent",
    "message-delivered": "delivered",
    "message-read": "delivered",
    "message-failed": "failed",
}
# `destination-rejected-due-to-user-opt-out`, found by Bandwidth and by the carrier after it.
_OPT_OUTS = frozenset({"4475", "4775"})


def authenticate(user: str, password: str, request: WebhookRequest) -> None:
    """Raises ForbiddenWebhook unless the call carries this name and password."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        given = b""
    right = f"{user}:{password}".encode()
    if not (user and password and scheme.lower() == "basic" and hmac.compare_digest(given, right)):
        raise ForbiddenWebhook("The webhook call carries no or a wrong name and password.")


def separate(request: WebhookRequest) -> list[WebhookRequest]:
    """The events of a call that have an id, each in an array of its own; a call of one as it came."""
    rows = as_list(read_json(request.body))
    if len(rows) < 2:
        return [request]
    known = [row for row in map(as_dict, rows) if _event(row) is not None]
    return [replace(request, body=json.dumps([row]).encode()) for row in known] or [request]


def parse(body: bytes) -> list[WebhookEvent]:
    """The events of a call that have an id. Raises UnreadableWebhook when none has."""
    events = [event for row in as_list(read_json(body)) if (event := _event(as_dict(row))) is not None]
    if not events:
        raise UnreadableWebhook("The webhook call has no event with a message id.")
    return events


def _event(row: Mapping[str, Any]) -> WebhookEvent | None:
    """Only the type tells a text from a receipt: one we do not know must never become a chat message."""
    message, kind = as_dict(row.get("message")), clean(row.get("type")).strip()
    sid = message_id(message.get("id"))
    if not sid:
        return None
    return _text(sid, row, message) if kind == _RECEIVED else _receipt(sid, kind, row, message)


def _text(sid: str, row: Mapping[str, Any], message: Mapping[str, Any]) -> InboundText:
    """To its owner alone: of a group text each of our numbers gets an event of its own."""
    own = party(message.get("owner")) or party(row.get("to"))
    urls = dict.fromkeys(clean(url).strip() for url in as_list(message.get("media")))
    return InboundText(
        sid=sid,
        sender=party(message.get("from")),
        recipients=(own,) if own else (),
        text=clean(message.get("text")),
        media_urls=tuple(url for url in urls if is_medium(url)),
    )


def _receipt(sid: str, kind: str, row: Mapping[str, Any], message: Mapping[str, Any]) -> Receipt:
    status, reference = _STATUSES.get(kind), clean(message.get("tag")).strip()
    if status != "failed":
        return Receipt(sid, status, kind, reference=reference)
    code, said = clean(row.get("errorCode")).strip(), clean(row.get("description")).strip().rstrip(".")
    opted_out = code in _OPT_OUTS or says_opted_out(said)
    text = "The recipient has opted out of texts from this number" if opted_out else said
    text = f"{text or 'The message could not be delivered'}{f' (carrier error {code})' if code else ''}."
    return Receipt(sid, status, kind, code or "failed", text, opted_out=opted_out, reference=reference)
