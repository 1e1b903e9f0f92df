"""Which texts are STOP, START or neither (R20, facts 4.1)."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpaas.keywords import keyword_of

STOP_WORDS = [
    "STOP",
    "STOPALL",
    "STOP ALL",
    "UNSUBSCRIBE",
    "CANCEL",
    "END",
    "QUIT",
    "REVOKE",
    "REMOVE",
    "OPTOUT",
    "OPT OUT",
]
START_WORDS = ["START", "UNSTOP", "YES"]
MARKS = st.text(alphabet=string.punctuation + "…—“”¡ \t\n\u200b\ufe0f👍", max_size=20)

pytestmark = pytest.mark.core


@pytest.mark.parametrize("word", STOP_WORDS + START_WORDS)
def test_r20_each_keyword_in_any_case(word) -> None:
    for text in (word, word.lower(), word.title(), f"  {word}\n", f"{word}!!!", f'"{word}".'):
        found = keyword_of(text)
        assert found is not None, text
        assert (found.word, found.family) == (word, "stop" if word in STOP_WORDS else "start")


@given(word=st.sampled_from(STOP_WORDS + START_WORDS), before=MARKS, after=MARKS)
def test_r20_punctuation_and_white_space_around_it_are_ignored(word, before, after) -> None:
    found = keyword_of(f"{before}{word}{after}")
    assert found is not None
    assert found.word == word


@given(word=st.sampled_from(STOP_WORDS + START_WORDS), more=st.text(alphabet=string.ascii_letters, min_size=1))
def test_r20_only_the_whole_text_counts(word, more) -> None:
    assert keyword_of(f"{word} {more}") is None or f"{word} {more}".upper() in STOP_WORDS
    assert keyword_of(f"{more} {word}") is None or f"{more} {word}".upper() in STOP_WORDS


@given(st.text(max_size=400))
def test_r20_any_text_is_read_without_an_error(text) -> None:
    found = keyword_of(text)
    assert found is None or found.word in STOP_WORDS + START_WORDS


@pytest.mark.parametrize(
    "text", ["", "   ", "?!", "HELP", "INFO", "please stop", "no", "stop it", "OPT", "STO P", "x" * 9999]
)
def test_r20_other_texts_are_no_keyword(text) -> None:
    assert keyword_of(text) is None


@pytest.mark.parametrize(
    ("text", "word"), [("Opt-out", "OPTOUT"), ("ＳＴＯＰ", "STOP"), ("s.t.o.p", "STOP"), ("STOP 🙏", "STOP")]
)
def test_r20_as_telephones_write_it(text, word) -> None:
    found = keyword_of(text)
    assert found is not None
    assert found.word == word
