"""Bodies and queries of the kind `application/x-www-form-urlencoded`."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, urlencode

FORM_TYPE = "application/x-www-form-urlencoded; charset=UTF-8"


def read_form(body: bytes) -> dict[str, list[str]]:
    """All values of each name in order, empty ones too; what is not UTF-8 is replaced."""
    form: dict[str, list[str]] = {}
    for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        form.setdefault(name, []).append(value)
    return form


def as_form(fields: Iterable[tuple[str, str]]) -> bytes:
    """The fields in their order; a name may come twice."""
    return urlencode(list(fields)).encode()
