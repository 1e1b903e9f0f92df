"""Contact-centre media streams: a queue of a group that a number can end at (S4.3, S4.33)."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from portal.indexes import Folded, level_indexes
from portal.models.base import BelowGroup


class MediaStream(BelowGroup):
    """Its agents see it, its queue and its conversations. `offer_timeout_s`: how long one agent is asked."""

    name = models.CharField(max_length=120)
    media_type = models.CharField(max_length=10, choices=[("web_chat", "Web chat"), ("sms", "SMS")], default="sms")
    routing = models.CharField(
        max_length=15,
        choices=[("ring_all", "Ring all"), ("longest_idle", "Longest idle"), ("round_robin", "Round robin")],
        default="ring_all",
    )
    offer_timeout_s = models.PositiveSmallIntegerField(
        "offer timeout",
        default=20,
        validators=[MinValueValidator(5), MaxValueValidator(600)],
        help_text="Seconds an agent has to take a conversation before it is offered to the next; 5 to 600.",
    )
    agents = models.ManyToManyField("portal.EndUser", blank=True, related_name="media_streams")

    tenant_paths: ClassVar[dict[str, str]] = {**BelowGroup.tenant_paths, "user": "agents"}

    class Meta:
        verbose_name = "media stream"
        indexes = [
            models.Index(fields=["system_provider", "id"], name="stream_sp_id"),
            models.Index(fields=["reseller", "id"], name="stream_reseller_id"),
            models.Index(fields=["group", "id"], name="stream_group_id"),
            *level_indexes("stream_type", "media_type"),
            *level_indexes("stream_name", Folded("name")),
        ]

    def __str__(self) -> str:
        return self.name
