"""Bulk imports of numbers: a job, and a row for each line of its file, worked off by any number of workers."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.utils import timezone

from portal.models.base import Row

MOST_NUMBER, MOST_NAME, MOST_LOGIN = 64, 120, 160


class NumberImport(Row):
    """An import that an account asked for. `atomic`: all lines or none; `dry_run`: none, only checked.

    It belongs to the level of the account and outlives it, so it holds ids without a constraint.
    """

    account_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    account_name = models.CharField("asked for by", max_length=160)
    file_name = models.CharField("file", max_length=120, blank=True, default="")
    dry_run = models.BooleanField("only checked", default=False)
    atomic = models.BooleanField("all or none", default=False)
    state = models.CharField(max_length=10, choices=[("running", "Running"), ("done", "Done")], default="running")
    total = models.PositiveIntegerField("lines", default=0)
    good = models.PositiveIntegerField("could be taken", default=0)
    taken = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    finished_at = models.DateTimeField("finished", null=True)
    system_provider_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]
    reseller_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]
    group_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "group_id",
    }

    class Meta:
        verbose_name = "number import"
        indexes = [
            models.Index(fields=["system_provider_id", "id"], name="import_sp_id"),
            models.Index(fields=["reseller_id", "id"], name="import_reseller_id"),
            models.Index(fields=["group_id", "id"], name="import_group_id"),
            models.Index(fields=["id"], condition=models.Q(state="running"), name="import_running"),
        ]

    def __str__(self) -> str:
        return self.file_name or f"Import of {self.total} lines"

    @property
    def worked_off(self) -> int:
        """How many lines need nothing more but, of `atomic` ones, the common end."""
        return self.good + self.taken + self.refused


class ImportStatus(models.TextChoices):
    """`good` would be taken; `not_taken` was good, but other lines of an all-or-none import were not."""

    WAITING = "waiting", "Waiting"
    GOOD = "good", "Could be taken"
    TAKEN = "taken", "Taken"
    REFUSED = "refused", "Refused"
    NOT_TAKEN = "not_taken", "Not taken"


class NumberImportLine(Row):
    """A line of the file: what it says, and what became of it. `line` counts from 1, the heading included.

    While it waits, whoever moves `due_at` on and sets `claim` works on it.
    """

    job = models.ForeignKey(NumberImport, models.CASCADE, related_name="lines", db_index=False)
    line = models.PositiveIntegerField()
    number = models.CharField(max_length=MOST_NUMBER, blank=True, default="")
    login = models.CharField(max_length=MOST_LOGIN, blank=True, default="")
    friendly_name = models.CharField(max_length=MOST_NAME, blank=True, default="")
    mms = models.CharField(max_length=10, blank=True, default="")
    can_block = models.CharField(max_length=10, blank=True, default="")
    platform = models.CharField(max_length=MOST_NAME, blank=True, default="")
    status = models.CharField(max_length=10, choices=ImportStatus.choices, default=ImportStatus.WAITING)
    code = models.CharField(max_length=60, blank=True, default="")
    detail = models.CharField(max_length=400, blank=True, default="")
    number_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]
    tries = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    claim = models.UUIDField(null=True)

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "job__system_provider_id",
        "reseller": "job__reseller_id",
        "group": "job__group_id",
    }

    class Meta:
        verbose_name = "line of an import"
        verbose_name_plural = "lines of an import"
        constraints = [models.UniqueConstraint(fields=["job", "line"], name="import_line")]
        indexes = [
            models.Index(fields=["job", "status", "line", "id"], name="import_line_status"),
            models.Index(fields=["job", "due_at"], condition=models.Q(status="waiting"), name="import_line_due"),
        ]

    def __str__(self) -> str:
        return f"Line {self.line}"
