"""Indexes of lists: what a list is filtered by or searched for, at each level, in the list's own order (rule 7).

A list runs newest first. An index on (level, filtered column, id) is one range of it, however rare the value is and
however many rows others have. A group has none of its own for this: its rows are those of one organisation.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddIndex
from django.db.migrations.state import ProjectState
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Upper

_SHORT = {"": "all", "system_provider": "sp"}


class Folded(Func):
    """A text as searches by its beginning compare it: capitals, in an order that an index can find beginnings in."""

    function = "UPPER"
    arity = 1
    output_field = models.TextField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        return self.as_sql(compiler, connection, template='(UPPER(%(expressions)s) COLLATE "C")', **context)


def level_indexes(
    name: str,
    column: str | Func,
    *,
    levels: tuple[str, ...] = ("system_provider", "reseller"),
    condition: Q | None = None,
) -> list[models.Index]:
    """Indexes `<name>_all`, `<name>_sp`, … of a list that is narrowed by `column`, or only to `condition`."""
    narrowed = [F(column) if isinstance(column, str) else column]
    found = []
    for level in ("", *levels):
        columns = [*([F(level)] if level else []), *([] if condition else narrowed), F("id")]
        short = level.removesuffix("_id")
        found.append(models.Index(*columns, name=f"{name}_{_SHORT.get(short, short)}", condition=condition))
    return found


def first_beginning_with(rows: models.QuerySet[Any], column: str, beginning: str, most: int) -> list[Any]:
    """The ids of the first `most` of `rows` whose `column` begins so, in the order of the index on it."""
    folded = rows.order_by().annotate(folded=Folded(column)).filter(folded__startswith=Upper(Value(beginning)))
    return list(folded.order_by("folded", "pk").values_list("pk", flat=True)[:most])


class AddIndexBesideWrites(AddIndex):
    """CREATE INDEX CONCURRENTLY on PostgreSQL, so that nobody waits while it is built; for `atomic = False`.

    What an interrupted build left behind is dropped first, so that the migration can simply be run again.
    """

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            name = schema_editor.quote_name(self.index.name)
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            schema_editor.add_index(model, self.index, concurrently=True)  # type: ignore[call-arg]
