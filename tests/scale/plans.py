"""How many rows a statement touches, as PostgreSQL itself counts them when it runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection

_RECHECKED = "Rows Removed by Index Recheck"


@dataclass(frozen=True)
class Scan:
    """A table or index that a statement reads: how many rows were looked at, and by which condition they were found."""

    table: str
    rows: int
    found_by: str
    thrown_away_by: str

    def __str__(self) -> str:
        return f"{self.rows} rows of {self.table} (found by {self.found_by}, thrown away by {self.thrown_away_by})"


def scans(statement: str) -> list[Scan]:
    """Run a SELECT and tell what it read."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement.replace('%', '%%')}", [])
        found = cursor.fetchone()[0]
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return list(_scans(plan))


def _scans(node: dict[str, Any]) -> Iterator[Scan]:
    if "Relation Name" in node:
        looked_at = sum(node.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", _RECHECKED))
        found_by = node.get("Index Cond") or node.get("Recheck Cond") or node["Node Type"]
        rows = int(looked_at * node["Actual Loops"])
        yield Scan(node["Relation Name"], rows, str(found_by), str(node.get("Filter", "nothing")))
    for below in node.get("Plans", []):
        yield from _scans(below)
