"""The queue of a media stream: who waits, whom it was offered to, and which agents could take it (S4.3)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from portal.models.base import Row
from portal.scoping import TenantModel


class QueueState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    OFFERED = "offered", "Offered"
    RESERVED = "reserved", "Reserved"


class QueueEntry(Row):
    """A conversation of a media stream that waits for an agent or has one. It ends with the reservation (`close`).

    Made in the transaction of the text that starts it, or right after it. `reserved_by` is also the conversation's
    `user`, changed in the same transaction. The constraints are left out because the conversation's lock, and the
    number's, already keep what is referred to (and texts come in through here).
    """

    media_stream = models.ForeignKey(
        "cpaas.MediaStream", models.CASCADE, related_name="queue", db_index=False, db_constraint=False
    )
    conversation = models.OneToOneField(
        "cpaas.Conversation", models.DO_NOTHING, related_name="queue_entry", db_constraint=False
    )
    state = models.CharField(max_length=10, choices=QueueState.choices, default=QueueState.WAITING)
    waiting_since = models.DateTimeField()
    reserved_by = models.ForeignKey(
        "portal.EndUser", models.DO_NOTHING, null=True, related_name="+", db_index=False, db_constraint=False
    )
    reserved_at = models.DateTimeField(null=True)

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "media_stream__system_provider_id",
        "reseller": "media_stream__reseller_id",
        "group": "media_stream__group_id",
        "user": "media_stream__agents",
    }

    class Meta:
        verbose_name = "queue entry"
        indexes = [
            models.Index(fields=["media_stream", "waiting_since", "id"], name="queue_stream_since"),
            models.Index(fields=["media_stream", "state", "waiting_since", "id"], name="queue_stream_state"),
            models.Index(fields=["reserved_by"], condition=models.Q(state="reserved"), name="queue_reserved"),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.state}"


class OfferState(models.TextChoices):
    OPEN = "open", "Open"
    DECLINED = "declined", "Declined"
    EXPIRED = "expired", "Expired"


class QueueOffer(Row):
    """A waiting conversation offered to one agent until `expires_at`.

    Offers that were declined or timed out stay as long as the round lasts: whoever has one was asked already.
    """

    entry = models.ForeignKey(QueueEntry, models.CASCADE, related_name="offers", db_index=False)
    agent = models.ForeignKey("portal.EndUser", models.CASCADE, related_name="+", db_index=False)
    state = models.CharField(max_length=10, choices=OfferState.choices, default=OfferState.OPEN)
    expires_at = models.DateTimeField()

    tenant_paths: ClassVar[dict[str, str]] = {
        level: f"entry__{path}" for level, path in QueueEntry.tenant_paths.items()
    }

    class Meta:
        verbose_name = "offer"
        constraints = [models.UniqueConstraint(fields=["entry", "agent"], name="offer_entry_agent")]
        indexes = [
            models.Index(fields=["agent"], condition=models.Q(state="open"), name="offer_of_agent"),
            models.Index(fields=["expires_at"], condition=models.Q(state="open"), name="offer_due"),
        ]

    def __str__(self) -> str:
        return f"{self.entry_id} to {self.agent_id}: {self.state}"


class AgentPresence(TenantModel):
    """An agent's sign of life: available until then, unless it is renewed, and idle since then.

    A process that is killed renews nothing, so nobody stays available by accident.
    """

    agent = models.OneToOneField("portal.EndUser", models.CASCADE, primary_key=True, related_name="+")
    available_until = models.DateTimeField(db_index=True)
    idle_since = models.DateTimeField()

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "agent__system_provider_id",
        "reseller": "agent__reseller_id",
        "group": "agent__group_id",
    }

    def __str__(self) -> str:
        return f"{self.agent_id} until {self.available_until}"


class AgentTurn(models.Model):
    """When a media stream last offered something to an agent: whose turn is longest ago is next (round robin)."""

    media_stream = models.ForeignKey("cpaas.MediaStream", models.CASCADE, related_name="+", db_index=False)
    agent = models.ForeignKey("portal.EndUser", models.CASCADE, related_name="+")
    offered_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["media_stream", "agent"], name="turn_stream_agent")]

    def __str__(self) -> str:
        return f"{self.media_stream_id} {self.agent_id} {self.offered_at}"
