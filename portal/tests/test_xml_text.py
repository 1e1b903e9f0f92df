"""Characters that XML has no way to write (XML 1.0 §2.2)."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.xml_text import has_illegal_characters


@pytest.mark.fuzz
@given(st.text(st.characters(codec=None), max_size=50))
def test_what_is_let_pass_a_parser_takes_and_what_is_refused_none_does(text: str) -> None:
    text = text.replace("&", "").replace("<", "")
    try:
        ET.fromstring(f"<a>{text}</a>".encode())
        taken = True
    except (ET.ParseError, UnicodeEncodeError):
        taken = False
    assert has_illegal_characters(text) != taken
