"""Conversations: all texts between one own number and one remote party (S1.20)."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models.functions import Right

from portal.models.base import Row

# Of a conversation that never sent anything.
NO_PLATFORM = uuid.UUID(int=0)


class Conversation(Row):
    """Made by its first message. `user` is a copy of the number's user, for the list a client pages through; of a
    media stream's conversation it is the agent who has reserved it, null while nobody has (S4.3).

    `last_message_at` is null while there is nothing the user may see (held or suppressed texts only, R8).
    `last_position` numbers the messages in order of acceptance. Messages up to `read_position` are read; `new_count`
    counts received ones above it; `message_count` counts all. `outbox_at` is when a dispatcher should look here next:
    null when nothing waits, in the future while a dispatcher has its next text ready or at the carrier (one text at a
    time, R35) or while it backs off (R32). `outbox_platform` is the id of the platform what waits goes through: texts
    are taken fairly over the platforms (claiming.py).
    """

    number = models.ForeignKey("cpaas.CpaasNumber", models.CASCADE, related_name="conversations", db_index=False)
    remote = models.CharField(max_length=32)
    user = models.ForeignKey(
        "portal.EndUser", models.DO_NOTHING, null=True, related_name="+", db_index=False, db_constraint=False
    )
    last_message_at = models.DateTimeField(null=True)
    last_received_at = models.DateTimeField(null=True)
    last_position = models.PositiveIntegerField(default=0)
    read_position = models.PositiveIntegerField(default=0)
    new_count = models.PositiveIntegerField(default=0)
    message_count = models.PositiveIntegerField(default=0)
    outbox_at = models.DateTimeField(null=True)
    outbox_platform = models.UUIDField(default=NO_PLATFORM, db_default=NO_PLATFORM)

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "number__system_provider_id",
        "reseller": "number__reseller_id",
        "group": "number__group_id",
        "user": "user_id",
    }
    shared_paths: ClassVar[dict[str, tuple[str, str]]] = {"user": ("number", "media_stream__agents")}

    class Meta:
        constraints = [models.UniqueConstraint(fields=["number", "remote"], name="conversation_number_remote")]
        indexes = [
            models.Index(fields=["user", "last_message_at", "id"], name="conversation_user_last"),
            models.Index(fields=["number", "last_message_at", "id"], name="conversation_number_last"),
            models.Index(
                fields=["user", "last_message_at", "id"],
                condition=models.Q(new_count__gt=0),
                name="conversation_user_new",
            ),
            # Remote parties are searched by their last digits, those texted last first.
            models.Index(Right("remote", 4), "last_message_at", name="conversation_last_four"),
            models.Index(
                fields=["outbox_platform", "outbox_at"],
                condition=models.Q(outbox_at__isnull=False),
                name="conversation_outbox_platform",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number_id} with {self.remote}"
