"""Mail waiting to go out: a row in the transaction of what it tells about, sent by a task (architecture, rule 3)."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from portal.indexes import level_indexes
from portal.models.base import Row


class OutgoingMail(Row):
    """One mail to one address. `claimed_until` keeps two workers from sending it at once."""

    to = models.EmailField()
    subject = models.CharField(max_length=200)
    text = models.TextField()
    state = models.CharField(
        max_length=10, default="queued", choices=[("queued", "Queued"), ("sent", "Sent"), ("failed", "Failed")]
    )
    tries = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(default=timezone.now)
    last_error = models.CharField(max_length=200, blank=True, default="")
    sent_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["next_at"], condition=models.Q(state="queued"), name="mail_due"),
            *level_indexes("mail_state", "state", levels=()),
        ]

    def __str__(self) -> str:
        return f"{self.subject} to {self.to}"
