"""What a server of a directory is asked, and how its answers and failures come back.

A source knows its settings and the outside, never the database. It is asked without a transaction open, gives up after
`timeout_s`, and reads at most `MOST` contacts.
"""

from __future__ import annotations

import os
import socket
import threading
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from portal.addresses import ForbiddenAddress, check_address
from portal.directory.entries import LONGEST_NAME, MOST_NUMBERS, Details, Dialled, contact_number
from portal.directory.models import ContactKind, NumberType
from portal.phone_numbers import InvalidNumber

MOST = 50
TIMEOUT_S = 3.0
TEST_TIMEOUT_S = 8.0
# A server keeps its own time-outs first, and says so.
_SLACK_S = 0.5


class SourceError(Exception):
    """The server could not be asked; the text is a sentence a person can act on, without secrets."""

    def __init__(self, sentence: str) -> None:
        super().__init__(storable(sentence))


class Unfit(ValueError):
    """The setting of that name does not fit the others; the text is a sentence."""

    def __init__(self, setting: str, sentence: str) -> None:
        super().__init__(sentence)
        self.setting = setting


@dataclass(frozen=True)
class Setting:
    """One of a source's settings. Its type is that of `default`; `choices` are the words it may be."""

    name: str
    label: str
    default: str | int = ""
    help_text: str = ""
    required: bool = False
    secret: bool = False
    long: bool = False
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Where:
    """A source's settings with the secrets in plain, and the country its numbers are read with."""

    settings: Mapping[str, str | int]
    secrets: Mapping[str, str] = field(repr=False)
    country: str = "US"

    def text(self, name: str) -> str:
        return str(self.settings.get(name, "")).strip()

    @property
    def host(self) -> str:
        return self.text("host")


class Source(ABC):
    """A kind of server."""

    settings: tuple[Setting, ...]

    def check(self, where: Where) -> None:
        """Raises Unfit when the settings do not fit together. Does no I/O."""
        return

    @abstractmethod
    def search(self, where: Where, text: str, timeout_s: float) -> list[Details]:
        """The contacts that match what a user typed. Raises SourceError."""

    @abstractmethod
    def with_number(self, where: Where, number: str, timeout_s: float) -> list[Details]:
        """The contacts with exactly this number (E.164). Raises SourceError."""

    @abstractmethod
    def test(self, where: Where, timeout_s: float) -> list[Details]:
        """A few contacts, to show that it works. Raises SourceError."""


def public_address(host: str, port: int) -> str:
    """An address of `host` that we may connect to; to be used instead of the name, so that DNS cannot change its mind.

    Raises SourceError when the name leads nowhere, or to a private address that is not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SourceError(f"The name {host} was not found. Check the host.") from error
    address = str(found[0][4][0])
    try:
        check_address(address, host)
    except ForbiddenAddress as error:
        raise SourceError(str(error)) from error
    return address


@contextmanager
def ended_after(timeout_s: float, descriptor: int) -> Iterator[None]:
    """Hangs up at last: drivers wait for ever for a server that says nothing, or says a byte now and then."""
    with socket.socket(fileno=os.dup(descriptor)) as line:
        timer = threading.Timer(timeout_s + _SLACK_S, _hang_up, [line])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):  # it has just been closed
        line.shutdown(socket.SHUT_RDWR)


def storable(text: str) -> str:
    """`text` from outside without what no database stores and nobody sees: control characters, half surrogates."""
    return "".join(" " if unicodedata.category(found) in ("Cc", "Cs") else found for found in text)


def read_details(values: Mapping[str, str], numbers: Iterable[tuple[str, str]], *, country: str) -> Details | None:
    """A contact from what a server says; None without a name. What is no number is left out."""
    values = {name: storable(value).strip() for name, value in values.items()}
    name = values.get("name", "")
    if not name:
        return None
    kind = values.get("kind", "")
    return Details(
        name=name[:LONGEST_NAME],
        company=values.get("company", "")[:LONGEST_NAME],
        kind=kind if kind in ContactKind.values else ContactKind.CONTACT,
        numbers=_numbers(numbers, country),
        sip_uri=values.get("sip_uri", "")[:255],
        url=values.get("url", "")[:500],
        key=values.get("key", "")[:200] or name[:200],
    )


def _numbers(numbers: Iterable[tuple[str, str]], country: str) -> tuple[Dialled, ...]:
    found: dict[str, Dialled] = {}
    for raw, type in numbers:
        try:
            dialled = contact_number(raw, type if type in NumberType.values else NumberType.OTHER, country=country)
        except InvalidNumber:
            continue
        found.setdefault(dialled.number, dialled)
    return tuple(found.values())[:MOST_NUMBERS]


def has_number(details: Details, number: str) -> bool:
    return any(dialled.number == number for dialled in details.numbers)
