"""The event stream of each user: numbered news of what changed (architecture section 5)."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class EventStream(models.Model):
    """The last event number given to a user. Raised in the transaction of the change: numbers come in commit order."""

    user = models.OneToOneField("portal.EndUser", models.CASCADE, primary_key=True, related_name="+")
    last_id = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.user_id}: {self.last_id}"


class Event(models.Model):
    """That something happened to an object. What it looks like is read when the event is, so nothing stale is kept."""

    user = models.ForeignKey("portal.EndUser", models.CASCADE, related_name="+", db_index=False)
    number = models.BigIntegerField()
    type = models.CharField(max_length=40)
    object_id = models.UUIDField()
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "number"], name="event_user_number")]
        indexes = [models.Index(fields=["at"], name="event_at")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.number} {self.type}"
