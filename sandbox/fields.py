"""Reading the JSON bodies of the control API: whatever is missing, unknown or wrong is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

REQUIRED: Any = object()


class BadInput(Exception):
    """The body does not say what was expected; `errors` is field -> sentences."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__(str(errors))
        self.errors = errors


@dataclass(frozen=True)
class Field:
    """What a field accepts, in code and in words, and what it is when left out."""

    accepts: Callable[[Any], bool]
    wants: str
    default: Any = REQUIRED

    def or_null(self) -> Field:
        return replace(
            self,
            accepts=lambda value: value is None or self.accepts(value),
            wants=f"{self.wants} or null",
            default=None if self.default is REQUIRED else self.default,
        )


def word(*words: str | int, default: Any = REQUIRED) -> Field:
    return Field(lambda value: value in words, "one of " + ", ".join(map(json.dumps, words)), default)


def text(default: Any = REQUIRED) -> Field:
    return Field(lambda value: isinstance(value, str), "a string", default)


def flag(default: Any = REQUIRED) -> Field:
    return Field(lambda value: isinstance(value, bool), "true or false", default)


def whole(minimum: int = 0, default: Any = REQUIRED) -> Field:
    return Field(lambda value: type(value) is int and value >= minimum, f"a whole number from {minimum} on", default)


def amount(default: Any = REQUIRED) -> Field:
    return Field(
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"),
        "a number from 0 on",
        default,
    )


def mapping(default: Any = REQUIRED) -> Field:
    return Field(lambda value: isinstance(value, dict), "an object", default)


def list_of(kind: Field, default: Any = REQUIRED) -> Field:
    return Field(
        lambda value: isinstance(value, list) and all(map(kind.accepts, value)), f"a list, each {kind.wants}", default
    )


def text_or_list() -> Field:
    """A string or a non-empty list of strings."""
    single, several = text(), list_of(text())
    return Field(
        lambda value: single.accepts(value) or (several.accepts(value) and value != []), "a string or a list of them"
    )


def read_fields(body: Any, fields: Mapping[str, Field], *, partial: bool = False, prefix: str = "") -> dict[str, Any]:
    """The fields of `body` with their defaults; `partial`: only those given. Raises BadInput."""
    if not isinstance(body, dict):
        raise BadInput({prefix.rstrip(".") or "body": ["must be an object"]})
    errors: dict[str, list[str]] = {}
    for name in body.keys() - fields.keys():
        errors[prefix + name] = ["unknown field; there are: " + ", ".join(fields)]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in body and not field.accepts(body[name]):
            errors[prefix + name] = [f"must be {field.wants}"]
        elif name in body:
            values[name] = body[name]
        elif not partial and field.default is REQUIRED:
            errors[prefix + name] = ["is required"]
        elif not partial:
            values[name] = field.default
    if errors:
        raise BadInput(errors)
    return values
