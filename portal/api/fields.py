"""Fields that take exactly the JSON type the schema names: no "true" for true, no 5 for "5"."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db.models import Model
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from portal.clock import iso
from portal.scoping import TenantQuerySet, get_visible, parse_id

ID_SCHEMA = {"type": "string", "format": "uuid"}


class Text(serializers.CharField):
    """A text. Its length is that of what was sent, not of what is left when surrounding white space is cut off."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return super().to_internal_value(data)


class Email(Text, serializers.EmailField):
    """An e-mail address."""


class Boolean(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Integer(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return data


class Choice(serializers.ChoiceField):
    """One of fixed words; the refusal lists them."""

    def to_internal_value(self, data: Any) -> Any:
        if data == "" and self.allow_blank:
            return ""
        if not isinstance(data, str) or data not in self.choices:
            raise serializers.ValidationError(f"Choose one of {', '.join(map(str, self.choices))}.")
        return data


class Time(serializers.DateTimeField):
    """A time in UTC. Read: ISO 8601, a missing zone is UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def to_representation(self, value: datetime) -> str:
        return iso(value)


@extend_schema_field(ID_SCHEMA)
class Id(serializers.Field[Any, Any, Any, Any]):
    """An id, as a filter."""

    def to_internal_value(self, data: Any) -> Any:
        key = parse_id(data) if isinstance(data, str) else None
        if key is None:
            raise serializers.ValidationError("This is not an id.")
        return key

    def to_representation(self, value: Any) -> str:
        return str(value)


@extend_schema_field(ID_SCHEMA)
class Visible(serializers.Field[Any, Any, Any, Any]):
    """The id of a row the caller may see. Another tenant's is Problem `not_found`, as is one that never was."""

    def __init__(self, queryset: TenantQuerySet[Any], **kwargs: Any) -> None:
        self.queryset = queryset
        super().__init__(**kwargs)

    def get_attribute(self, instance: Any) -> Any:
        return instance.serializable_value(self.source)

    def to_internal_value(self, data: Any) -> Model:
        if not isinstance(data, str) or parse_id(data) is None:
            raise serializers.ValidationError("This is not an id.")
        name = str(self.queryset.model._meta.verbose_name)
        row: Model = get_visible(self.queryset.all(), self.context["request"].user, data, name.capitalize())
        return row

    def to_representation(self, value: Any) -> str:
        return str(getattr(value, "pk", value))


@extend_schema_field({"type": "array", "items": ID_SCHEMA, "maxItems": 1000})
class VisibleList(serializers.Field[Any, Any, Any, Any]):
    """Ids of rows the caller may see, as `Visible`, fetched in one query."""

    def __init__(self, queryset: TenantQuerySet[Any], **kwargs: Any) -> None:
        self.queryset = queryset
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> list[Model]:
        if not isinstance(data, list) or len(data) > 1000:
            raise serializers.ValidationError("Give a list of at most 1000 ids.")
        keys = [parse_id(key) if isinstance(key, str) else None for key in data]
        if None in keys:
            raise serializers.ValidationError("This list holds something that is not an id.")
        found = self.queryset.visible_to(self.context["request"].user).in_bulk(set(keys))
        missing = next((key for key in keys if key not in found), None)
        if missing is not None:
            get_visible(self.queryset.none(), None, missing)
        return list(found.values())

    def to_representation(self, value: Any) -> list[str]:
        rows: Iterable[Model] = value.all() if hasattr(value, "all") else value
        return sorted(str(row.pk) for row in rows)
