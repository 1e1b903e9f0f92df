"""Re-encrypt every stored secret with the first key of PORTAL_ENCRYPTION_KEYS."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import models
from django.db.models.functions import Cast

from portal.checks import encrypted_fields
from portal.encryption import decrypt, encrypt, key_id

BATCH = 500


class Command(BaseCommand):
    help = (
        "Re-encrypts every secret with the first key of PORTAL_ENCRYPTION_KEYS. "
        "Safe while the portal runs, and to repeat. Afterwards the older keys may be dropped from the list."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        for model, field in encrypted_fields():
            count = rotate(model, field.name)
            self.stdout.write(f"{model._meta.label}.{field.name}: {count} re-encrypted")


def rotate(model: type[models.Model], field: str) -> int:
    """Re-encrypt one column; returns how many rows changed. Raises ImproperlyConfigured for an unknown key.

    Each row is written only where it still holds what was read, so a change at the same moment is not lost: that row
    was just written with the first key anyway.
    """
    # Casting reads and compares the stored text itself, past the field that would decrypt it.
    rows = model._base_manager.annotate(stored=Cast(field, models.TextField())).order_by("pk")
    old = rows.exclude(stored="").exclude(stored__startswith=f"{key_id(settings.ENCRYPTION_KEYS[0])}:")
    done, last = 0, None
    while True:
        batch = list((old if last is None else old.filter(pk__gt=last)).values_list("pk", "stored")[:BATCH])
        for pk, stored in batch:
            renewed = models.Value(encrypt(decrypt(stored)), output_field=models.TextField())
            done += rows.filter(pk=pk, stored=stored).update(**{field: renewed})
        if len(batch) < BATCH:
            return done
        last = batch[-1][0]
