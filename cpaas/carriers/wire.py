"""Tolerant reading of what carriers put on the wire, shared by the adapters: they differ from their own papers."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

# A quotation of the carrier's own words in a sentence for people.
MAX_QUOTED = 200
# What columns hold.
MAX_ID_LENGTH = 100
MAX_PARTY_LENGTH = 32
_SEPARATORS = re.compile(r"[\s().\-]")
_DIGITS = re.compile(r"[0-9]+")
# Not `opt-out` alone: carriers also say so of texts that lack instructions how to opt out.
_OPTED_OUT = re.compile(r"\bopted[ -]?out\b|\buser[ -]opt[ -]?out\b|\bunsubscribed recipient\b", re.IGNORECASE)


def clean(value: object) -> str:
    """The text of a JSON value: strings and numbers as text, anything else "".

    NUL is removed and lone surrogates are replaced, because no database stores them.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        text = str(value)
    except ValueError:  # an integer of more digits than Python converts
        return ""
    return text.replace("\0", "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def message_id(value: object) -> str:
    """A carrier's id of a message as we keep it; the end of an absurdly long one is replaced by a digest."""
    text = clean(value).strip()
    if len(text) <= MAX_ID_LENGTH:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text[: MAX_ID_LENGTH - len(digest)] + digest


def read_json(body: bytes) -> Any:
    """The JSON value in `body`, None when there is none. Undecodable bytes become U+FFFD."""
    try:
        return json.loads(body.decode("utf-8-sig", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None


def read_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in `body`, None when there is none. Undecodable bytes become U+FFFD."""
    value = read_json(body)
    return value if isinstance(value, dict) else None


def basic(name: str, password: str) -> str:
    """The `Authorization` header of HTTP Basic."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def read_time(value: object) -> datetime | None:
    """A time in ISO 8601 or as in e-mails (`Thu, 5 Jul 2018 10:46:45 +0300`), without a zone UTC; None for neither."""
    text = clean(value).strip()
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            at = read(text)
        except (ValueError, TypeError, IndexError):
            continue
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return None


def as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """A list as it is, nothing for null, a lone value as a list of one: carriers that think in XML send both."""
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]


def party(value: object) -> str:
    """A telephone number in E.164; short codes (3–8 digits) and alphanumeric senders verbatim (facts 4.5).

    Takes strings and numbers, ten digits (North America) or more, with or without `+`.
    """
    text = clean(value).strip()[:MAX_PARTY_LENGTH]
    digits = _SEPARATORS.sub("", text).removeprefix("+")
    if not _DIGITS.fullmatch(digits):
        return text
    digits = digits[: MAX_PARTY_LENGTH - 1]  # the + comes before it
    if len(digits) > 10 and digits.startswith("00"):
        digits = digits[2:]
    international = text.startswith("+") and len(digits) > 6
    if not international and len(digits) <= 8:
        return digits
    if not international and len(digits) == 10:
        return "+1" + digits
    return "+" + digits


def without_plus(number: str) -> str:
    """E.164 as the digits most carriers want; short codes stay what they are."""
    return number.removeprefix("+")


def ten_digits(number: str) -> str:
    """A North American number without its country code, any other in E.164 without the plus."""
    return number[2:] if number.startswith("+1") and len(number) == 12 else number.removeprefix("+")


def same_path(url: str, other: str) -> bool:
    """Whether two of our webhook addresses are the same but for the public name of the portal."""
    try:
        return urlsplit(url).path == urlsplit(other).path
    except ValueError:
        return False


def quote(words: Iterable[object], secrets: Iterable[str]) -> str:
    """The carrier's own words for a sentence: joined, each once, on one line, shortened, no secret in them."""
    said = dict.fromkeys(" ".join(clean(word).split()) for word in words)
    text = ": ".join(word for word in said if word)
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"


def says_opted_out(words: str) -> bool:
    """Whether a carrier's sentence says that the recipient wants no more texts from this number (R20)."""
    return bool(_OPTED_OUT.search(words))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds; a date counts from the answer's own `Date`. None when absent or unreadable."""
    value = headers.get("retry-after", "").strip()
    if _DIGITS.fullmatch(value):
        return float(value[:9])
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())
