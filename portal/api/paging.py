"""Keyset paging: a page costs the same wherever it lies and however many rows there are (architecture, rule 7).

A cursor is the sort key of a row, signed together with the list, its filters and the caller it was made for; any other
use is refused. No COUNT, no OFFSET.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.core import signing
from django.db.models import Field, Model, Q, QuerySet

from portal.problems import Problem

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
RowT = TypeVar("RowT", bound=Model)


@dataclass(frozen=True)
class Page(Generic[RowT]):
    """The rows of one page and the cursors of its neighbours."""

    rows: list[RowT]
    next: str | None
    previous: str | None

    def answer(self, results: Sequence[Any]) -> dict[str, Any]:
        """The wrapped list (contracts section 0)."""
        return {"results": list(results), "next": self.next, "previous": self.previous}


def list_name(path: str, filters: Mapping[str, Any], caller: object) -> str:
    """What a cursor is bound to: the list's path, the filters that were given and whose list it is."""
    given = {name: str(value) for name, value in filters.items() if name not in ("cursor", "limit")}
    return hashlib.sha256(json.dumps([path, given, str(caller)], sort_keys=True).encode()).hexdigest()


def paginate(
    rows: QuerySet[RowT], *, order: Sequence[str], name: str, cursor: str | None = None, limit: int = DEFAULT_LIMIT
) -> Page[RowT]:
    """One page of `rows` in `order` (`-last_message_at`, `-id`: all up or all down, the last one unique).

    `name` is from `list_name`. Raises Problem `invalid_cursor` (400).
    """
    keyset = _Keyset(rows.model, order)

    def find(values: Sequence[Any] | None, backward: bool, count: int) -> list[RowT]:
        selected = rows.filter(keyset.beyond(values, backward)) if values else rows
        return list(selected.order_by(*keyset.order_by(backward))[:count])

    return _page(keyset, find, name=name, cursor=cursor, limit=limit)


def paginate_found(
    find: Callable[[uuid.UUID | None, bool, int], list[RowT]],
    model: type[Model],
    *,
    name: str,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> Page[RowT]:
    """As `paginate`, newest id first, of rows found by a statement of their own: `find(beyond, backward, count)` gives
    so many below the id `beyond`, or backward above it, oldest first."""

    def find_beyond(values: Sequence[Any] | None, backward: bool, count: int) -> list[RowT]:
        return find(values[0] if values else None, backward, count)

    return _page(_Keyset(model, ("-id",)), find_beyond, name=name, cursor=cursor, limit=limit)


def _page(
    keyset: _Keyset,
    find: Callable[[Sequence[Any] | None, bool, int], list[RowT]],
    *,
    name: str,
    cursor: str | None,
    limit: int,
) -> Page[RowT]:
    size = min(limit, MAX_LIMIT)
    backward, values = _read_cursor(cursor, name, keyset) if cursor else (False, None)
    found = find(values, backward, size + 1)
    more, page = len(found) > size, found[:size]
    if backward:
        page.reverse()
    has_next = bool(page) and (more or backward)
    has_previous = bool(page) and (more if backward else values is not None)
    return Page(
        page,
        next=_make_cursor(name, False, keyset.values(page[-1])) if has_next else None,
        previous=_make_cursor(name, True, keyset.values(page[0])) if has_previous else None,
    )


OrderT = tuple[str, uuid.UUID]
ItemT = TypeVar("ItemT")
Fetch = Callable[[OrderT | None, bool, int], Sequence[ItemT]]


def paginate_merged(
    fetch: Fetch[ItemT],
    order_of: Callable[[ItemT], OrderT],
    *,
    name: str,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> tuple[list[ItemT], str | None, str | None]:
    """One page of a list that is merged from several, with the cursors of the next and the previous page.

    `fetch(beyond, backward, count)` gives that many items, sorted by `order_of`: the first after `beyond`, or backward
    the last before it. Raises Problem `invalid_cursor` (400).
    """
    size = min(limit, MAX_LIMIT)
    backward, beyond = _read_merged_cursor(cursor, name) if cursor else (False, None)
    found = list(fetch(beyond, backward, size + 1))
    more = len(found) > size
    page = (found[1:] if backward else found[:size]) if more else found
    has_next = bool(page) and (more or backward)
    has_previous = bool(page) and (more if backward else beyond is not None)
    return (
        page,
        _make_cursor(name, False, list(map(str, order_of(page[-1])))) if has_next else None,
        _make_cursor(name, True, list(map(str, order_of(page[0])))) if has_previous else None,
    )


def _read_merged_cursor(cursor: str, name: str) -> tuple[bool, OrderT]:
    try:
        backward, [text, key] = signing.Signer(salt=f"cursor:{name}").unsign_object(cursor)
        return bool(backward), (str(text), uuid.UUID(key))
    except (signing.BadSignature, ValueError, TypeError, AttributeError) as error:
        raise invalid_cursor() from error


class _Keyset:
    """The columns a list is ordered by."""

    def __init__(self, model: type[Model], order: Sequence[str]) -> None:
        self.names = [column.removeprefix("-") for column in order]
        self.descending = order[0].startswith("-")
        self.fields: list[Field[Any, Any]] = [model._meta.get_field(name) for name in self.names]  # type: ignore[misc]

    def order_by(self, backward: bool) -> list[str]:
        sign = "-" if self.descending != backward else ""
        return [f"{sign}{name}" for name in self.names]

    def beyond(self, values: Sequence[Any], backward: bool) -> Q:
        """The rows after `values` in reading direction. The first bound lets the index end the range."""
        word = "lt" if self.descending != backward else "gt"
        first, *rest = zip(self.names, values, strict=True)
        if not rest:
            return Q(**{f"{first[0]}__{word}": first[1]})
        inner = Q(**{f"{rest[-1][0]}__{word}": rest[-1][1]})
        for column, value in reversed([first, *rest[:-1]]):
            inner = Q(**{f"{column}__{word}": value}) | (Q(**{column: value}) & inner)
        return Q(**{f"{first[0]}__{word}e": first[1]}) & inner

    def values(self, row: Model) -> list[Any]:
        return [_as_text(getattr(row, name)) for name in self.names]

    def parse(self, values: list[Any]) -> list[Any]:
        if len(values) != len(self.fields):
            raise ValueError
        return [field.to_python(value) for field, value in zip(self.fields, values, strict=True)]


def _as_text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


def _make_cursor(name: str, backward: bool, values: list[Any]) -> str:
    return signing.Signer(salt=f"cursor:{name}").sign_object([int(backward), values])


def _read_cursor(cursor: str, name: str, keyset: _Keyset) -> tuple[bool, list[Any]]:
    try:
        backward, values = signing.Signer(salt=f"cursor:{name}").unsign_object(cursor)
        return bool(backward), keyset.parse(values)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise invalid_cursor() from error


def invalid_cursor() -> Problem:
    return Problem(
        "invalid_cursor",
        "This cursor does not belong to this list. Start again without a cursor.",
        status=400,
        errors={"cursor": ["Not a cursor of this list."]},
    )
