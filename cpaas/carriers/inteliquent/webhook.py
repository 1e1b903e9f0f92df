"""What Inteliquent posts to us: inbound texts and delivery receipts, at one URL and with the same headers."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
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
from cpaas.carriers.wire import as_list, clean, message_id, party, read_object

ANSWER = WebhookAnswer(200, "application/json", b'{"statusCode":"200","status":"success"}')

_STAT = re.compile(r"\bstat:\s*(\w+)", re.IGNORECASE)
_ERROR = re.compile(r"\berr:\s*(\w+)", re.IGNORECASE)
_STATUSES: Mapping[str, ReceiptStatus] = {
    "ENROUTE": "sent",
    "ACCEPTD": "sent",
    "DELIVRD": "delivered",
    "UNDELIV": "undelivered",
    "EXPIRED": "failed",
    "DELETED": "failed",
    "REJECTD": "failed",
}
_FAILURES: Mapping[str, str] = {
    "UNDELIV": "The message could not be delivered to the recipient's phone",
    "EXPIRED": "The recipient's phone could not be reached in time",
    "DELETED": "The message was deleted in the network before it was delivered",
    "REJECTD": "The recipient's network rejected the message",
}


def authenticate(key: str, request: WebhookRequest) -> str:
    """The call's messageID, when `verificationToken` is right. Raises ForbiddenWebhook.

    Integrators verify sha256(key + messageID), the API file describes an HMAC; both are accepted, in constant time.
    The token does not cover the body: the caller must refuse a known messageID with another body.
    """
    nonce = request.headers.get("messageid", "")
    token = request.headers.get("verificationtoken", "").strip().lower().encode("utf-8", "replace")
    if not (key and nonce and token):
        raise ForbiddenWebhook("The webhook call carries no verification token.")
    message = nonce.encode("utf-8", "replace")
    plain = hashlib.sha256(key.encode() + message).hexdigest().encode()
    keyed = hmac.new(key.encode(), message, hashlib.sha256).hexdigest().encode()
    if not (hmac.compare_digest(token, plain) | hmac.compare_digest(token, keyed)):
        raise ForbiddenWebhook("The verification token of the webhook call is wrong.")
    return nonce


def parse(body: bytes) -> WebhookEvent:
    """The one event of a call. Raises UnreadableWebhook without an object or message id.

    Only the flag tells a receipt from a text: a receipt whose words are unknown must never become a chat message.
    """
    data = read_object(body)
    if data is None:
        raise UnreadableWebhook("The webhook call has no JSON object.")
    sid = message_id(data.get("referenceId"))
    if not sid:
        raise UnreadableWebhook("The webhook call has no referenceId.")
    if clean(data.get("deliveryReceipt")).strip().lower() == "true" or data.get("deliveryReceipt") is True:
        return _receipt(sid, data)
    return InboundText(
        sid=sid,
        sender=party(data.get("from")),
        recipients=tuple(dict.fromkeys(filter(None, map(party, as_list(data.get("to")))))),
        text=clean(data.get("text")),
        media_urls=_media_urls(data),
    )


def _receipt(sid: str, data: Mapping[str, Any]) -> Receipt:
    text = clean(data.get("text"))
    stat = _STAT.search(text)
    word = stat[1].upper() if stat else clean(data.get("status")).strip().upper()
    error = _ERROR.search(text)
    number = error[1] if error and error[1].strip("0") else ""
    failure = _FAILURES.get(word)
    if failure is None:
        return Receipt(sid, _STATUSES.get(word), word)
    error_text = f"{failure} (carrier error {number})." if number else f"{failure}."
    return Receipt(sid, _STATUSES[word], word, number or word, error_text)


def _media_urls(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Links to the media in order, each once; the `.smil` layout part is no medium for people."""
    entries = as_list(data.get("mediaUrls")) + as_list(data.get("media"))
    urls = dict.fromkeys(_media_url(entry) for entry in entries)
    return tuple(url for url in urls if is_medium(url))


def _media_url(entry: object) -> str:
    if isinstance(entry, dict):
        entry = next((entry[name] for name in ("url", "href", "mediaUrl") if entry.get(name)), "")
    return clean(entry).strip()
