"""Telephone numbers as the control API shows them (E.164) and as carriers write them."""

from __future__ import annotations

import re

_SEPARATORS = re.compile(r"[\s().\-+]")


def e164(value: object) -> str:
    """`+12019920789` from `12019920789`, `2019920789` or any of these with separators.

    Short codes (at most eight digits) and alphanumeric senders stay as they are.
    """
    raw = str(value).strip()
    digits = _SEPARATORS.sub("", raw)
    if not (digits.isascii() and digits.isdigit()) or (len(digits) <= 8 and not raw.startswith("+")):
        return raw
    if len(digits) == 10 and not raw.startswith("+"):
        return "+1" + digits
    return "+" + digits


def without_plus(number: str) -> str:
    return number.removeprefix("+")


def as_dialled(digits: str) -> str:
    """What a caller of a carrier dialled, digits with country code: short codes as they are, else E.164."""
    return digits if len(digits) <= 8 else "+" + digits
