"""Errors a person can act on. A service raises a `Problem`; each face shows it in its own way (RFC 9457 in the API)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Problem(Exception):
    """A rule was broken. `code`, `status` (HTTP), `detail`: a sentence that says what to do.

    `errors` holds sentences by field, `extra` further members of the problem object (`message_count`, `by` ...).
    `afterwards` is done by the face when the transaction of what was refused is rolled back: what is to stay of it.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 400,
        errors: Mapping[str, Sequence[str]] | None = None,
        retry_after_s: int | None = None,
        afterwards: Callable[[], object] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status
        self.errors = {name: list(sentences) for name, sentences in (errors or {}).items()}
        self.retry_after_s = retry_after_s
        self.afterwards = afterwards
        self.extra = extra


def not_found(what: str = "") -> Problem:
    """Not there, or not yours: the two are never told apart."""
    return Problem("not_found", f"{what or 'This'} does not exist, or you may not see it.", status=404)


def invalid(**errors: str) -> Problem:
    """One or more fields are wrong; the keyword is the field, the value the sentence."""
    detail = " ".join(errors.values())
    return Problem("invalid", detail, status=400, errors={name: [sentence] for name, sentence in errors.items()})


def conflict(code: str, detail: str, **extra: Any) -> Problem:
    """The state forbids it (409)."""
    return Problem(code, detail, status=409, **extra)


def no_room() -> Problem:
    """The storage does not take a file now: it is full or away."""
    sentence = "The file cannot be stored now: there is no room for it, or the storage is away. Try again later."
    return Problem("unavailable", sentence, status=503, retry_after_s=60)
