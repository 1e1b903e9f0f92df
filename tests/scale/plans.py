"""How many rows a statement touches, as PostgreSQL itself counts them when it runs it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import connection

_RECHECKED = "Rows Removed by Index Recheck"


@dataclass(frozen=True)
class Scan:
    """A table or index that a statement reads: how many rows were looked at, and by which condition they were found."""

    source: str
    rows: int
    found_by: str
    thrown_away_by: str

    def __str__(self) -> str:
        return f"{self.rows} rows of {self.source} (found by {self.found_by}, thrown away by {self.thrown_away_by})"


def scans(statement: str) -> list[Scan]:
    """Run a SELECT and tell what it read."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement.replace('%', '%%')}", [])
        found = cursor.fetchone()[0]
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return list(_scans(plan))


def _scans(node: dict[str, Any]) -> Iterator[Scan]:
    index, condition = node.get("Index Name"), str(node.get("Index Cond", ""))
    if index or "Relation Name" in node:
        rows = sum(node.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", _RECHECKED))
        if condition and _first_column(index) not in condition:
            rows = max(rows, _entries(index))  # found by a later column: the whole index was read
        source = index or node["Relation Name"]
        yield Scan(
            source, int(rows * node["Actual Loops"]), condition or node["Node Type"], str(node.get("Filter", "-"))
        )
    for below in node.get("Plans", []):
        yield from _scans(below)


@cache
def _first_column(index: str) -> str:
    """The name of the column an index begins with, or of the function that it begins with."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_indexdef(%s::regclass, 1, true)", [index])
        return re.findall(r"\w+", cursor.fetchone()[0])[0]


@cache
def _entries(index: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [index])
        return int(cursor.fetchone()[0])
