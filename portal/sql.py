"""Statements the ORM has no words for (upserts that count and return), the same on PostgreSQL and SQLite."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import orjson
import psycopg
from django.db import connection
from django.db.models import Model

ModelT = TypeVar("ModelT", bound=Model)


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


def execute_planned(statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """`execute_prepared` where it is possible, else `execute`. For statements about whole batches (`table_of`)."""
    return execute_prepared(statement, values) if connection.vendor == "postgresql" else execute(statement, values)


def execute_prepared(statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """As `execute`, on PostgreSQL only, which then parses and plans the statement once per connection.

    For statements that run all the time, where planning would take longer than running. Values by name stand for
    `%(name)s`; by place for `$1`, PostgreSQL's own way, for which a long statement is not looked through each time.
    """
    cursor_type = psycopg.Cursor if isinstance(values, Mapping) else psycopg.RawCursor
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    if connection.queries_logged:
        # Django's own cursors count what they run; whoever counts queries counts these too.
        connection.queries_log.append({"sql": _written_out(statement, values), "time": ""})
    with connection.wrap_database_errors, cursor_type(connection.connection) as cursor:
        cursor.execute(statement, values, prepare=True)
        # Its `description` would be made for each column first.
        result = cursor.pgresult
        return cursor.fetchall() if result and result.nfields else []


def _written_out(statement: str, values: Sequence[Any] | Mapping[str, Any]) -> str:
    """With its values, as Django's cursors log it."""
    if not isinstance(values, Mapping):
        return statement
    return psycopg.ClientCursor(connection.connection).mogrify(statement, values).strip()


def execute_for(statement: str, ids: Collection[uuid.UUID], values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement about the rows with these ids: `{among}` in it stands for `IN (…)`; other values by name.

    On PostgreSQL the text is the same however many they are, so that it is planned once per connection.
    """
    if connection.vendor == "postgresql":
        return execute_prepared(statement.format(among="= ANY(%(ids)s::uuid[])"), {**values, "ids": id_array(ids)})
    return _execute_in(statement, ids, values)


def execute_for_texts(statement: str, texts: Collection[str], values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """As `execute_for`, about the rows with these texts."""
    if connection.vendor == "postgresql":
        return execute_prepared(statement.format(among="= ANY(%(texts)s::text[])"), {**values, "texts": list(texts)})
    return _execute_in(statement, texts, values)


def _execute_in(statement: str, keys: Collection[Any], values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    named = {f"key{n}": key for n, key in enumerate(keys)}
    among = f"IN ({', '.join(f'%({name})s' for name in named)})"
    return execute(statement.format(among=among), {**values, **named})


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
    """A time as the database returned it; from SQLite it comes without a zone, as a time or as text, and is in UTC."""
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def share_lock(table: str) -> str:
    """Keeps a row from being deleted or locked FOR UPDATE until commit, without holding up other writers."""
    return f"FOR KEY SHARE OF {table}" if connection.vendor == "postgresql" else ""


def no_key_lock(table: str) -> str:
    """Keeps a row from being changed or deleted by others until commit; they may still refer to it."""
    return f"FOR NO KEY UPDATE OF {table}" if connection.vendor == "postgresql" else ""


def table_of(name: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> tuple[str, dict[str, Any]]:
    """`name (…) AS (…)` for a WITH clause that holds these rows, and its values; `columns` are names and types.

    On PostgreSQL they go as one JSON text, so that the statement is the same for any number of rows and the driver has
    one value to write: a placeholder for each costs ten times as much.
    """
    head = f"{name} ({', '.join(columns)})"
    if connection.vendor != "postgresql":
        values = {f"{name}{n}": value for n, value in enumerate(value for row in rows for value in row)}
        keys = iter(values)
        table = ", ".join(f"({', '.join(f'%({next(keys)})s' for _ in columns)})" for _ in rows)
        return f"{head} AS (VALUES {table})", values
    typed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    written = orjson.dumps([dict(zip(columns, row, strict=True)) for row in rows]).decode()
    source = f"json_to_recordset(%({name})s::json) AS rows ({typed})"
    return f"{head} AS (SELECT * FROM {source})", {name: written}  # noqa: S608 - made of names in the code


# --- rows of models without the ORM: where a statement runs all the time, it spends three times as long as the database


def columns_of(model: type[Model], alias: str) -> str:
    """The columns of a model for a SELECT, as `load` takes them."""
    return ", ".join(f"{alias}.{field.column}" for field in model._meta.concrete_fields)


def load(model: type[ModelT], values: Sequence[Any]) -> ModelT:
    """The row that a SELECT of `columns_of(model, …)` gave."""
    names, converters = _reader(model, connection.vendor)
    found = list(values)
    for place, column, convert in converters:
        found[place] = convert(found[place], column, connection)
    return model.from_db(connection.alias, names, found)


def insert(row: Model) -> None:
    """Write a new row that has its primary key, as `save(force_insert=True)` does for a model without a parent, signals
    or columns the database fills."""
    fields = row._meta.concrete_fields
    values = {str(field.column): field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields}
    execute_planned(_insert(type(row)), values)
    row._state.adding = False


@cache
def _insert(model: type[Model]) -> str:
    columns = [str(field.column) for field in model._meta.concrete_fields]
    values = ", ".join(f"%({column})s" for column in columns)
    return f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) VALUES ({values})"  # noqa: S608 - names of columns


@cache
def _reader(model: type[Model], vendor: str) -> tuple[list[str], list[tuple[int, Any, Callable[..., Any]]]]:
    """The names of the columns, and what is to be done with some of them to have a Python value."""
    fields = model._meta.concrete_fields
    # A foreign key's column is read as the key it refers to.
    columns = [field.get_col(model._meta.db_table) for field in fields]
    converters = [
        (place, column, convert)
        for place, column in enumerate(columns)
        for convert in [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
    ]
    return [field.attname for field in fields], converters
