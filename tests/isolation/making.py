"""A row of any model, made from its fields, so that a new model is in the world without anyone adding it."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models
from django.utils import timezone

_count = itertools.count(1)


def own_models() -> list[type[models.Model]]:
    """The models of this project, those between two related ones too."""
    folder = str(settings.BASE_DIR)
    ours = [config for config in apps.get_app_configs() if config.path.startswith(folder)]
    labels = {config.label for config in ours if "site-packages" not in config.path}
    return [model for model in apps.get_models(include_auto_created=True) if model._meta.app_label in labels]


def make_row(model: type[models.Model], mark: str, row_of: Callable[[type[models.Model]], models.Model]) -> Any:
    """A saved row that bears `mark` in every text and hangs on the rows `row_of` gives for its relations."""
    values = {}
    for field in model._meta.concrete_fields:
        is_set_by_itself = field.has_default() and not isinstance(field.get_default(), str)
        if not is_set_by_itself and not isinstance(field, models.AutoField):
            values[field.attname] = _value(field, mark, row_of)
    row = model(**values)
    row.save(force_insert=True)
    return row


def _value(field: Any, mark: str, row_of: Callable[[type[models.Model]], models.Model]) -> Any:
    if field.is_relation:
        return row_of(field.related_model).pk
    if field.choices:
        return field.get_default() or field.choices[0][0]
    n = next(_count)
    kinds: list[tuple[type[Any], Any]] = [
        (models.EmailField, f"{mark.lower()}{n}@{mark.lower()}.example"),
        (models.CharField, _short(f"{mark} {n}", field.max_length)),
        (models.TextField, f"{mark} {n}"),
        (models.DateTimeField, timezone.now()),
        (models.DateField, timezone.now().date()),
        (models.BooleanField, False),
        (models.BinaryField, mark.encode()),
        (models.IntegerField, n),
        (models.UUIDField, uuid.uuid4()),
        (models.JSONField, {"name": mark}),
    ]
    found = next((value for kind, value in kinds if isinstance(field, kind)), None)
    if found is None and not field.null:
        raise AssertionError(
            f"{field} is of a kind that tests/isolation/making.py cannot fill. Teach it there, or make the row in "
            "world.py."
        )
    return found


def _short(text: str, longest: int | None) -> str:
    return text if longest is None or len(text) <= longest else text[-longest:].strip()
