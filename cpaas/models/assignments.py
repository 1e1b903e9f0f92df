"""Who had which number when: the history that the monthly charges are made of (S4.6)."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db import models

from portal.models.base import Row


class NumberAssignment(Row):
    """A time during which an end user had a number under one licence, from `started_at` up to `ended_at` (null: now).

    Outlives number, user and tenant, so it holds their names beside ids without a constraint. It is ended once and
    otherwise never changed.
    """

    number_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    tn = models.CharField(max_length=20)
    carrier = models.CharField(max_length=20)
    user_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    user_name = models.CharField(max_length=160)
    user_login = models.CharField(max_length=160)
    licence = models.CharField(max_length=20)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    system_provider_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    reseller_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    group_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "group_id",
    }

    class Meta:
        verbose_name = "number assignment"
        constraints = [
            models.UniqueConstraint(
                fields=["number_id"], condition=models.Q(ended_at=None), name="assignment_one_at_a_time"
            ),
        ]
        indexes = [
            models.Index(fields=["tn", "id"], name="assignment_tn"),
            models.Index(fields=["system_provider_id", "tn", "id"], name="assignment_sp_tn"),
            models.Index(fields=["reseller_id", "tn", "id"], name="assignment_reseller_tn"),
            models.Index(fields=["group_id", "tn", "id"], name="assignment_group_tn"),
            models.Index(fields=["user_id"], condition=models.Q(ended_at=None), name="assignment_open_of_user"),
        ]

    def __str__(self) -> str:
        return f"{self.tn} of {self.user_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("An assignment is ended by its service and never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("Assignments are never deleted.")
