"""Texts given to Twilio: what it takes, and how it refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from sandbox.store import Message, Number
from sandbox.twilio.wire import Failure

MAX_TEXT = 1600
MAX_MEDIA = 10
_PARTY = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}")
Form = Mapping[str, list[str]]


def read_text(numbers: Mapping[str, Number], form: Form, sid: str) -> Message:
    """The text of a `POST …/Messages.json`. Raises Failure."""
    to, sender, text = (_last(form, name) for name in ("To", "From", "Body"))
    media = form.get("MediaUrl", [])
    if not to:
        raise Failure(400, 21604, "A 'To' phone number is required.")
    if not sender:
        raise Failure(400, 21603, "A 'From' phone number is required.")
    if not _PARTY.fullmatch(to):
        raise Failure(400, 21211, f"The 'To' number {to} is not a valid phone number.")
    if not text and not media:
        raise Failure(400, 21602, "Message body is required.")
    if len(text) > MAX_TEXT:
        raise Failure(400, 21617, f"The concatenated message body exceeds the {MAX_TEXT} character limit.")
    _check_media(media)
    if to == sender:
        raise Failure(400, 21266, "'To' and 'From' number cannot be the same.")
    _check_sender(numbers.get(sender), sender, "MMS" if media else "SMS")
    return Message(sid, sender, to, text, list(media), _last(form, "StatusCallback") or None)


def _check_media(media: list[str]) -> None:
    if len(media) > MAX_MEDIA:
        raise Failure(400, 21623, f"Number of media files exceeds allowed limit of {MAX_MEDIA}.")
    for url in media:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Failure(400, 21620, f"Invalid media URL(s): {url}")


def _check_sender(number: Number | None, sender: str, needed: str) -> None:
    if number is None or number.status == "pending" or needed not in number.messaging:
        text = (
            f"The 'From' phone number {sender} is not a valid, {needed}-capable inbound phone number for your account."
        )
        raise Failure(400, 21606, text)


def _last(form: Form, name: str) -> str:
    return form.get(name, [""])[-1]
