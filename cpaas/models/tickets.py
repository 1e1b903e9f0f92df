"""Tickets about messages: to the carrier or to the portal's own people (S1.59, S1.60)."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models

from portal.indexes import level_indexes
from portal.models.base import Row

_LEVELS = ("system_provider_id", "reseller_id")


class Ticket(Row):
    """A question to be answered. It outlives number and message (R18), so it has their ids without a constraint.

    `story` tells what happened to the message when the ticket was raised, line by line, never what the message says.
    """

    number_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    tn = models.CharField("CPaaS number", max_length=20)
    remote = models.CharField("other party", max_length=32, blank=True, default="")
    message_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]
    subject = models.CharField(max_length=200)
    text = models.TextField(max_length=5000)
    to = models.CharField(max_length=10, choices=[("carrier", "Carrier"), ("portal", "Portal")])
    state = models.CharField(
        max_length=10,
        default="open",
        choices=[("open", "Open"), ("answered", "Answered"), ("closed", "Closed")],
    )
    sid = models.CharField("SID", max_length=100, blank=True, default="")
    story = models.JSONField(default=list)
    raised_by = models.CharField(max_length=160)
    system_provider_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    reseller_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]
    group_id: uuid.UUID = models.UUIDField()  # type: ignore[assignment]

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "group_id",
    }

    class Meta:
        indexes = [
            models.Index(fields=["system_provider_id", "id"], name="ticket_sp_id"),
            models.Index(fields=["reseller_id", "id"], name="ticket_reseller_id"),
            models.Index(fields=["group_id", "id"], name="ticket_group_id"),
            models.Index(fields=["number_id", "id"], name="ticket_number_id"),
            models.Index(fields=["message_id", "id"], name="ticket_message_id"),
            *level_indexes("ticket_state", "state", levels=_LEVELS),
            *level_indexes("ticket_to", "to", levels=_LEVELS),
        ]

    def __str__(self) -> str:
        return self.subject


class TicketNote(Row):
    """What somebody added to a ticket."""

    ticket = models.ForeignKey(Ticket, models.CASCADE, related_name="notes", db_index=False)
    by = models.CharField(max_length=160)
    text = models.TextField(max_length=5000)

    tenant_paths: ClassVar[dict[str, str]] = {level: f"ticket__{path}" for level, path in Ticket.tenant_paths.items()}

    class Meta:
        verbose_name = "note"
        indexes = [models.Index(fields=["ticket", "id"], name="note_ticket_id")]

    def __str__(self) -> str:
        return f"Note by {self.by}"
