"""Objects as the OpenAPI document describes them; nothing is read or written through these."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class Shape(serializers.Serializer[Any]):
    """A field whose name a class attribute cannot have (`from`, `label`, `source`) has an underscore behind it."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        found = super().get_fields()
        return {name.removesuffix("_"): field for name, field in found.items()}
