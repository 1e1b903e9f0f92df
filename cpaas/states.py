"""The states of messages, attempts, numbers and opt-in, and which way they move: only forward (R21).

The tables are used as SQL conditions: `UPDATE … WHERE status IN (those that may become the new one)`. A duplicate or
late word matches no row and so changes nothing.
"""

from __future__ import annotations

from django.db import models


class MessageStatus(models.TextChoices):
    QUEUED = "queued", "Queued"
    SENDING = "sending", "Sending"
    UNKNOWN = "unknown", "Unknown"
    SENT = "sent", "Sent"
    UNDELIVERED = "undelivered", "Undelivered"
    FAILED = "failed", "Failed"
    DELIVERED = "delivered", "Delivered"
    RECEIVED = "received", "Received"
    HELD = "held", "Held"
    SUPPRESSED = "suppressed", "Suppressed"
    BLOCKED = "blocked", "Blocked"


OUTBOUND = ("queued", "sending", "unknown", "sent", "undelivered", "failed", "delivered")
INBOUND = ("received", "held", "suppressed", "blocked")
RESENDABLE = ("failed", "undelivered", "unknown")

# queued < sending < unknown < sent < (undelivered, failed) < delivered (R21). The one step back, sending → queued,
# belongs to the dispatcher that holds the claim (R32) and is not in this table.
_RANK = {"queued": 0, "sending": 1, "unknown": 2, "sent": 3, "undelivered": 4, "failed": 4, "delivered": 5}


def may_become(status: str) -> tuple[str, ...]:
    """The attempt states that `status` may follow."""
    return tuple(earlier for earlier, rank in _RANK.items() if rank < _RANK[status])


class OptInState(models.TextChoices):
    PENDING = "pending", "Pending"
    ACCEPTED = "accepted", "Accepted"
    DECLINED = "declined", "Declined"
    POSTPONED = "postponed", "Postponed"
    NOT_REQUIRED = "not_required", "Not required"


OPT_IN_OPEN = ("pending", "postponed")
OPT_IN_USABLE = ("accepted", "not_required")


class NumberStatus(models.TextChoices):
    PROVISIONING = "provisioning", "Provisioning"
    ENABLED = "enabled", "Enabled"
    FAILED = "failed", "Failed"
    REMOVING = "removing", "Removing"


class HookState(models.TextChoices):
    """Where texts to a number went when the carrier was last asked (R44)."""

    OK = "ok", "Leads here"
    MISSING = "missing", "Missing"
    FOREIGN = "foreign", "Leads elsewhere"
    SET_AGAIN = "set_again", "Set again"


class Override(models.TextChoices):
    """A number's own setting over its platform's (R12)."""

    INHERIT = "inherit", "Default"
    ON = "on", "On"
    OFF = "off", "Off"
