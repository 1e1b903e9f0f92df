"""STOP: a remote party that wants no more texts from an own number (R20), and the evidence of it.

Both outlive number, user and messages, so they hold telephone numbers, and ids without a constraint. They belong to the
system provider: another one that gets the same number later starts anew.
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db import models

from portal.models.base import Row

_LEVELS = {"system_provider": "system_provider_id", "reseller": "reseller_id", "group": "group_id"}


class _OfPair(Row):
    """What the two have in common: the pair, the levels it belongs to, and the last word on it.

    `keyword` is what the remote wrote, spelled as in R20; `carrier_code` the carrier's error that told of it instead.
    `message_id` is the text that said so, or that was refused; it is deleted as any other, so the id may lead nowhere.
    """

    tn = models.CharField(max_length=20)
    remote = models.CharField(max_length=32)
    stopped = models.BooleanField()
    keyword = models.CharField(max_length=20, blank=True, default="")
    carrier_code = models.CharField(max_length=60, blank=True, default="")
    message_id = models.UUIDField(null=True)
    system_provider_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    reseller_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    group_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]

    tenant_paths: ClassVar[dict[str, str]] = _LEVELS

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.remote} {'stopped' if self.stopped else 'reopened'} {self.tn}"


class Stop(_OfPair):
    """How a pair of own number and remote stands now; `at` is when that was said.

    `reply_id` is the one automatic answer to this stop, the only text that may still go to the remote.
    """

    at = models.DateTimeField()
    reply_id = models.UUIDField(null=True)

    class Meta:
        verbose_name = "stop"
        constraints = [models.UniqueConstraint(fields=["system_provider_id", "tn", "remote"], name="stop_pair")]
        indexes = [
            models.Index(fields=["tn", "id"], name="stop_tn_id"),
            models.Index(fields=["remote", "id"], name="stop_remote_id"),
            models.Index(fields=["system_provider_id", "id"], name="stop_sp_id"),
            models.Index(fields=["reseller_id", "id"], name="stop_reseller_id"),
            models.Index(fields=["group_id", "id"], name="stop_group_id"),
        ]


class StopEvidence(_OfPair):
    """One row for each change of a pair; the database itself refuses UPDATE and DELETE (a trigger, as for opt-in)."""

    number_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]

    class Meta:
        verbose_name = "stop evidence"
        verbose_name_plural = "stop evidence"
        indexes = [models.Index(fields=["system_provider_id", "tn", "remote", "id"], name="stop_evidence_pair")]

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Stop evidence is never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("Stop evidence is never deleted.")
