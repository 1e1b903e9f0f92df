"""Texts given to Restcomm. It checks next to nothing, and what it changes it changes in silence."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sandbox.parties import e164
from sandbox.restcomm.wire import Failure
from sandbox.segments import GSM
from sandbox.store import Message

ENCODINGS = ("GSM", "UCS-2", "UTF-8")
# The column that holds a text.
MAX_TEXT = 999
NORMALIZED_BYTES = 160
NORMALIZED_CHARACTERS = 159
_PARTY = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}")


def read_text(form: Mapping[str, list[str]], sid: str, *, normalize: bool) -> Message:
    """The text of a `POST …/SMS/Messages`. Raises Failure.

    `normalize`: numbers must be numbers and become E.164 of the United States, and a long text is cut.
    """
    values = {name: form.get(name, [""])[-1] for name in ("From", "To", "Body", "StatusCallback")}
    for name in ("From", "To", "Body"):
        if not values[name]:
            raise Failure(400, f"{name} can not be null.")
    encoding = form.get("Encoding", ["GSM"])[-1]
    if encoding not in ENCODINGS:
        raise Failure(500, f"No enum constant Encoding.{encoding}")
    text = values["Body"]
    if normalize:
        text = _cut(text)
        for name in ("From", "To"):
            if not _PARTY.fullmatch(e164(values[name])):
                raise Failure(400, f"{values[name]} is not a phone number.")
    if len(text) > MAX_TEXT:
        raise Failure(500, "Data too long for column 'body'")
    return Message(
        sid, e164(values["From"]), e164(values["To"]), text, [], values["StatusCallback"] or None, status="sending"
    )


def as_sent(text: str, form: Mapping[str, list[str]]) -> str:
    """What goes over the air: without an encoding of its own a text loses what GSM-7 does not have."""
    if form.get("Encoding", ["GSM"])[-1] != "GSM":
        return text
    return "".join(character if character in GSM else "?" for character in text)


def _cut(text: str) -> str:
    return text[:NORMALIZED_CHARACTERS] if len(text.encode()) > NORMALIZED_BYTES else text
