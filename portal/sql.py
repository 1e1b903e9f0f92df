"""Statements the ORM has no words for (upserts that count and return), the same on PostgreSQL and SQLite."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.db import connection


def adapt(value: Any) -> Any:
    """A Python value as the database at hand stores it."""
    if isinstance(value, uuid.UUID) and not connection.features.has_native_uuid_field:
        return value.hex
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value


def execute(statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement with values by place (`%s`) or name (`%(name)s`); returns the rows of a SELECT or RETURNING."""
    adapted: Any
    if connection.vendor == "postgresql":
        adapted = values  # its driver knows the types
    elif isinstance(values, Mapping):
        adapted = {name: adapt(value) for name, value in values.items()}
    else:
        adapted = [adapt(value) for value in values]
    with connection.cursor() as cursor:
        cursor.execute(statement, adapted)
        return cursor.fetchall() if cursor.description else []


def execute_prepared(statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a PostgreSQL statement that the server parses and plans once per connection; returns its rows.

    For statements that run all the time, where planning would take longer than running. Values by name stand for
    `%(name)s`; by place for `$1`, PostgreSQL's own way, for which a long statement is not looked through each time.
    """
    cursor_type = psycopg.Cursor if isinstance(values, Mapping) else psycopg.RawCursor
    connection.ensure_connection()
    with connection.wrap_database_errors, cursor_type(connection.connection) as cursor:
        cursor.execute(statement, values, prepare=True)
        return cursor.fetchall()


def places(values: Sequence[object]) -> str:
    """The inside of `IN (…)` for so many values."""
    return ", ".join(["%s"] * len(values))


def id_array(ids: Iterable[uuid.UUID]) -> str:
    """Ids as PostgreSQL reads an array, for `%s::uuid[]`; the driver would look at each of a thousand."""
    return f"{{{','.join(map(str, ids))}}}"


def as_uuid(value: Any) -> uuid.UUID:
    """An id as the database returned it."""
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def as_time(value: Any) -> datetime:
    """A time as the database returned it: SQLite knows only its text, which is in UTC."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value).replace(tzinfo=UTC)


def share_lock(table: str) -> str:
    """Keeps a row from being deleted or locked FOR UPDATE until commit, without holding up other writers."""
    return f"FOR KEY SHARE OF {table}" if connection.vendor == "postgresql" else ""
