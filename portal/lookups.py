"""Lookups of our own; every field has them."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Field, ForeignObject
from django.db.models.lookups import In
from django.utils.datastructures import OrderedSet


@Field.register_lookup
@ForeignObject.register_lookup
class Among(In):
    """`pk__among=ids`: as `in`, for hundreds of values. PostgreSQL gets them as one array, since reading as many
    placeholders would cost more than the query."""

    lookup_name = "among"

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        if not self.rhs:
            raise EmptyResultSet
        left, parameters = self.process_lhs(compiler, connection)
        _, values = self.batch_process_rhs(compiler, connection, OrderedSet(self.rhs))
        return f"{left} = ANY(%s)", [*parameters, list(values)]
