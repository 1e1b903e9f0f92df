"""Bodies of the type `application/x-www-form-urlencoded`, as some carriers take and send them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes, urlencode

from cpaas.carriers.base import UnreadableWebhook
from cpaas.carriers.wire import clean

FORM = "application/x-www-form-urlencoded"
# No carrier sends so many; each costs time.
_MAX_FIELDS = 1000


def encode_form(fields: Iterable[tuple[str, str]]) -> bytes:
    return urlencode(list(fields)).encode()


def read_pairs(body: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values in the order they came, byte for byte, empty and repeated ones too.

    Raises UnreadableWebhook for more fields than a carrier sends.
    """
    parts = body.split(b"&", _MAX_FIELDS)
    if len(parts) > _MAX_FIELDS:
        raise UnreadableWebhook("The webhook call has too many fields.")
    pairs = (part.partition(b"=") for part in parts if part)
    return [(_decoded(name), _decoded(value)) for name, _, value in pairs]


def read_form(body: bytes) -> dict[str, str]:
    """The fields as text, of a repeated name the first. Undecodable bytes become U+FFFD, NUL is removed.

    Raises UnreadableWebhook.
    """
    fields: dict[str, str] = {}
    for name, value in read_pairs(body):
        fields.setdefault(_text(name), _text(value))
    return fields


def _decoded(raw: bytes) -> bytes:
    return unquote_to_bytes(raw.replace(b"+", b" "))


def _text(raw: bytes) -> str:
    return clean(raw.decode("utf-8", "replace"))
