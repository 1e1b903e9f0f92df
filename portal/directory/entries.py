"""A contact as every directory gives it, whatever it is stored in, and the words it is found by."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from portal.directory.models import ContactKind, NumberType, Source
from portal.phone_numbers import InvalidNumber, is_short_code, national_digits, parse_number

LONGEST_NAME = 200
MOST_NUMBERS = 20
RANK = {source: place for place, source in enumerate(Source.values)}

_LONGEST_WORD = 40
_MOST_WORDS = 60
_LETTERS = re.compile(r"[^\W_]+")
_EXTENSION = re.compile(r"[0-9]{2,8}")
_DIALLED = re.compile(r"[0-9 +().\-/]+")
# Starts the words that are numbers read from their end.
_BACKWARDS = "~"


@dataclass(frozen=True)
class Dialled:
    """A number of a contact: E.164, or the digits of an extension or short code."""

    number: str
    type: str = NumberType.OTHER


@dataclass(frozen=True)
class Details:
    """What a directory says of a contact. `key` is its name there."""

    name: str
    company: str = ""
    kind: str = ContactKind.CONTACT
    numbers: tuple[Dialled, ...] = ()
    sip_uri: str = ""
    jid: str = ""
    url: str = ""
    key: str = ""


@dataclass(frozen=True)
class Entry:
    """A contact that a user sees. `user` is the colleague it is; `order` sorts it among all others."""

    id: uuid.UUID
    source: str
    details: Details
    order: tuple[str, uuid.UUID]
    user: uuid.UUID | None = None


def contact_number(raw: str, type: str, *, country: str, exclude_leading_zero: bool = True) -> Dialled:
    """A number as people write it in address books. Raises InvalidNumber with a sentence.

    `country` and `exclude_leading_zero` are applied as when dialling (S1.15, S1.16).
    """
    text = raw.strip()
    if type == NumberType.EXTENSION:
        if not _EXTENSION.fullmatch(text):
            raise InvalidNumber("An extension consists of two to eight digits.")
        return Dialled(text, type)
    try:
        return Dialled(parse_number(text, country=country, exclude_leading_zero=exclude_leading_zero), type)
    except InvalidNumber:
        if is_short_code(text, country):
            return Dialled(text, type)
        raise


def may_text(source: str, dialled: Dialled, *, is_colleague: bool, any_number: bool) -> bool:
    """Whether the client offers to text a contact's number (S1.13, S1.14, S1.28)."""
    if not dialled.number.startswith("+"):
        return False
    knows_mobiles = is_colleague or source in (Source.OUTLOOK, Source.CRM)
    return any_number or (dialled.type == NumberType.MOBILE and knows_mobiles)


def words_of(details: Details) -> set[str]:
    """The words a contact is found by."""
    words = set(fold(f"{details.name} {details.company}"))
    for dialled in details.numbers:
        digits = dialled.number.removeprefix("+")
        words |= {digits, national_digits(dialled.number), _BACKWARDS + digits[::-1]}
    return set(sorted(words)[:_MOST_WORDS])


def fold(text: str) -> list[str]:
    """The words of a text, without case and accents."""
    plain = "".join(found for found in unicodedata.normalize("NFKD", text) if not unicodedata.combining(found))
    return [word[:_LONGEST_WORD] for word in _LETTERS.findall(plain.upper())]


def words_in(text: str) -> list[str]:
    """The words of a text as they are written: letters and digits only."""
    return _LETTERS.findall(unicodedata.normalize("NFC", text))


def beginnings_of(query: str) -> list[list[str]]:
    """What words must begin with so that `query` finds their contact: each list is one way, all of it must be found.

    A number is found by its first digits, dialled any way, or its last four and more.
    """
    words = fold(query)
    if not words:
        return []
    if not _DIALLED.fullmatch(query):
        return [words]
    digits = "".join(words)
    # National digits begin with a trunk zero in many countries, E.164 never does.
    ways = {digits, digits.removeprefix("00"), digits.lstrip("0")} - {""}
    if len(digits) >= 4:
        ways.add(_BACKWARDS + digits.lstrip("0")[::-1])
    return [[way[:_LONGEST_WORD]] for way in sorted(ways)] + ([words] if len(words) > 1 else [])


def best_first(entries: Sequence[Entry]) -> list[Entry]:
    """By precedence of their directories (contracts, Directories)."""
    return sorted(entries, key=lambda entry: (RANK[entry.source], entry.order))
