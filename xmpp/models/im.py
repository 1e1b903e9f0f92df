"""Instant messages, whatever platform carried them: one conversation for the same people (S0.2, S0.36)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from portal.models.base import Row
from portal.scoping import TenantModel
from xmpp.states import ChatStateName, DeliveryState, MessageStatus


class ImConversation(Row):
    """People who write to each other. All its users share it; what differs between them is in `ImParticipant`.

    `key` names all of them, whoever began: the same people have one conversation of two, or one group.
    """

    key = models.CharField(max_length=64, unique=True, editable=False)
    is_group = models.BooleanField(default=False)

    tenant_paths: ClassVar[dict[str, str]] = {"user": "participants__user_id"}

    class Meta:
        verbose_name = "IM conversation"

    def __str__(self) -> str:
        return str(self.pk)


class ImParticipant(Row):
    """One of a conversation: a user of ours, who may have a JID too, or a JID of somebody else (`user` None).

    Of a user also what the conversation looks like to them: `last_message_at` puts it into their list, None keeps it
    out of it; `new_count` are received messages not yet read.
    """

    conversation = models.ForeignKey(ImConversation, models.CASCADE, related_name="participants", db_index=False)
    user = models.ForeignKey("portal.EndUser", models.CASCADE, null=True, related_name="+", db_index=False)
    jid = models.CharField(max_length=320, blank=True, default="", help_text="Bare, of who is not a user of ours.")
    last_message_at = models.DateTimeField(null=True)
    last_received_at = models.DateTimeField(null=True)
    new_count = models.PositiveIntegerField(default=0)
    docked = models.BooleanField(default=True)

    tenant_paths: ClassVar[dict[str, str]] = {"user": "user_id"}

    class Meta:
        verbose_name = "IM conversation"
        constraints = [
            models.UniqueConstraint(fields=["conversation", "user"], name="im_participant_user_once"),
            models.UniqueConstraint(
                fields=["conversation", "jid"], condition=~Q(jid=""), name="im_participant_jid_once"
            ),
            models.CheckConstraint(condition=Q(user=None) ^ Q(jid=""), name="im_participant_is_one"),
        ]
        indexes = [
            # Of all, so that it serves a user's deletion too.
            models.Index(fields=["user", "-last_message_at", "-id"], name="im_participant_list")
        ]

    def __str__(self) -> str:
        return self.jid or str(self.user_id)


class ImChatState(TenantModel):
    """Whether one of a conversation of two is writing at the moment (XEP-0085). Of no worth a minute later; beside the
    participant, whose row the messages themselves change.

    `composing_at` is when it was heard last, None when they have stopped; a message they sent after that ends it too.
    `state` is what a client of ours said last, at `said_at`. While `is_due` the bridge has to say it to `to_jid`.
    """

    participant = models.OneToOneField(ImParticipant, models.CASCADE, primary_key=True, related_name="+")
    composing_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=9, choices=ChatStateName.choices, default=ChatStateName.ACTIVE)
    said_at = models.DateTimeField(null=True)
    to_jid = models.CharField(max_length=320, blank=True, default="")
    is_due = models.BooleanField(default=False)

    class Meta:
        verbose_name = "chat state"
        indexes = [
            models.Index(
                fields=["composing_at"], condition=Q(composing_at__isnull=False), name="im_chat_state_composing"
            ),
            models.Index(fields=["said_at"], condition=Q(is_due=True), name="im_chat_state_due"),
        ]

    def __str__(self) -> str:
        return f"{self.participant_id} {self.state}"


class ImMessage(Row):
    """One message, once for all who see it. What we send goes out with the row's id as its origin id; of what others
    send, `origin_id` is theirs (XEP-0359, else the stanza's id), and `sender_jid` their bare JID.

    `only_sender`: sent by one of our users with priority *XMPP only*, so that their peer has it in UC-One but not here
    (S0.34). A message to a group is seen by its sender and by those in `receivers`, who were online when it was sent
    (S0.3). `via_own` and `via_xmpp`: the platforms that carried it. `at` is when it was sent, by the delay stamp.
    """

    conversation = models.ForeignKey(ImConversation, models.CASCADE, related_name="messages", db_index=False)
    sender = models.ForeignKey("portal.EndUser", models.SET_NULL, null=True, related_name="+", db_index=False)
    sender_jid = models.CharField(max_length=320, blank=True, default="")
    text = models.TextField()
    origin_id = models.CharField(max_length=255, blank=True, default="")
    client_id = models.CharField(max_length=255, blank=True, default="")
    at = models.DateTimeField(default=timezone.now)
    via = models.CharField(max_length=8, default="direct")
    via_own = models.BooleanField(default=False)
    via_xmpp = models.BooleanField(default=False)
    only_sender = models.BooleanField(default=False)
    status = models.CharField(max_length=10, choices=MessageStatus.choices, default=MessageStatus.SENT)
    error = models.CharField(max_length=300, blank=True, default="")

    tenant_paths: ClassVar[dict[str, str]] = {"user": "conversation__participants__user_id"}

    class Meta:
        verbose_name = "instant message"
        constraints = [
            # Stanzas without any id are told apart by their archive ids.
            models.UniqueConstraint(
                fields=["conversation", "sender_jid", "origin_id"],
                condition=~Q(origin_id=""),
                name="im_message_once",
            ),
            models.UniqueConstraint(fields=["sender", "client_id"], condition=~Q(client_id=""), name="im_client_id"),
        ]
        indexes = [
            models.Index(fields=["conversation", "-id"], name="im_message_conversation"),
            models.Index(fields=["created_at"], name="im_message_created_at"),
            models.Index(fields=["sender"], name="im_message_sender"),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class ImReceiver(TenantModel):
    """A member of a group who was online when a message was sent to it, and so has it."""

    message = models.ForeignKey(ImMessage, models.CASCADE, related_name="receivers", db_index=False)
    user = models.ForeignKey("portal.EndUser", models.CASCADE, related_name="+")

    tenant_paths: ClassVar[dict[str, str]] = {"user": "user_id"}

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "user"], name="im_receiver_once")]

    def __str__(self) -> str:
        return str(self.user_id)


class XmppDelivery(TenantModel):
    """The outbox of the bridge: the stanza of a message, which the session of `account` sends to `to_jid`.

    `state` moves forward only (xmpp.states). The message's id is the stanza's id and origin id, so that whoever has it
    already can tell when it is sent again after a crash.
    """

    message = models.OneToOneField(ImMessage, models.CASCADE, primary_key=True, related_name="delivery")
    account = models.ForeignKey("xmpp.ImpAccount", models.CASCADE, related_name="+", db_index=False)
    to_jid = models.CharField(max_length=320)
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.QUEUED)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "XMPP delivery"
        indexes = [
            models.Index(
                fields=["account", "message"],
                condition=Q(state__in=["queued", "sending", "sent"]),
                name="xmpp_delivery_open",
            ),
            # For deleting a user.
            models.Index(fields=["account"], name="xmpp_delivery_account"),
        ]

    def __str__(self) -> str:
        return f"{self.to_jid} {self.state}"


class ArchivedStanza(TenantModel):
    """That the archive of an account knows a message by this id (XEP-0359): whatever comes again with it is known."""

    account = models.ForeignKey("xmpp.ImpAccount", models.CASCADE, related_name="+", db_index=False)
    stanza_id = models.CharField(max_length=255)
    message = models.ForeignKey(ImMessage, models.CASCADE, related_name="archived")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "stanza_id"], name="archived_stanza_once")]

    def __str__(self) -> str:
        return self.stanza_id
