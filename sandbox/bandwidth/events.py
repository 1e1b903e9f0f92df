"""The events that Bandwidth posts, always as a list of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sandbox.calls import Inbound
from sandbox.parties import without_plus
from sandbox.segments import segments
from sandbox.store import Message, iso, now

Party = Callable[[str], str | int]
TYPES = {
    "sent": "message-sending",
    "delivered": "message-delivered",
    "undelivered": "message-failed",
    "failed": "message-failed",
}
DESCRIPTIONS = {
    "message-sending": "Message is sending to carrier",
    "message-delivered": "Message delivered to carrier.",
    "message-failed": "rejected-by-carrier",
}
# Codes of failures that nobody named: a receipt that never came, a destination that refused.
USUAL_ERRORS = {"undelivered": 9902, "failed": 4750}


def event_type(word: str) -> str:
    """Words of its own stay as they are, `read` is `message-read`."""
    return TYPES.get(word) or (word if word.startswith("message-") else f"message-{word}")


def as_int(number: str) -> str | int:
    """A number as a JSON number, which no carrier should send and some have sent."""
    digits = without_plus(number)
    return int(digits) if digits.isdecimal() else number


def received(inbound: Inbound, application_id: str, party: Party) -> bytes:
    own = inbound.own or inbound.to[0]
    message: dict[str, Any] = {
        "id": inbound.sid,
        "owner": party(own),
        "applicationId": application_id,
        "time": iso(now()),
        "segmentCount": segments(inbound.text),
        "direction": "in",
        "to": [party(tn) for tn in inbound.to],
        "from": party(inbound.sender),
    }
    if inbound.text or not inbound.media_urls:
        message["text"] = inbound.text
    if inbound.media_urls:
        message["media"] = inbound.media_urls
    return _event("message-received", without_plus(own), "Incoming message received", message)


def status(message: Message, recipients: list[str], application_id: str, word: str, error: str | None) -> bytes:
    kind = event_type(word)
    data: dict[str, Any] = {
        "id": message.sid,
        "owner": message.sender,
        "applicationId": application_id,
        "time": iso(message.at),
        "segmentCount": segments(message.text),
        "direction": "out",
        "to": recipients,
        "from": message.sender,
        "text": "",
    }
    if message.media_urls:
        data["media"] = message.media_urls
    if message.tag is not None:
        data["tag"] = message.tag
    more: dict[str, Any] = {}
    if kind == "message-failed":
        more["errorCode"] = int(error) if error and error.isdecimal() else USUAL_ERRORS.get(word, 9999)
    return _event(kind, message.to, DESCRIPTIONS.get(kind, word), data, **more)


def _event(kind: str, to: str, description: str, message: dict[str, Any], **more: Any) -> bytes:
    event = {"time": iso(now()), "type": kind, "to": to, "description": description, "message": message, **more}
    return json.dumps([event]).encode()
