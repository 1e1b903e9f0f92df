"""Who watches whose XMPP presence (S0.25-S0.31)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from portal.models.base import Row
from xmpp.states import Direction, SubscriptionState


class Subscription(Row):
    """A user's side of a roster entry. `peer` is set when the JID is that of one of our users.

    `wish` is what the bridge still has to say to the server: a presence type, "" when all is said. Of an `out` that is
    accepted, `show`, `message` and `presence_at` are the peer's state as the user's session hears it.
    """

    user = models.ForeignKey("portal.EndUser", models.CASCADE, related_name="xmpp_subscriptions")
    jid = models.CharField("JID", max_length=320)
    peer = models.ForeignKey("portal.EndUser", models.SET_NULL, null=True, related_name="+")
    direction = models.CharField(max_length=3, choices=Direction.choices)
    state = models.CharField(max_length=10, choices=SubscriptionState.choices, default=SubscriptionState.PENDING)
    automatic = models.BooleanField(default=False, help_text="Made by auto-subscribe, not by the user.")
    at = models.DateTimeField(default=timezone.now)
    may_retry_at = models.DateTimeField(null=True)
    wish = models.CharField(max_length=12, blank=True, default="")
    show = models.CharField(max_length=12, blank=True, default="")
    message = models.CharField(max_length=500, blank=True, default="")
    presence_at = models.DateTimeField(null=True)

    tenant_paths: ClassVar[dict[str, str]] = {"user": "user_id"}

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "jid", "direction"], name="subscription_once")]
        indexes = [
            models.Index(fields=["user", "id"], name="subscription_user_id"),
            models.Index(fields=["peer", "user"], condition=models.Q(direction="out"), name="subscription_peer"),
            models.Index(fields=["user"], condition=~models.Q(wish=""), name="subscription_wish"),
        ]

    def __str__(self) -> str:
        return f"{self.direction} {self.jid}"
