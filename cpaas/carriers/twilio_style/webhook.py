"""What such a carrier posts to us: inbound texts and what became of ours, as forms (facts 2.6, 2.7, 3.1)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from cpaas.carriers.base import (
    InboundText,
    Receipt,
    UnreadableWebhook,
    WebhookAnswer,
    WebhookEvent,
    WebhookRequest,
)
from cpaas.carriers.forms import read_form
from cpaas.carriers.media import is_medium
from cpaas.carriers.twilio_style.errors import OPTED_OUT, error_code, error_text
from cpaas.carriers.twilio_style.records import FAILED, STATUSES
from cpaas.carriers.wire import clean, message_id, party, read_object

# An empty document of the carrier's own language: nothing is said in reply.
ANSWER_TO_TEXT = WebhookAnswer(200, "text/xml", b"<Response/>")
ANSWER_TO_RECEIPT = WebhookAnswer(204, "text/plain", b"")

_RECEIVED = ("received", "receiving")
_MEDIUM = re.compile(r"MediaUrl([0-9]{1,3})")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)")
# Shorter ones may well be words.
_SHORTEST_BASE64 = 60


def fields_of(request: WebhookRequest) -> dict[str, str]:
    """The fields of a call, form or JSON object. Raises UnreadableWebhook."""
    if "json" not in request.content_type.lower():
        return read_form(request.body)
    data = read_object(request.body)
    if data is None:
        raise UnreadableWebhook("The webhook call has no JSON object.")
    return {clean(name): clean(value) for name, value in data.items()}


def parse(request: WebhookRequest) -> WebhookEvent:
    """The one event of a call. Raises UnreadableWebhook without a message id.

    A call is a receipt when it came to the status URL or has a status other than *received*: what says something of a
    text of ours must never become a chat message, even with words we do not know.
    """
    fields = fields_of(request)
    word = (fields.get("MessageStatus") or fields.get("SmsStatus", "")).strip()
    if is_status_url(request.url) or word.lower() not in ("", *_RECEIVED):
        return _receipt(_sid(fields, "MessageSid", "SmsSid"), word, fields)
    return InboundText(
        sid=_sid(fields, "MessageSid", "SmsSid", "SmsMessageSid"),
        sender=party(fields.get("From")),
        recipients=tuple(filter(None, [party(fields.get("To"))])),
        text=_plain(fields.get("Body", "")),
        media_urls=_media_urls(fields),
    )


def is_status_url(url: str) -> bool:
    """Whether a call came to the second of a platform's two addresses (contracts section 3)."""
    return urlsplit(url).path.endswith("/status/")


def answer(event: WebhookEvent | None) -> WebhookAnswer:
    return ANSWER_TO_RECEIPT if isinstance(event, Receipt) else ANSWER_TO_TEXT


def _sid(fields: Mapping[str, str], *names: str) -> str:
    sid = next((found for name in names if (found := message_id(fields.get(name)))), "")
    if not sid:
        raise UnreadableWebhook(f"The webhook call has no {names[0]}.")
    return sid


def _receipt(sid: str, word: str, fields: Mapping[str, str]) -> Receipt:
    status = STATUSES.get(word.lower())
    if word.lower() not in FAILED:
        return Receipt(sid, status, word)
    code = error_code(fields.get("ErrorCode", ""))
    said = error_text(code, fields.get("ErrorMessage", "")) or "The carrier could not deliver the message."
    return Receipt(sid, status, word, code or word.lower(), said, opted_out=code == OPTED_OUT)


def _media_urls(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Links to the media in order, each once; what `NumMedia` says does not matter."""
    found = {int(match[1]): fields[name].strip() for name in fields if (match := _MEDIUM.fullmatch(name))}
    return tuple(dict.fromkeys(found[n] for n in sorted(found) if is_medium(found[n])))


def _plain(text: str) -> str:
    """The text; that of a joined MMS may come in Base64, which is undone when what comes out is text."""
    packed = "".join(text.split())
    if len(packed) < _SHORTEST_BASE64 or not _BASE64.fullmatch(packed):
        return text
    try:
        plain = base64.b64decode(packed).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text
    letters = sum(character.isprintable() or character in "\r\n\t" for character in plain)
    return clean(plain) if letters == len(plain) else text
