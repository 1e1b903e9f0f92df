"""Texts that cross between XMPP and the carriers: what came from where, and what is still to be said.

None of these rows holds a text. Messages and conversations are cpaas's; their ids are kept without a constraint, since
they are deleted without asking us, and rows that nobody needs any more go with the next tidying.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from portal.models.base import Row
from portal.scoping import TenantModel
from xmpp.states import GatewayState


class GatewayMember(TenantModel):
    """A user whose texts the gateway passes on, since then. Made and removed as accounts and gateway go on and off."""

    account = models.OneToOneField("xmpp.ImpAccount", models.CASCADE, primary_key=True, related_name="gateway_member")
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "SMS gateway user"

    def __str__(self) -> str:
        return str(self.pk)


class GatewayThread(TenantModel):
    """How far a conversation (cpaas, by its id) of a member has been passed on.

    Positions are taken under the conversation's lock, so they come in commit order and none is ever overlooked behind
    a later one. `hinted`: the user's server refused a text of this remote, and the user was asked to let it through.
    """

    conversation_id = models.UUIDField(primary_key=True)
    member = models.ForeignKey(GatewayMember, models.CASCADE, related_name="threads")
    position = models.PositiveIntegerField(default=0)
    hinted = models.BooleanField(default=False)

    class Meta:
        verbose_name = "SMS gateway conversation"

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.position}"


class TextToXmpp(Row):
    """One stanza to a user: the text of a received message (`part` 0), or one of its files (from 1).

    The id is the stanza's. `epoch` is the lease's of the gateway that has it in hand: one that comes after takes up
    what its predecessor did not finish. `tries`: how often it was in hand when the server ended the connection over
    something that was said.
    """

    account = models.ForeignKey("xmpp.ImpAccount", models.CASCADE, related_name="+", db_index=False)
    conversation_id = models.UUIDField()
    message_id = models.UUIDField()
    part = models.PositiveSmallIntegerField(default=0)
    state = models.CharField(max_length=10, choices=GatewayState.choices, default=GatewayState.QUEUED)
    epoch = models.BigIntegerField(default=0)
    tries = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True, default="")

    tenant_paths: ClassVar[dict[str, str]] = {"user": "account_id"}

    class Meta:
        verbose_name = "text to XMPP"
        constraints = [models.UniqueConstraint(fields=["message_id", "part"], name="text_to_xmpp_once")]
        indexes = [
            models.Index(
                fields=["account", "id"], condition=models.Q(state__in=["queued", "sending"]), name="text_to_xmpp_open"
            ),
            models.Index(fields=["created_at"], name="text_to_xmpp_age"),
            models.Index(fields=["account"], name="text_to_xmpp_account"),  # for deleting a user
        ]

    def __str__(self) -> str:
        return f"{self.message_id} {self.state}"


class TextFromXmpp(Row):
    """A text that a user wrote in an XMPP client, written in the transaction that queued its message.

    `jid` is the client that hears what becomes of it. `stanza_id` is the client's: the same again is the same text.
    `told`: the client knows the end.
    """

    account = models.ForeignKey("xmpp.ImpAccount", models.CASCADE, related_name="+", db_index=False)
    jid = models.CharField(max_length=1100)
    remote = models.CharField(max_length=32)
    stanza_id = models.CharField(max_length=255, blank=True, default="")
    wants_receipt = models.BooleanField(default=False)
    message_id = models.UUIDField()
    told = models.BooleanField(default=False)

    tenant_paths: ClassVar[dict[str, str]] = {"user": "account_id"}

    class Meta:
        verbose_name = "text from XMPP"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "stanza_id"], condition=~models.Q(stanza_id=""), name="text_from_xmpp_once"
            )
        ]
        indexes = [
            models.Index(fields=["account", "message_id"], condition=models.Q(told=False), name="text_from_xmpp_open"),
            models.Index(fields=["created_at"], name="text_from_xmpp_age"),
            models.Index(fields=["account"], name="text_from_xmpp_account"),  # for deleting a user
        ]

    def __str__(self) -> str:
        return f"{self.message_id} of {self.account_id}"
