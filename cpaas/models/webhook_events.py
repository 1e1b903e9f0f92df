"""What carriers told us, as received (kept 14 days), and receipts that came before their message (kept 24 h)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from portal.models.base import Row

# What nobody got: it came to no number of ours, or could not be read; also when it was taken in since.
DEAD = ("unassigned", "unreadable")
_DEAD = models.Q(state__in=(*DEAD, "replayed"))


class WebhookEvent(Row):
    """One authenticated webhook call. `nonce` makes a replay visible: the same with another body is a forgery.

    `body` is removed with the messages it brought (R18). `word` is the carrier's own for a text's fate. Of a text that
    came to no number of ours (`unassigned`), `sender`, `recipient` and `text` are kept too: it is in no other table.
    What could not be read is kept, and cut, as `unreadable`. Both wait to be replayed (dead_letters.py).
    """

    platform = models.ForeignKey("cpaas.CpaasPlatform", models.CASCADE, related_name="+", db_index=False)
    nonce = models.CharField(max_length=200)
    body_digest = models.CharField(max_length=64)
    body = models.BinaryField()
    content_type = models.CharField(max_length=100, blank=True, default="")
    sid = models.CharField(max_length=100, blank=True, default="")
    state = models.CharField(
        max_length=12,
        choices=[
            ("applied", "Applied"),
            ("duplicate", "Duplicate"),
            ("unassigned", "Unassigned"),
            ("parked", "Parked"),
            ("ignored", "Ignored"),
            ("unreadable", "Unreadable"),
            ("replayed", "Replayed"),
        ],
    )
    word = models.CharField(max_length=60, blank=True, default="", db_default="")
    sender = models.CharField(max_length=32, blank=True, default="", db_default="")
    recipient = models.CharField(max_length=32, blank=True, default="", db_default="")
    text = models.TextField(blank=True, default="", db_default="")

    tenant_paths: ClassVar[dict[str, str]] = {"system_provider": "platform__system_provider_id"}

    class Meta:
        verbose_name = "webhook event"
        constraints = [models.UniqueConstraint(fields=["platform", "nonce"], name="webhook_platform_nonce")]
        indexes = [
            models.Index(fields=["platform", "id"], name="webhook_platform_id"),
            models.Index(fields=["created_at"], name="webhook_created"),
            models.Index(fields=["platform", "sid"], name="webhook_platform_sid"),
            models.Index(fields=["id"], condition=_DEAD, name="webhook_dead"),
            models.Index(fields=["platform", "id"], condition=_DEAD, name="webhook_dead_platform"),
        ]

    def __str__(self) -> str:
        return f"{self.state} {self.sid}"


class ParkedReceipt(models.Model):
    """A receipt whose message id is not known yet; applied when the answer to the send is stored (R21)."""

    platform = models.ForeignKey("cpaas.CpaasPlatform", models.CASCADE, related_name="+", db_index=False)
    sid = models.CharField(max_length=100)
    status = models.CharField(max_length=12)
    error_code = models.CharField(max_length=60, blank=True, default="")
    error_text = models.CharField(max_length=300, blank=True, default="")
    opted_out = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["platform", "sid"], name="parked_platform_sid"),
            models.Index(fields=["created_at"], name="parked_created"),
        ]

    def __str__(self) -> str:
        return f"{self.sid} {self.status}"
