"""Answers kept for 24 h, so that a POST repeated with the same Idempotency-Key does nothing twice (contracts 0)."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class IdempotencyKey(models.Model):
    """`owner` is the id of the token's owner. `status` None: the first request is still running."""

    owner = models.UUIDField()
    path = models.CharField(max_length=200)
    key = models.CharField(max_length=200)
    body_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.JSONField(null=True)
    object_id = models.UUIDField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "path", "key"], name="idempotency_owner_path_key")]
        indexes = [
            models.Index(fields=["created_at"], name="idempotency_created"),
            models.Index(fields=["object_id"], name="idempotency_object"),
        ]

    def __str__(self) -> str:
        return f"{self.path} {self.key}"
