"""Request bodies: JSON objects in UTF-8 of limited size, holding nothing a database cannot store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, ClassVar, NoReturn

from django.conf import settings
from rest_framework.parsers import BaseParser

from portal.api.problems import too_large
from portal.problems import Problem


class JSONObjectParser(BaseParser):
    """Reads a JSON object. Raises Problem `invalid` (400), `too_large` (413)."""

    media_type = "application/json"
    max_bytes: ClassVar[int | None] = None
    """Larger than other bodies, where a list is uploaded."""
    checked_by_service: ClassVar[frozenset[str]] = frozenset()
    """Fields of which a service says itself which characters it takes."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        limit = self.max_bytes or settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise too_large(limit)
        try:
            body = json.loads(raw.decode(), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise Problem("invalid", "The body is not valid JSON in UTF-8.", status=400) from error
        if not isinstance(body, dict):
            raise Problem("invalid", "The body must be a JSON object.", status=400)
        for name, value in body.items():
            require_storable(name, name)
            if name not in self.checked_by_service:
                require_storable(name, value)
        return body


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def require_storable(name: str, value: Any) -> None:
    """NUL and half surrogates are valid JSON but no text any database takes."""
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise Problem(
                "invalid",
                "A text holds a character that cannot be stored.",
                status=400,
                errors={_printable(name): ["This holds NUL or half of a surrogate pair."]},
            )
    elif isinstance(value, dict):
        for key, inner in value.items():
            require_storable(name, key)
            require_storable(name, inner)
    elif isinstance(value, list):
        for inner in value:
            require_storable(name, inner)


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode().replace("\x00", "?")
