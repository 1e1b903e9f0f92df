"""The words of presence and what people read for them (S3.32, S3.37-S3.40, R16, R17)."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Those up to OFFLINE are states of a person, the strongest first; the others say why a source knows none."""

    DND = "dnd"
    FORWARDED_VOICEMAIL = "forwarded_voicemail"
    FORWARDED_NUMBER = "forwarded_number"
    BUSY = "busy"
    AWAY = "away"
    AVAILABLE = "available"
    OFFLINE = "offline"
    ACCESS_DENIED = "access_denied"
    ERROR = "error"
    NOT_FOUND = "not_found"
    REQUESTING = "requesting"
    SERVER_NOT_CONFIGURED = "server_not_configured"
    NOT_REQUESTED = "not_requested"
    NOT_CONFIGURED_FOR_USER = "not_configured_for_user"

    @property
    def label(self) -> str:
        return LABELS[self]

    @property
    def is_standard(self) -> bool:
        """Whether it says how somebody is, and not why that is not known."""
        return RANK[self] <= RANK[Status.OFFLINE]


class Detail(StrEnum):
    """What a telephone does in a live call, the strongest first."""

    TALKING = "talking"
    ON_HOLD = "on_hold"
    DIALING = "dialing"
    RINGING = "ringing"


LABELS: dict[Status, str] = {
    Status.DND: "Do not disturb",
    Status.FORWARDED_VOICEMAIL: "Forwarded to voice mail",
    Status.FORWARDED_NUMBER: "Forwarded to phone number",
    Status.BUSY: "Busy",
    Status.AWAY: "Away",
    Status.AVAILABLE: "Available",
    Status.OFFLINE: "Offline",
    Status.ACCESS_DENIED: "Access denied",
    Status.ERROR: "Error",
    Status.NOT_FOUND: "Not Found",
    Status.REQUESTING: "Requesting",
    Status.SERVER_NOT_CONFIGURED: "Server not configured",
    Status.NOT_REQUESTED: "Not requested by anyone",
    Status.NOT_CONFIGURED_FOR_USER: "User not configured or not enabled for this type of presence",
}
# A telephone diverted to voice mail is as strong as one diverted elsewhere.
RANK: dict[Status, int] = {status: place for place, status in enumerate(Status)}
RANK[Status.FORWARDED_NUMBER] = RANK[Status.FORWARDED_VOICEMAIL]

# What users may say of themselves. *Occupied* is another word for busy (R16).
OWN_STATUSES = (Status.AVAILABLE, Status.AWAY, Status.BUSY, Status.DND)
ALIASES = {"occupied": Status.BUSY}
