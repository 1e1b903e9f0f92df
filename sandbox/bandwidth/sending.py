"""Texts given to Bandwidth: what it takes, and how it refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sandbox.bandwidth.wire import invalid
from sandbox.segments import segments
from sandbox.store import Message, Number, iso

MAX_TEXT = 2048
MAX_PARTICIPANTS = 10
MAX_URL = 4096
MAX_TAG = 1024
_PARTY = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}")
_NOT_A_NUMBER = "must be replaced with a valid E164 formatted telephone number"
Data = dict[str, Any]


def read_texts(numbers: Mapping[str, Number], application_id: str, data: Data, sid: str) -> list[Message]:
    """The texts of a `POST …/messages`, one for each recipient, all with one id. Raises Failure."""
    sender, to, media = data.get("from"), data.get("to"), data.get("media") or []
    text, tag = data.get("text") or "", data.get("tag")
    if data.get("applicationId") != application_id:
        raise invalid(applicationId="is not an application of this account")
    if not isinstance(to, list) or not 1 <= len(to) <= MAX_PARTICIPANTS:
        raise invalid(to=f"must be a list of 1 to {MAX_PARTICIPANTS} numbers")
    for item in to:
        if not isinstance(item, str) or not _PARTY.fullmatch(item):
            raise invalid(to=f"'{item}' {_NOT_A_NUMBER}")
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise invalid(text=f"must be a string of at most {MAX_TEXT} characters")
    if not isinstance(media, list) or not all(isinstance(url, str) and len(url) <= MAX_URL for url in media):
        raise invalid(media=f"must be a list of addresses of at most {MAX_URL} characters")
    if not text and not media:
        raise invalid(text="text or media is required")
    if tag is not None and (not isinstance(tag, str) or len(tag) > MAX_TAG):
        raise invalid(tag=f"must be a string of at most {MAX_TAG} characters")
    number = numbers.get(sender) if isinstance(sender, str) else None
    needed = "MMS" if media else "SMS"
    if number is None or number.status == "pending" or needed not in number.messaging:
        raise invalid(**{"from": f"'{sender}' is not enabled for {needed} on this account"})
    return [Message(sid, number.tn, item, text, list(media), tag=tag, status="sending") for item in to]


def taken(messages: list[Message], application_id: str) -> Data:
    """The answer to texts that were taken."""
    first = messages[0]
    row = {
        "id": first.sid,
        "owner": first.sender,
        "applicationId": application_id,
        "time": iso(first.at),
        "segmentCount": segments(first.text),
        "direction": "out",
        "to": [message.to for message in messages],
        "from": first.sender,
        "media": first.media_urls or None,
        "text": first.text or None,
        "tag": first.tag,
    }
    return {name: value for name, value in row.items() if value is not None}
