"""Telephone numbers: E.164 in storage and API, national digits on screens (S1.15–S1.17, S1.26, R15, R41, R43).

Users type numbers as they dial them and need not know E.164. What cannot be turned into a valid number for certain is
refused with a sentence, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Literal

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType

NumberKind = Literal["mobile", "landline", "voip", "short_code", "alphanumeric", "unknown"]

MAX_RAW_LENGTH = 64
# A plus and fifteen digits.
MAX_E164_LENGTH = 16
MIN_E164_LENGTH = 8
# Everywhere refused as a short code, whatever the country (R43).
EMERGENCY_NUMBERS = frozenset({"911", "112", "999", "000"})

_ALLOWED = re.compile(r"[0-9 +().\-]+")
_SEPARATORS = re.compile(r"[ ().\-]")
_NOT_DIGITS = re.compile(r"[^0-9]")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
# What copying from web pages and address books brings along: odd spaces and dashes, direction marks.
_PASTED = str.maketrans(
    dict.fromkeys("\u00a0\u2007\u2009\u202f\t", " ")
    | dict.fromkeys("\u2010\u2011\u2012\u2013", "-")
    | dict.fromkeys("\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2069\u200b\ufeff", None)
)
_KINDS: dict[int, NumberKind] = {
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE: "landline",
    PhoneNumberType.VOIP: "voip",
}


class InvalidNumber(ValueError):
    """What was typed is no telephone number we can use; the text is a sentence for a person."""


def parse_number(
    raw: str | None,
    *,
    country: str = "US",
    exclude_leading_zero: bool = True,
    emergency_numbers: Collection[str] = (),
) -> str:
    """The number in E.164 with `+`. Raises InvalidNumber.

    `country` (ISO 3166) is applied when the number has no `+` or `00` (S1.15). A leading zero is then a trunk prefix
    that falls away where the country has one, or, without `exclude_leading_zero`, part of the number (S1.16).
    `emergency_numbers` are the tenant's own, beside those that every country knows (R43).
    """
    digits = _dialled(raw)
    if is_emergency_number(digits, country) or digits in emergency_numbers:
        raise InvalidNumber("Emergency numbers cannot be reached by text message.")
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    if digits.startswith("0") and not exclude_leading_zero:
        literal = f"+{phonenumbers.country_code_for_region(country)}{digits}"
        return _valid(literal, country, raw, expected=literal)
    return _valid(digits, country, raw)


def parse_own_number(raw: str | None, *, country: str = "US") -> str:
    """A number that staff assign, in E.164: ten digits of North America, with or without 1, come first (S4.24, R15).

    Anything else is read with the tenant's `country`. Raises InvalidNumber.
    """
    digits = _dialled(raw)
    if re.fullmatch(r"1?[2-9][0-9]{9}", digits):
        try:
            return parse_number(raw, country="US")
        except InvalidNumber:
            return parse_number(raw, country=country)
    return parse_number(raw, country=country)


def is_emergency_number(raw: str, country: str = "US") -> bool:
    """Whether digits, as dialled, call for help in `country` or in most of the world (R43)."""
    return raw in EMERGENCY_NUMBERS or (raw.isascii() and phonenumbers.is_emergency_number(raw, country))


def is_short_code(raw: str, country: str = "US") -> bool:
    """Whether `raw` is a short code (3–8 digits), which may be answered; never an emergency number."""
    return bool(_SHORT_CODE.fullmatch(raw)) and not is_emergency_number(raw, country)


@lru_cache(maxsize=4096)
def national_digits(number: str) -> str:
    """National dialling digits without separators: `2012010580`, `07480542780` (R41); what is not E.164 verbatim."""
    parsed = _parse_e164(number)
    if parsed is None:
        return number
    return _NOT_DIGITS.sub("", phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL))


def display_number(friendly_name: str, number: str) -> str:
    """`Chris Cell (2012010580)`; without a friendly name, or when it is the number itself, just the digits (S1.49)."""
    national = national_digits(number)
    name = friendly_name.strip()
    is_number = bool(_ALLOWED.fullmatch(name)) and _NOT_DIGITS.sub("", name) in (national, number.removeprefix("+"))
    return national if not name or is_number else f"{name} ({national})"


@lru_cache(maxsize=4096)
def number_kind(number: str) -> NumberKind:
    """What the numbering plan says of a remote party; North America does not tell mobiles apart, so `unknown`."""
    if _SHORT_CODE.fullmatch(number):
        return "short_code"
    parsed = _parse_e164(number)
    if parsed is not None:
        return _KINDS.get(phonenumbers.number_type(parsed), "unknown")
    return "alphanumeric" if any(character.isalpha() for character in number) else "unknown"


def country_of(number: str) -> str:
    """ISO 3166 code of the country an E.164 number belongs to, "" when the plan does not tell (R39)."""
    parsed = _parse_e164(number)
    return (phonenumbers.region_code_for_number(parsed) or "") if parsed is not None else ""


def _dialled(raw: str | None) -> str:
    """`raw` as digits with at most one leading `+`. Raises InvalidNumber for anything else that is in it."""
    if not isinstance(raw, str) or not raw.strip():
        raise InvalidNumber("Please enter a telephone number.")
    if len(raw) > MAX_RAW_LENGTH:
        raise InvalidNumber("This is too long for a telephone number.")
    text = raw.translate(_PASTED).strip()
    if not _ALLOWED.fullmatch(text):
        raise InvalidNumber("A telephone number consists of the digits 0 to 9, spaces and + - ( ) . only.")
    digits = _SEPARATORS.sub("", text)
    if "+" in digits[1:] or digits in ("", "+"):
        raise InvalidNumber(f"{text} is not a valid telephone number.")
    return digits


def _valid(dialled: str, country: str, raw: object, expected: str | None = None) -> str:
    try:
        parsed = phonenumbers.parse(dialled, country)
    except NumberParseException:
        parsed = None
    if parsed is not None and phonenumbers.is_valid_number(parsed):
        number = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
        # The library takes some national plans for longer than E.164 allows, and knows German pagers of six digits.
        if MIN_E164_LENGTH <= len(number) <= MAX_E164_LENGTH and expected in (None, number):
            return number
    raise InvalidNumber(f"{str(raw).strip()} is not a valid telephone number.")


def _parse_e164(number: str) -> PhoneNumber | None:
    if not number.startswith("+") or len(number) > MAX_RAW_LENGTH:
        return None
    try:
        return phonenumbers.parse(number)
    except NumberParseException:
        return None
