"""Every URL of the project, read from the resolver: nothing is listed by hand."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from django.utils.regex_helper import normalize

from portal.admin.site import site

_PLACE = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Route:
    """One pattern: `path` as the resolver joins it, the names in its places, and whether it is of the staff site."""

    path: str
    pattern: URLPattern
    parameters: tuple[str, ...]
    is_page: bool

    @property
    def callback(self) -> Any:
        return self.pattern.callback

    @property
    def view(self) -> Any:
        """The class behind a view of the API, None for a function."""
        return getattr(self.callback, "cls", None)

    @property
    def is_api(self) -> bool:
        return self.view is not None

    @property
    def opens_by_address(self) -> bool:
        """Whether everybody who has the address may come in, because nobody can guess it."""
        return getattr(self.callback, "opens_by_address", False)

    @property
    def methods(self) -> list[str]:
        """What may be sent there."""
        if self.view is None:
            return ["GET", "POST"]
        names = [name for name in self.view.http_method_names if hasattr(self.view, name)]
        return [name.upper() for name in names if name not in ("head", "options")]

    @property
    def admin(self) -> Any:
        """The ModelAdmin whose page this is, None for every other route."""
        found = (admin for admin in site._registry.values() if self.path.startswith(f"{admin.slug}/"))
        return next(found, None) if self.is_page else None

    def url(self, values: Mapping[str, Any] | None = None) -> str:
        """The address with `values` in its places."""
        if re.search(r"[\\^$(]", self.path):
            return "/" + normalize(self.path)[0][0] % dict(values or {})
        return "/" + _PLACE.sub(lambda found: str((values or {})[found[1]]), self.path)

    def __str__(self) -> str:
        return "/" + self.path


@functools.cache
def all_routes() -> tuple[Route, ...]:
    """Every route of the project, in the order they are tried."""
    return tuple(_walk(get_resolver().url_patterns, "", (), False))


def _walk(parts: Any, path: str, names: tuple[str, ...], is_page: bool) -> Iterator[Route]:
    for part in parts:
        here, known = path + str(part.pattern), (*names, *_names_of(part))
        if isinstance(part, URLResolver):
            yield from _walk(part.url_patterns, here, known, is_page or part.namespace == site.name)
        else:
            yield Route(here, part, known, is_page)


def _names_of(part: URLPattern | URLResolver) -> tuple[str, ...]:
    converters = getattr(part.pattern, "converters", {})
    return tuple(converters) or tuple(part.pattern.regex.groupindex)


def route_of(path: str) -> tuple[Route, dict[str, str]] | None:
    """The route that answers at `path`, and what stands in its places."""
    try:
        match = resolve(path)
    except Resolver404:
        return None
    route = next(route for route in all_routes() if route.path == match.route and route.callback == match.func)
    return route, {name: str(value) for name, value in match.kwargs.items()}
