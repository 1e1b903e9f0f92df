"""Files of bulk imports: whatever spreadsheets and people make of them is read, or refused at its line."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cpaas.models import NumberImportLine
from cpaas.services.import_files import COLUMNS, MOST_LINES, read_lines
from portal.problems import Problem

HEAD = "number,login,friendly_name,mms,can_block,platform\n"
GOOD = {
    "number": "2019920760",
    "login": "ann@acme.example",
    "friendly_name": "Ann",
    "mms": "on",
    "can_block": "inherit",
    "platform": "Main",
}
ROW = "2019920760,ann@acme.example,Ann,ON,,Main\n"


@pytest.mark.parametrize(
    "raw",
    [
        (HEAD + ROW).encode(),
        (HEAD + ROW).encode("utf-8-sig"),
        (HEAD + ROW).encode("utf-16"),
        (HEAD + ROW).replace(",", ";").encode(),
        (HEAD + ROW).replace(",", "\t").encode(),
        (HEAD + ROW).replace("\n", "\r\n").encode(),
        (HEAD + "\n\n" + ROW).encode(),
        (HEAD.upper().replace("_", " ") + ROW).encode(),
        (HEAD + ROW.replace("Ann,", '"Ann",')).encode(),
        (HEAD.strip() + ",\n" + ROW.strip() + ",\n").encode(),
        (b"login,number,platform,mms,friendly_name\nann@acme.example, 2019920760 ,Main,on,Ann"),
    ],
    ids=["plain", "mark", "utf16", "semicolons", "tabs", "crlf", "blank", "capitals", "quotes", "trailing", "order"],
)
def test_what_spreadsheets_write_is_understood(raw: bytes) -> None:
    [line] = read_lines(raw)
    assert (line.errors, line.values) == ([], GOOD)


def test_quotes_may_hold_separators_and_line_breaks_and_lines_are_counted_as_in_the_file() -> None:
    text = HEAD + '2019920760,a,"Ann, ""the"" second\nline",,,\n' + "2019920761,b,,,,\n"
    first, second = read_lines(text.encode())
    assert (first.line, second.line) == (2, 4)
    assert first.values["friendly_name"] == 'Ann, "the" second\nline'


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (",ann,,,,", "number is missing."),
        ("2019920760,,,,,", "login is missing."),
        ("2019920760,ann,,yes,,", "mms must be one of inherit, on, off, or empty."),
        ("2019920760,ann,,,maybe,", "can_block must be one of inherit, on, off, or empty."),
        (f"2019920760,ann,{'x' * 200_00},,,", "friendly_name may have at most 120 characters."),
        ("2019920760,ann,a,b,c,d,e,f", "There are more cells than the 6 columns."),
        ("2019920760,ann,nul\x00,,,", "friendly_name holds a character that cannot be stored."),
    ],
)
def test_what_is_wrong_with_a_line_is_said_at_the_line(row: str, sentence: str) -> None:
    good, bad = read_lines(f"{HEAD}2019920761,bob,,,,\n{row}\n".encode())
    assert (good.errors, bad.line) == ([], 3)
    assert sentence in " ".join(bad.errors)


def test_a_line_in_another_encoding_is_named_and_the_others_are_read() -> None:
    good, bad = read_lines((HEAD + "2019920761,bob,,,,\n").encode() + "2019920760,ann,Zoë,,,\n".encode("latin-1"))
    assert (good.errors, bad.errors) == ([], ["friendly_name is not UTF-8. Save the file as CSV UTF-8."])


def test_a_number_that_stands_twice_is_taken_from_its_first_line() -> None:
    first, second = read_lines(f"{HEAD}2019920760,a,,,,\n+1 (201) 992-0760,b,,,,\n".encode())
    assert (first.errors, second.errors) == ([], ["Line 2 has this number already."])


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "name the columns"),
        (HEAD.encode(), "no lines"),
        (b"number,name\n1,2", "name the columns"),
        (b"number,login,login\n1,2,3", "each once"),
        (b"login,mms\nx,on", "number and login are needed"),
        (HEAD.encode() + b'2019920760,"ann\n2019920761,bob\n', "Line 2 cannot be read"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00", "name the columns"),
        (HEAD.encode() + b"x,y\n" * (MOST_LINES + 1), "at most 5000 lines"),
    ],
)
def test_what_is_no_such_table_is_refused_as_a_whole(raw: bytes, sentence: str) -> None:
    with pytest.raises(Problem) as problem:
        read_lines(raw)
    assert sentence in problem.value.detail


def test_a_file_may_not_be_too_large() -> None:
    with pytest.raises(Problem) as problem:
        read_lines(b"x" * (2 * 1024 * 1024 + 1))
    assert problem.value.status == 413


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: (HEAD + text).encode("utf-8", "replace")))
@example(HEAD.encode() + b"\xff\xfe,\x00,\r\n\r,")
def test_any_bytes_are_lines_that_can_be_stored_or_a_refusal(raw: bytes) -> None:
    try:
        lines = read_lines(raw)
    except Problem:
        return
    for line in lines:
        assert set(line.values) <= set(COLUMNS)
        for name, value in line.values.items():
            longest = NumberImportLine._meta.get_field(name).max_length
            assert len(value) <= longest
            value.encode()
            assert "\x00" not in value
