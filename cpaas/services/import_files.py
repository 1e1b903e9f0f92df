"""Reading the file of a bulk import: `number,login,friendly_name,mms,can_block,platform` (contracts section 2).

Commas, semicolons and tabs, UTF-8 with or without a mark, and what spreadsheets call Unicode text are understood. What
is wrong with a line is said at the line; only a file that is no table at all is refused as a whole.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from cpaas.models.imports import MOST_LOGIN, MOST_NAME, MOST_NUMBER
from cpaas.states import Override
from portal.phone_numbers import InvalidNumber, parse_own_number
from portal.problems import Problem

COLUMNS = ("number", "login", "friendly_name", "mms", "can_block", "platform")
REQUIRED = ("number", "login")
MOST_LINES = 5000
MOST_BYTES = 2 * 1024 * 1024
_LONGEST = {"number": MOST_NUMBER, "login": MOST_LOGIN, "friendly_name": MOST_NAME, "platform": MOST_NAME}
_OVERRIDES = ("mms", "can_block")


@dataclass
class Line:
    """A line of the file as far as it could be read; `errors` are sentences, none when it may be tried."""

    line: int
    values: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def read_lines(raw: bytes) -> list[Line]:
    """The lines of a file, checked for what can be seen without asking anybody.

    Raises Problem `invalid` (400) for a file that is no such table, `too_large` (413).
    """
    if len(raw) > MOST_BYTES:
        raise Problem("too_large", f"A file may have at most {MOST_BYTES // 1024} kB.", status=413)
    text = _decoded(raw)
    found: list[Line] = []
    for line in _lines(text):
        if len(found) == MOST_LINES:
            raise _refused(f"A file may have at most {MOST_LINES} lines. Split it.")
        found.append(line)
    if not found:
        raise _refused("The file has no lines below its heading.")
    _refuse_doubles(found)
    return found


def _decoded(raw: bytes) -> str:
    """The file as text. Bytes that are no UTF-8 are kept as half surrogates, so that their line can be named."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace")
    return raw.decode("utf-8-sig", "surrogateescape")


def _lines(text: str) -> Iterator[Line]:
    heading = text.partition("\n")[0]
    delimiter = max(",;\t", key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    try:
        names = _names(next(reader, []))
        begins = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _line(begins, names, cells)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise _refused(f"Line {begins} cannot be read: {error}. Is a quotation mark not closed?") from error


def _names(cells: list[str]) -> list[str]:
    names = [cell.strip().lower().replace(" ", "_") for cell in cells]
    unknown = [name for name in names if name and name not in COLUMNS]
    missing = [name for name in REQUIRED if name not in names]
    if unknown or missing or len(set(filter(None, names))) < len([name for name in names if name]):
        raise _refused(
            f"The first line must name the columns, each once: {','.join(COLUMNS)}. number and login are needed."
        )
    return names


def _line(place: int, names: list[str], cells: list[str]) -> Line:
    line = Line(place)
    if any(cell.strip() for cell in cells[len(names) :]):
        line.errors.append(f"There are more cells than the {len(names)} columns. Quote what holds a separator.")
    for name, cell in zip(names, cells, strict=False):
        if name:
            line.values[name] = _cell(line, name, cell.strip())
    for name in REQUIRED:
        if not line.values.get(name):
            line.errors.append(f"{name} is missing.")
    for name in _OVERRIDES:
        value = line.values.get(name, "").lower() or Override.INHERIT.value
        if value not in Override.values:
            line.errors.append(f"{name} must be one of {', '.join(Override.values)}, or empty.")
        line.values[name] = value[:10]
    return line


def _cell(line: Line, name: str, value: str) -> str:
    """The value as it can be stored."""
    if any("\ud800" <= character <= "\udfff" for character in value):
        line.errors.append(f"{name} is not UTF-8. Save the file as CSV UTF-8.")
    if "\x00" in value or "\ufffd" in value:
        line.errors.append(f"{name} holds a character that cannot be stored.")
    longest = _LONGEST.get(name, 10)
    if len(value) > longest:
        line.errors.append(f"{name} may have at most {longest} characters.")
    return value.encode("utf-8", "replace").decode().replace("\x00", "?")[:longest]


def _refuse_doubles(lines: list[Line]) -> None:
    """The first line with a number may have it."""
    seen: dict[str, int] = {}
    for line in lines:
        try:
            number = parse_own_number(line.values.get("number"))
        except InvalidNumber:
            continue  # said when the line is worked on, with the tenant's country
        first = seen.setdefault(number, line.line)
        if first != line.line:
            line.errors.append(f"Line {first} has this number already.")


def _refused(sentence: str) -> Problem:
    return Problem("invalid", sentence, status=400, errors={"file": [sentence]})
