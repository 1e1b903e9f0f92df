"""How a text travels over the air: alphabet and number of short messages (facts 4.3; contracts section 4).

GSM-7 holds 160 septets in one message or 153 in each part of a longer one, UCS-2 70 or 67 UTF-16 units. A character
that takes two, from the GSM extension table or as a surrogate pair, is never torn between parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = frozenset("\f^{}\\[~]|€")
GSM = GSM_BASIC | GSM_EXTENSION


@dataclass(frozen=True)
class SegmentCount:
    """`characters`: code points of the text. `culprit`: the first character that GSM-7 does not have, None in GSM-7."""

    encoding: Literal["gsm7", "ucs2"]
    segments: int
    characters: int
    culprit: str | None


def count_segments(text: str) -> SegmentCount:
    """Encoding and number of short messages of `text`; an empty text is still one message."""
    culprit = next((character for character in text if character not in GSM), None)
    if culprit is None:
        segments = _parts((2 if character in GSM_EXTENSION else 1 for character in text), single=160, part=153)
        return SegmentCount("gsm7", segments, len(text), None)
    segments = _parts((2 if character > "\uffff" else 1 for character in text), single=70, part=67)
    return SegmentCount("ucs2", segments, len(text), culprit)


def _parts(units: Iterable[int], *, single: int, part: int) -> int:
    """How many parts hold characters of these widths: one up to `single` units, else filled in turn up to `part`."""
    total, parts, used = 0, 1, 0
    for width in units:
        total += width
        if used + width > part:
            parts, used = parts + 1, 0
        used += width
    return 1 if total <= single else parts
