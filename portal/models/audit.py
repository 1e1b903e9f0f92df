"""The audit trail: who did what to which row, before and after, from where. Written by services, never changed."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db import models

from portal.indexes import level_indexes
from portal.models.base import Row

_LEVELS = ("system_provider_id", "reseller_id")


class AuditEntry(Row):
    """One write. Holds ids, names and numbers, never message text nor a secret (R18).

    Levels are ids without a constraint, so that an entry outlives the rows it speaks of.
    """

    actor_kind = models.CharField(max_length=10, choices=[("staff", "Staff"), ("user", "User"), ("system", "System")])
    actor_id = models.UUIDField(null=True)
    actor_name = models.CharField(max_length=160)
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40)
    object_id = models.UUIDField(null=True)
    object_name = models.CharField(max_length=200)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    ip = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True, default="")
    system_provider_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]
    reseller_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]
    group_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "group_id",
    }

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["system_provider_id", "id"], name="audit_sp_id"),
            models.Index(fields=["reseller_id", "id"], name="audit_reseller_id"),
            models.Index(fields=["group_id", "id"], name="audit_group_id"),
            models.Index(fields=["object_id", "id"], name="audit_object_id"),
            *level_indexes("audit_actor", "actor_id", levels=_LEVELS),
            *level_indexes("audit_actor_name", "actor_name", levels=_LEVELS),
            *level_indexes("audit_kind", "actor_kind", levels=_LEVELS),
            *level_indexes("audit_action", "action", levels=_LEVELS),
        ]

    def __str__(self) -> str:
        return f"{self.object_name}: {self.action.replace('_', ' ')}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Audit entries are never changed.")
        super().save(*args, **kwargs)
