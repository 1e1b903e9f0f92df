"""The words for where things stand in IM and XMPP, and which may follow which."""

from __future__ import annotations

from django.db import models


class AccountStatus(models.TextChoices):
    """How a user's XMPP session stands (contracts section 6, `xmpp/`)."""

    OFFLINE = "offline", "Offline"
    CONNECTING = "connecting", "Connecting"
    ONLINE = "online", "Online"
    RECONNECTING = "reconnecting", "Reconnecting"
    AUTHENTICATION_FAILED = "authentication_failed", "Authentication failed"
    TLS_FAILED = "tls_failed", "TLS failed"
    DISABLED = "disabled", "Disabled"


# What holds only while a bridge keeps the session: it ends with the worker, which may have no time to say so.
LIVE = (AccountStatus.CONNECTING, AccountStatus.ONLINE, AccountStatus.RECONNECTING)
# Ended at once by a change of the account or of its server. A refused password is tried again by nothing else, since a
# second attempt may lock the account; a server without trustworthy TLS is asked again every few minutes.
TERMINAL = (AccountStatus.AUTHENTICATION_FAILED, AccountStatus.TLS_FAILED)


class PasswordState(models.TextChoices):
    """Whether we have the password, and whether the device configuration file of UC-One has it too (S0.22)."""

    NONE = "none", "None"
    SET = "set", "Set"
    DEVICE_CONFIG_PENDING = "device_config_pending", "Device configuration pending"


class Work(models.TextChoices):
    """What is left to do at BroadWorks for an account.

    `generate`: make a random password and set it (S0.18). `restore`: set the present password again, because a change
    to another one was given up without knowing whether it had been made; where there is none yet, that other one.
    `device`: put the password into the device configuration file (S0.22). `name`: find out the IM&P ID.
    """

    GENERATE = "generate", "Generate a password"
    RESTORE = "restore", "Restore the password"
    DEVICE = "device", "Update the device configuration"
    NAME = "name", "Find out the IM&P ID"


class SubscriptionState(models.TextChoices):
    """A presence subscription (S0.25-S0.28). `removed` is a tombstone: nothing subscribes again by itself."""

    PENDING = "pending", "Pending"
    ACCEPTED = "accepted", "Accepted"
    DECLINED = "declined", "Declined"
    REMOVED = "removed", "Removed"


class Direction(models.TextChoices):
    """`out`: the user watches the peer. `in`: the peer watches the user."""

    OUT = "out", "Out"
    IN = "in", "In"


class ChatStateName(models.TextChoices):
    """What a client of ours says of its user's writing (XEP-0085)."""

    COMPOSING = "composing", "Composing"
    PAUSED = "paused", "Paused"
    ACTIVE = "active", "Active"


class MessageStatus(models.TextChoices):
    """What became of an instant message, as its sender sees it."""

    SENT = "sent", "Sent"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"


class DeliveryState(models.TextChoices):
    """What became of the stanza of a message. Moves forward only, in the order of `DELIVERY_ORDER`."""

    QUEUED = "queued", "Queued"
    SENDING = "sending", "Sending"
    SENT = "sent", "Sent"
    ACKED = "acked", "Acknowledged by the server"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"


# `sending` is committed before the stanza is written; `sent` means written; `acked` that the server has it (XEP-0198,
# or found in the archive); `delivered` that a client of the peer has it (XEP-0184): a late error changes nothing then.
DELIVERY_ORDER = [
    DeliveryState.QUEUED,
    DeliveryState.SENDING,
    DeliveryState.SENT,
    DeliveryState.ACKED,
    DeliveryState.FAILED,
    DeliveryState.DELIVERED,
]


def before(state: DeliveryState) -> list[DeliveryState]:
    """The states from which a delivery may move to `state`."""
    return DELIVERY_ORDER[: DELIVERY_ORDER.index(state)]


class GatewayState(models.TextChoices):
    """Of a received text on its way to XMPP. `sent`: the server has it. Two go back to `queued`: `sending` when the
    connection broke before the server confirmed, `deferred` when it is time to try again what the server could not
    take."""

    QUEUED = "queued", "Queued"
    SENDING = "sending", "Sending"
    SENT = "sent", "Sent"
    DEFERRED = "deferred", "Deferred"
    FAILED = "failed", "Failed"
    DELIVERED = "delivered", "Delivered"


class GatewayStatus(models.TextChoices):
    """How the gateway of a system provider stands with the XMPP server."""

    DISABLED = "disabled", "Disabled"
    CONNECTING = "connecting", "Connecting"
    ONLINE = "online", "Online"
    REFUSED = "refused", "Refused"
    UNREACHABLE = "unreachable", "Unreachable"
