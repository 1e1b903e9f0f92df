"""What goes through every simulated carrier: requests, texts on their way in, and how it behaves meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from sandbox.store import Message


@dataclass
class Settings:
    """How the carrier behaves. `tn_digits`: how it lists the numbers of hooks. `retries`: of its own deliveries.

    `media_misses`: how often each inbound file is not there yet. A carrier reads of these what its wire contract has.
    """

    state: str = "up"
    latency_ms: float = 0
    errors: str = "http"
    token: str = "sha256"  # noqa: S105 - the name of a scheme
    numbers_as: str = "string"
    tn_digits: int = 11
    retries: int = 0
    media_misses: int = 0


@dataclass(slots=True)
class Call:
    """One request to the carrier as its wire contract reads it. `taken` fills when texts are taken.

    `parts`: the path below the account, for contracts in which the path says what is meant.
    """

    request: web.BaseRequest
    host: str
    name: str
    operation: str
    data: dict[str, Any]
    to: list[str] = field(default_factory=list)
    taken: list[Message] = field(default_factory=list)
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inbound:
    """A text on its way to the carrier's numbers in `to`; `own`: the one that this copy of it is for."""

    sid: str
    sender: str
    to: list[str]
    text: str
    media_urls: list[str] = field(default_factory=list)
    media_types: list[str] = field(default_factory=list)
    own: str = ""
