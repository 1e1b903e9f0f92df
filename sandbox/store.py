"""What the simulators remember, in memory only."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

EntryT = TypeVar("EntryT")
KEPT_ENTRIES = 10_000


def now() -> datetime:
    return datetime.now(UTC)


def iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal(Generic[EntryT]):
    """Entries numbered from 1, oldest first; with `keep` only the newest ones."""

    def __init__(self, keep: int | None = KEPT_ENTRIES) -> None:
        self._rows: deque[tuple[int, EntryT]] = deque(maxlen=keep)
        self._numbers = itertools.count(1)

    def add(self, entry: EntryT) -> None:
        self._rows.append((next(self._numbers), entry))

    def after(self, n: int) -> Iterator[tuple[int, EntryT]]:
        return (row for row in self._rows if row[0] > n)

    def entries(self) -> Iterator[EntryT]:
        return (entry for _, entry in self._rows)

    def clear(self) -> None:
        """Forget the entries; the count goes on, so that a reader's `after` stays right."""
        self._rows.clear()


@dataclass
class World:
    """What holds for all simulators."""

    echo: bool = False
    echo_delay_s: float = 1
    portal_url: str = "http://127.0.0.1:8000"


@dataclass(slots=True)
class Number:
    """A number of the carrier's account; `messaging` "" = not enabled."""

    tn: str
    status: str = "in_service"
    messaging: str = "SMSMMS"
    message_class: str = "P2P"
    campaign: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "tn": self.tn,
            "status": self.status,
            "messaging": self.messaging,
            "class": self.message_class,
            "campaign": self.campaign,
        }


@dataclass(frozen=True, slots=True)
class Hook:
    """Where the carrier posts what concerns `tn` (E.164); None = every number without a hook of its own."""

    id: str
    tn: str | None
    url: str
    status_url: str | None = None
    api_key: str | None = None
    header_name: str | None = None
    header_value: str | None = None


@dataclass(slots=True)
class Message:
    """A text the carrier took, for one recipient. `status` and `error` are the last it would tell about it.

    `direction` "inbound": a text that came for one of the carrier's numbers, kept for look-ups.
    """

    sid: str
    sender: str
    to: str
    text: str
    media_urls: list[str]
    status_url: str | None = None
    at: datetime = field(default_factory=now)
    answered: bool = False
    fetched: list[dict[str, Any]] = field(default_factory=list)
    status: str = "sent"
    error: str | None = None
    direction: str = "outbound-api"
    # What goes over the air when the carrier could not keep every character.
    aired: str | None = None
    # The sender's own mark, which comes back with every receipt.
    tag: str | None = None

    @property
    def kind(self) -> str:
        return "mms" if self.media_urls else "sms"

    def as_json(self) -> dict[str, Any]:
        return {
            "sid": self.sid,
            "from": self.sender,
            "to": self.to,
            "text": self.text if self.aired is None else self.aired,
            "media_urls": self.media_urls,
            "kind": self.kind,
            "status_url": self.status_url,
            "at": iso(self.at),
            "answered": self.answered,
            "fetched": self.fetched,
            "status": self.status,
            "error": self.error,
        }


@dataclass(slots=True)
class Exchange:
    """A request as it was received; `http_status` None = it got no answer."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    at: datetime = field(default_factory=now)
    http_status: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "at": iso(self.at),
            "method": self.method,
            "path": self.path,
            "headers": dict(self.headers),
            "body": self.body.decode("utf-8", "replace"),
            "http_status": self.http_status,
        }
