"""Alphabet and number of short messages, exactly (facts 4.3), with smsutil as a second opinion."""

from __future__ import annotations

import pytest
import smsutil
from hypothesis import given
from hypothesis import strategies as st

from cpaas.segments import GSM, GSM_BASIC, GSM_EXTENSION, SegmentCount, count_segments


def segments(text: str) -> tuple[str, int]:
    count = count_segments(text)
    return count.encoding, count.segments


def test_the_gsm_table_is_complete() -> None:
    assert len(GSM_BASIC) == 127  # 128 places, one of them the escape
    assert len(GSM_EXTENSION) == 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("gsm7", 1)),
        ("a" * 160, ("gsm7", 1)),
        ("a" * 161, ("gsm7", 2)),
        ("a" * 306, ("gsm7", 2)),
        ("a" * 307, ("gsm7", 3)),
        ("€" * 80, ("gsm7", 1)),
        ("€" * 80 + "a", ("gsm7", 2)),
        # An escape pair does not straddle: 76 pairs make 152 septets, the 153rd stays empty.
        ("€" * 152, ("gsm7", 2)),
        ("€" * 153, ("gsm7", 3)),
        ("a" * 152 + "€" + "a" * 152, ("gsm7", 3)),
        ("a" * 151 + "€" + "a" * 153, ("gsm7", 2)),
        ("я" * 70, ("ucs2", 1)),
        ("я" * 71, ("ucs2", 2)),
        ("я" * 134, ("ucs2", 2)),
        ("я" * 135, ("ucs2", 3)),
        ("😀" * 35, ("ucs2", 1)),
        ("😀" * 36, ("ucs2", 2)),
        # 33 surrogate pairs make 66 units, the 67th stays empty.
        ("😀" * 66, ("ucs2", 2)),
        ("😀" * 67, ("ucs2", 3)),
        ("я" * 66 + "😀" + "я" * 66, ("ucs2", 3)),
        ("x" * 1600, ("gsm7", 11)),
    ],
)
def test_parts_at_their_limits(text: str, expected: tuple[str, int]) -> None:
    assert segments(text) == expected


@pytest.mark.parametrize(
    "culprit", ["`", "ç", "\u00a0", "“", "’", "–", "\t", "\x1b", "é\u0301"[1], "🎉", "я", "\ud800"]
)
def test_what_is_not_gsm_is_named(culprit: str) -> None:
    assert count_segments(f"Hello {culprit} and 🎈") == SegmentCount("ucs2", 1, 13, culprit)


def test_what_is_gsm_is_not_named() -> None:
    assert count_segments("".join(sorted(GSM))) == SegmentCount("gsm7", 1, 137, None)


def test_characters_are_code_points() -> None:
    assert count_segments("👩‍👧").characters == 3
    assert count_segments("€").characters == 1


GSM_TEXT = st.text(st.sampled_from(sorted(GSM)), max_size=700) | st.text(
    st.sampled_from("a€"), min_size=140, max_size=330
)
ANY_TEXT = st.text(st.sampled_from("aя😀€`") | st.characters(exclude_characters="\x1b"), max_size=300)


@pytest.mark.fuzz
@given(text=GSM_TEXT | ANY_TEXT | st.text("я😀", min_size=30, max_size=220))
def test_smsutil_counts_the_same(text: str) -> None:
    """Leaving out what it gets wrong: it takes the escape for a character, and an empty text for UCS-2."""
    if not text:
        return
    theirs = smsutil.split(text)
    assert segments(text) == ({"gsm0338": "gsm7", "utf_16_be": "ucs2"}[theirs.encoding], len(theirs.parts))


@pytest.mark.fuzz
@given(text=ANY_TEXT)
def test_the_culprit_is_the_first_character_outside_gsm(text: str) -> None:
    count = count_segments(text)
    assert count.culprit == next((character for character in text if character not in GSM), None)
    assert (count.encoding == "gsm7") == (count.culprit is None)
    assert count.characters == len(text)
