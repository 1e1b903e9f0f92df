"""Lines of CSV for people who open them in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

# What a spreadsheet takes for a formula, but for a telephone or other number.
_FORMULA = re.compile(r"(?![+-][0-9 ().-]+\Z)[=+\-@\t\r]")


def csv_line(cells: Iterable[object]) -> str:
    """`cells` as a line. A text that would be a formula begins with an apostrophe, so that nothing calculates it."""
    line = io.StringIO()
    csv.writer(line).writerow(
        [f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell for cell in cells]
    )
    return line.getvalue()
