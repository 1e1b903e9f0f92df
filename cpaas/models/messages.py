"""Messages and the attempts to send them."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db import models

from cpaas.states import MessageStatus
from portal.models.base import Row


class Message(Row):
    """One text, in or out. `created_at` is when it was accepted or received, and what retention counts from (R18).

    `number` and `user` are copies of the conversation's, kept so, so that lists and deletion by number need no join
    (and need no constraint: a user with a number cannot be deleted). So are the ids of the number's levels, by which
    each level's log is an index range; empty only in rows of an older release (placing.py). For inbound texts `sid` is
    the carrier's id, and with `number` the key that makes a doubled webhook harmless, and `media_urls` where the
    carrier has its files. `file_count` is how many rows of Attachment it has, so that the many without any need no look
    for them.
    """

    conversation = models.ForeignKey("cpaas.Conversation", models.CASCADE, related_name="messages", db_index=False)
    number = models.ForeignKey("cpaas.CpaasNumber", models.CASCADE, related_name="messages", db_index=False)
    user = models.ForeignKey(
        "portal.EndUser", models.DO_NOTHING, null=True, related_name="+", db_index=False, db_constraint=False
    )
    position = models.PositiveIntegerField()
    direction = models.CharField(max_length=3, choices=[("in", "In"), ("out", "Out")])
    status = models.CharField(max_length=12, choices=MessageStatus.choices)
    kind = models.CharField(max_length=3, choices=[("sms", "SMS"), ("mms", "MMS")], default="sms")
    remote = models.CharField(max_length=32)
    text = models.TextField(blank=True, default="")
    encoding = models.CharField(max_length=4, choices=[("gsm7", "GSM-7"), ("ucs2", "UCS-2")], default="gsm7")
    segments = models.PositiveSmallIntegerField(default=1)
    characters = models.PositiveIntegerField(default=0)
    media_urls = models.JSONField(default=list)
    file_count = models.PositiveSmallIntegerField(default=0, db_default=0)
    sid = models.CharField(max_length=100, blank=True, default="")
    error_code = models.CharField(max_length=60, blank=True, default="")
    error_text = models.CharField(max_length=300, blank=True, default="")
    sent_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    system_provider_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]
    reseller_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]
    group_id: uuid.UUID | None = models.UUIDField(null=True)  # type: ignore[assignment]

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "group_id",
        "user": "user_id",
    }
    shared_paths: ClassVar[dict[str, tuple[str, str]]] = {"user": ("number", "media_stream__agents")}

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "position"], name="message_position"),
            models.UniqueConstraint(
                fields=["number", "sid"], condition=models.Q(direction="in"), name="message_inbound_sid"
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="message_created"),
            models.Index(fields=["number", "id"], condition=models.Q(status="held"), name="message_held"),
            models.Index(
                fields=["created_at", "number"],
                condition=models.Q(direction="out", status__in=["failed", "undelivered"]),
                name="message_not_delivered",
            ),
            # The log of each level, of one status or of several merged (message_log.py).
            models.Index(fields=["system_provider_id", "status", "id"], name="message_log_sp"),
            models.Index(fields=["reseller_id", "status", "id"], name="message_log_reseller"),
            models.Index(fields=["group_id", "status", "id"], name="message_log_group"),
            models.Index(fields=["number", "status", "id"], name="message_log_number"),
            models.Index(fields=["id"], condition=models.Q(system_provider_id=None), name="message_unplaced"),
        ]

    def __str__(self) -> str:
        return f"{self.direction} {self.status} {self.id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            self.system_provider_id = self.number.system_provider_id
            self.reseller_id, self.group_id = self.number.reseller_id, self.number.group_id
        super().save(*args, **kwargs)


class Attempt(Row):
    """One try to hand an outbound message to the carrier; a resend is a new one (R22). States by `cpaas.states`.

    `position` is its place in the conversation's queue, drawn from the same counter as the messages' (R35).
    `claim` is made anew by the dispatcher that takes the attempt and stands in the WHERE of what it writes, so that a
    dispatcher that wakes up late changes nothing. `sending` is committed before the request goes out (R32). `sid` is
    the carrier's id of the text, or of the first of its `part_count` messages.
    """

    message = models.ForeignKey(Message, models.CASCADE, related_name="attempts", db_index=False)
    conversation = models.ForeignKey(
        "cpaas.Conversation", models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    platform = models.ForeignKey(
        "cpaas.CpaasPlatform", models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    n = models.PositiveSmallIntegerField(default=1)
    position = models.PositiveIntegerField()
    status = models.CharField(max_length=12, choices=MessageStatus.choices, default=MessageStatus.QUEUED)
    sid = models.CharField(max_length=100, blank=True, default="")
    part_count = models.PositiveSmallIntegerField(default=1, db_default=1)
    error_code = models.CharField(max_length=60, blank=True, default="")
    error_text = models.CharField(max_length=300, blank=True, default="")
    tries = models.PositiveSmallIntegerField(default=0)
    claim = models.UUIDField(null=True)
    sending_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    checks = models.PositiveSmallIntegerField(default=0)
    next_check_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(null=True)

    tenant_paths: ClassVar[dict[str, str]] = {
        f"{level}": f"message__{path}" for level, path in Message.tenant_paths.items()
    }

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "n"], name="attempt_message_n")]
        indexes = [
            models.Index(
                fields=["conversation", "position"],
                condition=models.Q(status__in=["queued", "sending"]),
                name="attempt_waiting",
            ),
            models.Index(fields=["platform", "sid"], condition=~models.Q(sid=""), name="attempt_platform_sid"),
            models.Index(fields=["expires_at"], condition=models.Q(status="queued"), name="attempt_expiry"),
            models.Index(fields=["sending_at"], condition=models.Q(status="sending"), name="attempt_sending"),
            models.Index(
                fields=["next_check_at"],
                condition=models.Q(status__in=["unknown", "sent"], next_check_at__isnull=False),
                name="attempt_look_up_due",
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.n} of {self.message_id}: {self.status}"
