"""What the simulated carriers count, beside a library that counts the same, and the XML they read and write."""

from __future__ import annotations

import pytest
import smsutil
from hypothesis import given
from hypothesis import strategies as st

from sandbox.segments import GSM, is_gsm, segments
from sandbox.xml import as_xml, read_xml

GSM_TEXTS = st.text(st.sampled_from(sorted(GSM)), min_size=1, max_size=700)
ANY_TEXTS = st.text(st.sampled_from("aé€{\n😀ŵ\u00a0"), min_size=1, max_size=300)
NAMES = st.sampled_from(["AppName", "UserId", "Password"])
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0xD7FF), min_size=1, max_size=20)


@pytest.mark.fuzz
@given(st.one_of(GSM_TEXTS, ANY_TEXTS))
def test_parts_are_those_of_smsutil(text: str) -> None:
    split = smsutil.split(text)
    assert segments(text) == len(split.parts)
    assert is_gsm(text) == (split.encoding == "gsm0338")


@pytest.mark.fuzz
@given(st.dictionaries(NAMES, st.one_of(WORDS, st.dictionaries(NAMES, WORDS, min_size=1)), min_size=1))
def test_what_is_written_as_xml_is_read_again(data: dict) -> None:
    assert read_xml(as_xml("Application", data).encode()) == ("Application", data)
