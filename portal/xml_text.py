"""What XML has no way to write: whatever is passed on in a stanza or a document must hold none of it."""

from __future__ import annotations

import re

from portal.problems import Problem

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def has_illegal_characters(text: str) -> bool:
    """Whether XML has no way to write it: control characters, lone surrogates (XML 1.0 §2.2)."""
    return bool(_ILLEGAL.search(text))


def without_illegal_characters(text: str) -> str:
    """With U+FFFD for each of these."""
    return _ILLEGAL.sub("\ufffd", text)


def require_legal(text: str, field: str) -> None:
    """A server ends the session of who sends such a character. Raises Problem `illegal_characters` (400)."""
    if has_illegal_characters(text):
        raise Problem(
            "illegal_characters",
            "The text has control characters or broken ones, which cannot be sent. Remove them.",
            status=400,
            errors={field: ["This holds characters that cannot be sent."]},
        )
