"""Moving to another database: every row as it is, counted and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.management.color import no_style
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections, models, transaction

from portal.problems import conflict

# `migrate` fills these in each database, with ids of its own; what refers to them is copied, so they are too.
_FILLED_BY_MIGRATE = {"contenttypes.contenttype", "auth.permission"}
_BATCH = 1000


def models_to_copy() -> list[type[models.Model]]:
    """Every table of every app; Django's cache and its list of migrations stay with their database."""
    return [model for model in apps.get_models(include_auto_created=True) if model._meta.managed]


def require_empty(target: str) -> None:
    """Raises Problem when the target holds anything but what `migrate` writes."""
    for model in models_to_copy():
        if model._meta.label_lower not in _FILLED_BY_MIGRATE and model._base_manager.using(target).exists():
            raise conflict("not_empty", f"{model._meta.db_table} has rows already: copy into a new database.")


def copy_everything(source: str, target: str) -> Iterator[tuple[str, int]]:
    """Copy all rows in one transaction of the target; yields each table and how many rows it got.

    Foreign keys are checked when it commits, so the order of tables does not matter.
    """
    copied = models_to_copy()
    with transaction.atomic(using=target):
        for model in copied:
            if model._meta.label_lower in _FILLED_BY_MIGRATE:
                model._base_manager.using(target).all().delete()
        for model in copied:
            yield model._meta.db_table, _copy(model, source, target)
        with connections[target].cursor() as cursor:
            for statement in connections[target].ops.sequence_reset_sql(no_style(), copied):
                cursor.execute(statement)


def _copy(model: type[models.Model], source: str, target: str) -> int:
    fields = model._meta.local_concrete_fields
    count, batch = 0, []
    for row in _rows(model, source):
        batch.append(row)
        if len(batch) == _BATCH:
            count += _insert(model, fields, batch, target)
            batch = []
    return count + _insert(model, fields, batch, target)


def _insert(
    model: type[models.Model], fields: Sequence[models.Field[Any, Any]], rows: list[models.Model], target: str
) -> int:
    if rows:
        # Raw, as fixtures are loaded: nothing is set, signalled or checked on the way.
        model._base_manager.using(target)._insert(rows, fields=fields, using=target, raw=True)  # type: ignore[attr-defined]
    return len(rows)


def _rows(model: type[models.Model], database: str) -> Iterator[models.Model]:
    return model._base_manager.using(database).order_by("pk").iterator(chunk_size=_BATCH)


def checksum(model: type[models.Model], database: str) -> tuple[int, str]:
    """How many rows a table has, and a digest of all values in the order of its keys, the same in every database.

    Secrets go in decrypted: what counts is that they can be read.
    """
    digest, count = hashlib.sha256(), 0
    names = [field.attname for field in model._meta.local_concrete_fields]
    for row in _rows(model, database):
        values = [getattr(row, name) for name in names]
        digest.update(json.dumps(values, cls=_Exactly, sort_keys=True).encode())
        count += 1
    return count, digest.hexdigest()


class _Exactly(DjangoJSONEncoder):
    def default(self, value: Any) -> Any:
        if isinstance(value, bytes | memoryview):
            return bytes(value).hex()
        # Django's encoder cuts times to milliseconds.
        return value.isoformat() if hasattr(value, "isoformat") else super().default(value)
