"""The messages a text went out in when its carrier does not take it whole (R21)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from cpaas.models.messages import Attempt
from cpaas.states import MessageStatus
from portal.models.base import Row


class AttemptPart(Row):
    """One of several messages of an attempt, in their order, each with its own id and fate.

    Without constraints, as it is deleted with its attempt by whoever deletes that, many at a time.
    """

    attempt = models.ForeignKey(Attempt, models.DO_NOTHING, related_name="parts", db_index=False, db_constraint=False)
    platform = models.ForeignKey(
        "cpaas.CpaasPlatform", models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    n = models.PositiveSmallIntegerField()
    sid = models.CharField(max_length=100)
    status = models.CharField(max_length=12, choices=MessageStatus.choices, default=MessageStatus.SENT)

    tenant_paths: ClassVar[dict[str, str]] = {
        f"{level}": f"attempt__{path}" for level, path in Attempt.tenant_paths.items()
    }

    class Meta:
        constraints = [models.UniqueConstraint(fields=["attempt", "n"], name="attempt_part_n")]
        indexes = [models.Index(fields=["platform", "sid"], name="attempt_part_sid")]

    def __str__(self) -> str:
        return f"part {self.n} of {self.attempt_id}: {self.status}"
