"""What was said between us and a carrier about an attempt, without secrets, for the message's story (S1.57)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from cpaas.models.messages import Attempt
from portal.models.base import Row


class Exchange(Row):
    """One request of an attempt and its answer, kept 14 days. Written with the attempt's outcome.

    `url` has no query and no long parts, `excerpt` is the beginning of the answer without credentials and without the
    text of the message. `status` is empty when no answer came; `error` then says why.
    """

    attempt = models.ForeignKey(
        Attempt, models.DO_NOTHING, related_name="exchanges", db_index=False, db_constraint=False
    )
    method = models.CharField(max_length=10)
    url = models.CharField(max_length=300)
    status = models.PositiveSmallIntegerField(null=True)
    excerpt = models.CharField(max_length=500, blank=True, default="")
    error = models.CharField(max_length=60, blank=True, default="")
    took_ms = models.PositiveIntegerField(default=0)

    tenant_paths: ClassVar[dict[str, str]] = {level: f"attempt__{path}" for level, path in Attempt.tenant_paths.items()}

    class Meta:
        indexes = [models.Index(fields=["attempt"], name="exchange_attempt")]

    def __str__(self) -> str:
        return f"{self.method} {self.url}: {self.status or self.error}"
