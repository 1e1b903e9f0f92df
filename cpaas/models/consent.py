"""Opt-in evidence: one append-only row per answer, with the very words that were shown (S1.7, S1.62, R3)."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db import models

from portal.indexes import level_indexes
from portal.models.base import Row

STATE_OF_ANSWER = {"yes": "accepted", "no": "declined", "cancel": "postponed"}


class OptInEvidence(Row):
    """Outlives number, user and tenant (R18), so it holds their names beside ids without a constraint.

    The database itself refuses UPDATE and DELETE (a trigger made by the migrations).
    """

    number_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    tn = models.CharField(max_length=20)
    cycle = models.PositiveIntegerField()
    answer = models.CharField(max_length=10, choices=[("yes", "Yes"), ("no", "No"), ("cancel", "Cancel")])
    user_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]
    user_name = models.CharField(max_length=160, blank=True, default="")
    user_login = models.CharField(max_length=160, blank=True, default="")
    actor_kind = models.CharField(max_length=10)
    actor_id = models.UUIDField(null=True)
    actor_name = models.CharField(max_length=160)
    prompt_text = models.TextField(blank=True, default="")
    client = models.CharField(max_length=200, blank=True, default="")
    ip = models.GenericIPAddressField(null=True)
    system_provider_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    reseller_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    group_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "group_id",
    }

    class Meta:
        verbose_name = "opt-in evidence"
        verbose_name_plural = "opt-in evidence"
        indexes = [
            models.Index(fields=["number_id", "id"], name="evidence_number_id"),
            models.Index(fields=["tn", "id"], name="evidence_tn_id"),
            models.Index(fields=["system_provider_id", "id"], name="evidence_sp_id"),
            models.Index(fields=["reseller_id", "id"], name="evidence_reseller_id"),
            models.Index(fields=["group_id", "id"], name="evidence_group_id"),
            *level_indexes("evidence_answer", "answer", levels=("system_provider_id", "reseller_id")),
        ]

    def __str__(self) -> str:
        return f"{self.tn} {self.answer}"

    @property
    def state(self) -> str:
        """The opt-in state the answer led to (R3)."""
        return STATE_OF_ANSWER[self.answer]

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Opt-in evidence is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("Opt-in evidence is never deleted.")
