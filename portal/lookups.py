"""Lookups of our own; every field has them."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Field, ForeignObject, UUIDField
from django.db.models.lookups import In
from django.utils.datastructures import OrderedSet

from portal.sql import id_array


@Field.register_lookup
@ForeignObject.register_lookup
class Among(In):
    """`pk__among=ids`: as `in`, for hundreds of values. PostgreSQL gets them as one array, since reading as many
    placeholders would cost more than the query. Ids that are ids already are not prepared one by one either."""

    lookup_name = "among"

    def get_prep_lookup(self) -> Any:
        return list(self.rhs) if self._has_ids() else super().get_prep_lookup()

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        if not self.rhs:
            raise EmptyResultSet
        left, parameters = self.process_lhs(compiler, connection)
        if self._has_ids():
            return f"{left} = ANY(%s::uuid[])", [*parameters, id_array(self.rhs)]
        _, values = self.batch_process_rhs(compiler, connection, OrderedSet(self.rhs))
        return f"{left} = ANY(%s)", [*parameters, list(values)]

    def _has_ids(self) -> bool:
        field = getattr(self.lhs.output_field, "target_field", self.lhs.output_field)
        return (
            isinstance(field, UUIDField)
            and isinstance(self.rhs, list | set | tuple)
            and all(type(value) is uuid.UUID for value in self.rhs)
        )
