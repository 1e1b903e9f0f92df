"""What a caller did not mean must not pass in silence: unknown parameters and fields are refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import models
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.validators import UniqueValidator

from portal.api import fields
from portal.api.paging import DEFAULT_LIMIT, MAX_LIMIT, invalid_cursor
from portal.problems import Problem


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know, fields that only we set, and on PATCH those in `create_only`."""

    create_only: ClassVar[frozenset[str]] = frozenset()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        found = super().get_fields()
        if self.partial:
            for name in self.create_only:
                found[name].read_only, found[name].required = True, False
        return found

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            errors = {}
            for name in data:
                if name not in self.fields:
                    errors[name] = ["There is no such field."]
                elif self.fields[name].read_only:
                    errors[name] = ["This field cannot be changed."]
            if errors:
                raise serializers.ValidationError(errors)
        return super().to_internal_value(data)


class StrictModelSerializer(StrictSerializer, serializers.ModelSerializer[Any]):
    """A serializer whose fields follow the model. What is unique is the service's to say."""

    serializer_field_mapping: ClassVar[dict[Any, Any]] = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.CharField: fields.Text,
        models.TextField: fields.Text,
        models.EmailField: fields.Email,
        models.BooleanField: fields.Boolean,
        models.PositiveSmallIntegerField: fields.Integer,
        models.PositiveIntegerField: fields.Integer,
        models.DateTimeField: fields.Time,
        models.UUIDField: fields.Id,
    }
    serializer_choice_field = fields.Choice

    def build_standard_field(self, field_name: str, model_field: Any) -> Any:
        field_class, kwargs = super().build_standard_field(field_name, model_field)
        validators = [found for found in kwargs.pop("validators", []) if not isinstance(found, UniqueValidator)]
        if validators:
            kwargs["validators"] = validators
        return field_class, kwargs


class Query(serializers.Serializer[Any]):
    """Query parameters. Subclass it with a field for each. An optional one left empty is one not given."""

    never_empty: ClassVar[frozenset[str]] = frozenset()
    """Those of which an empty one is a mistake all the same."""


class Cursor(serializers.CharField):
    """A cursor; one that cannot be any, empty or damaged, is refused like a foreign one."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        try:
            return super().run_validation(data)
        except serializers.ValidationError as error:
            raise invalid_cursor() from error


class ListQuery(Query):
    """The parameters of every list."""

    never_empty = frozenset({"cursor", "limit"})
    cursor = Cursor(required=False, max_length=1000, help_text="From `next` or `previous` of a page.")
    limit = serializers.IntegerField(
        required=False,
        min_value=1,
        default=DEFAULT_LIMIT,
        help_text=f"Rows a page; more than {MAX_LIMIT} means {MAX_LIMIT}.",
    )


def read_query(request: Request, query_class: type[Query]) -> dict[str, Any]:
    """The query parameters, checked. Raises Problem `invalid` naming unknown, doubled and malformed ones."""
    wanted = query_class()
    errors: dict[str, list[str]] = {}
    for name, values in request.query_params.lists():
        if name not in wanted.fields:
            errors[name.replace("\x00", "?")] = ["There is no such parameter."]
        elif len(values) > 1:
            errors[name] = ["Give this parameter once."]
    if errors:
        raise Problem("invalid", "Unknown or doubled parameters: " + ", ".join(errors) + ".", errors=errors)
    given = {name: value for name, value in request.query_params.items() if value or not may_be_empty(wanted, name)}
    query = query_class(data=given)
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


def may_be_empty(query: Query, name: str) -> bool:
    """Whether `?name=` is the same as leaving the parameter out."""
    return name in query.fields and name not in query.never_empty and not query.fields[name].required
