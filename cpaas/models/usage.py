"""How much was accepted for sending, in segments: what the spending limits count (R39)."""

from __future__ import annotations

from django.db import models


class SegmentUsage(models.Model):
    """Of a number, or of a platform whose whole traffic is limited; `owner_id` is its id.

    `segments` were accepted on `day`, a day of the tenant's zone. `arrival_at` is the theoretical arrival time of the
    minute's bucket (GCRA). An alert mail went out for `alerted_on`. Changed under the number's lock, in the transaction
    that accepts the text, so a crash counts neither too much nor too little. Without a constraint, as `NumberPace`.
    """

    owner_id = models.UUIDField(primary_key=True)
    day = models.DateField()
    segments = models.PositiveIntegerField(default=0)
    arrival_at = models.DateTimeField()
    alerted_on = models.DateField(null=True)

    def __str__(self) -> str:
        return f"{self.owner_id}: {self.segments} on {self.day}"
