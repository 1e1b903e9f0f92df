"""Applying changed fields to a row: what every update service does before it saves."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower

from portal.problems import Problem, invalid


def as_json(value: Any) -> Any:
    """A field's value as an audit row holds it."""
    if isinstance(value, models.Model):
        return str(value.pk)
    if isinstance(value, uuid.UUID | datetime):
        return str(value)
    return value


def apply_changes(
    row: models.Model, changes: Mapping[str, Any], *, allowed: set[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Set `changes` on `row` (not saved); returns what differed, before and after.

    Raises Problem `invalid` for a field that is not in `allowed`.
    """
    for name in changes:
        if name not in allowed:
            raise invalid(**{name: "This field cannot be changed."})
    before, after = {}, {}
    for name, value in changes.items():
        old = getattr(row, name)
        if old != value:
            before[name], after[name] = as_json(old), as_json(value)
            setattr(row, name, value)
    return before, after


def validate(row: models.Model, *, exclude: set[str] | None = None) -> None:
    """Check every field, unique ones too. Raises Problem `invalid` that names the fields."""
    try:
        row.full_clean(exclude=exclude, validate_constraints=False)
    except ValidationError as error:
        errors = {
            ("detail" if name == "__all__" else name): [str(sentence) for sentence in sentences]
            for name, sentences in error.message_dict.items()
        }
        detail = " ".join(sentence for sentences in errors.values() for sentence in sentences)
        raise Problem("invalid", detail, status=400, errors=errors) from error


def require_free_name(row: models.Model, field: str) -> None:
    """Raises Problem `invalid` when another row has that name, in upper or lower case."""
    model = type(row)
    same = model._default_manager.filter(**{f"{field}__lower": Lower(models.Value(getattr(row, field)))})
    if same.exclude(pk=row.pk).exists():
        raise taken_name(row, field)


def taken_name(row: models.Model, field: str) -> Problem:
    """That another row has the name, for whoever learns it only when saving."""
    return invalid(**{field: " ".join(row.unique_error_message(type(row), (field,)).messages)})
