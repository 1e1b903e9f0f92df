"""The words by which people stop and reopen texting, and ask for help (R20, facts 4.1)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

Family = Literal["stop", "start"]

# A keyword with a row of exclamation marks behind it is still one; a longer text says something else.
_LONGEST = 160
_PUNCTUATION = re.compile(r"[^\w\s]+|_+")
_FAMILIES: dict[str, Family] = {
    "STOP": "stop",
    "STOPALL": "stop",
    "STOP ALL": "stop",
    "UNSUBSCRIBE": "stop",
    "CANCEL": "stop",
    "END": "stop",
    "QUIT": "stop",
    "REVOKE": "stop",
    "REMOVE": "stop",
    "OPTOUT": "stop",
    "OPT OUT": "stop",
    "START": "start",
    "UNSTOP": "start",
    "YES": "start",
}


@dataclass(frozen=True)
class Keyword:
    """`word` as R20 spells it. START, UNSTOP and YES mean something only while the sender has stopped; HELP and INFO
    are texts like any other."""

    family: Family
    word: str


def keyword_of(text: str) -> Keyword | None:
    """The keyword that the whole of `text` is, whatever its case, white space and punctuation; else None."""
    if len(text) > _LONGEST:
        return None
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)  # full-width letters, as some telephones write them
    word = " ".join(_PUNCTUATION.sub("", text).split()).upper()
    family = _FAMILIES.get(word)
    return Keyword(family, word) if family else None
