"""Which rows open which route. Learnt from an owner: what opens for him is what a stranger must not open.

Nothing is listed by hand. An owner's pages and answers are followed along their links; a route they do not lead to is
tried with a row of every model. A route that opens to nobody cannot be walked, and fails.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any, ClassVar
from urllib.parse import quote, urljoin, urlsplit

import pytest
from django.conf import settings
from django.db import models

from portal.scoping import TenantQuerySet
from tests.isolation.bodies import query_fields
from tests.isolation.routes import Route, all_routes, route_of
from tests.isolation.visitors import Answer, Visitor, owners
from tests.isolation.world import UUID, ZENITH, Party, World

_LINK = re.compile(r'(?:href|action|src|hx-(?:get|post))="([^"#]+)"|"((?:https?:/)?/[^"\s]+)"')
# So many pages of one route are followed: enough to meet rows in every state.
_MOST_FOLLOWED = 2
# What stands in a place: a row of a model, or a word.
Place = type[models.Model] | str
Key = tuple[tuple[str, Place], ...]


class Keys:
    """`of(route, party)` are the values for the places of `route` that belong to `party`."""

    # What was learnt holds for every world of this process.
    _kinds: ClassVar[dict[str, set[Key]]] = defaultdict(set)
    _readers: ClassVar[dict[type[models.Model], set[str]]] = defaultdict(set)

    def __init__(self, world: World) -> None:
        self.world = world
        self._owners = owners(world, world[ZENITH])
        if not self._kinds:
            with _noted_reading(self._readers) as self._at:
                self._learn_all()
        # An address that is itself the key has no row whose id would open it; tests/isolation/test_files.py guesses.
        places = [route for route in all_routes() if route.parameters and not route.opens_by_address]
        self.unwalkable = [route for route in places if not self._kinds[route.path]]

    def of(self, route: Route, party: Party, most: int = 4) -> list[dict[str, str]]:
        """Values for the places of `route` from the rows of `party`, at most so many for each kind of row."""
        found: list[dict[str, str]] = []
        for key in sorted(self._kinds[route.path], key=str):
            model = next((place for _, place in key if not isinstance(place, str)), None)
            if model is None:
                found.append({name: _worded(str(place), party) for name, place in key})
                continue
            for row in party.rows.get(model, [])[:most]:
                values = {name: _worded(place, party) if isinstance(place, str) else str(row.pk) for name, place in key}
                found.append(values)
        return found

    def readers_of(self, model: type[models.Model]) -> tuple[Route, ...]:
        """The routes that asked who may see rows of `model`."""
        return tuple(route for route in all_routes() if route.path in self._readers[model])

    def kinds_of(self, route: Route) -> set[type[models.Model]]:
        """The models whose rows open `route`."""
        return {place for key in self._kinds[route.path] for _, place in key if not isinstance(place, str)}

    def cursor_of(self, route: Route) -> str:
        """A cursor of that list that an owner was given."""
        for visitor in self._owners:
            for values in self.of(route, self.world[ZENITH], 12) if route.parameters else [{}]:
                answer = visitor.ask("GET", f"{route.url(values)}?limit=1{self._required(route)}", keep=False)
                cursor = json.loads(answer.body).get("next") if answer.status == 200 else None
                if cursor:
                    return str(cursor)
        raise AssertionError(
            f"No owner gets a second page of {route}, so that nobody's cursor can be tried there: give ZENITH two such "
            "rows in tests/isolation/world.py."
        )

    def _required(self, route: Route) -> str:
        """What the list must be asked with: the telephone number of an own row."""
        needed = [name for name, field in query_fields(route).items() if field.required]
        return "".join(f"&{name}={quote(self.world[ZENITH].number(0))}" for name in needed)

    # --- Learning ------------------------------------------------------------------------------------------------
    def _learn_all(self) -> None:
        teacher = self.world[ZENITH]
        self._model_of: dict[str, type[models.Model]] = {}
        for model, rows in teacher.rows.items():
            for row in rows:
                self._model_of.setdefault(str(row.pk), model)
        for visitor in self._owners[:2]:
            self._follow(visitor)
        for route in all_routes():
            if route.parameters and not self._kinds[route.path]:
                self._try_every_model(route, self._owners, teacher)

    def _follow(self, visitor: Visitor) -> None:
        """Walk along the links of the owner's pages and answers."""
        waiting = deque(route.url() for route in all_routes() if not route.parameters and "GET" in route.methods)
        known, followed = set(waiting), defaultdict(int)
        while waiting:
            url = waiting.popleft()
            self._at[:] = [route.path for route, _ in [route_of(url)]]
            answer = visitor.ask("GET", url, keep=False)
            if answer.status != 200:
                continue
            for link in links_of(answer):
                path = urlsplit(link).path
                found = route_of(path)
                if found is None or path in known or not found[0].parameters:
                    continue
                known.add(path)
                route, values = found
                self._learn(route, values)
                followed[route.path] += 1
                if "GET" in route.methods and followed[route.path] <= _MOST_FOLLOWED:
                    waiting.append(path)

    def _learn(self, route: Route, values: dict[str, str]) -> None:
        key = tuple((name, self._model_of.get(value, value)) for name, value in values.items())
        if any(not isinstance(place, str) for _, place in key):
            self._kinds[route.path].add(key)

    def _try_every_model(self, route: Route, helpers: list[Visitor], teacher: Party) -> None:
        """One row of every model, then more of each: some doors open to rows in a certain state only."""
        self._at[:] = [route.path]
        for visitor in helpers:
            unknown = _tried(visitor, route, str(uuid.uuid4()))
            if unknown.status in (302, 401):
                continue
            for first, last in ((0, 1), (1, 12)):
                for model, rows in teacher.rows.items():
                    for row in rows[first:last]:
                        key = str(row.pk)
                        if self._model_of[key] is model and _tried(visitor, route, key).status != unknown.status:
                            self._learn(route, dict.fromkeys(route.parameters, key))
                            break
                if self._kinds[route.path]:
                    return


@contextmanager
def _noted_reading(readers: dict[type[models.Model], set[str]]) -> Iterator[list[str]]:
    """Notes for each model the route (in the list that is given) during which the tenant filter was asked for it."""
    at: list[str] = []
    scoped = TenantQuerySet.visible_to

    def visible_to(self: Any, actor: Any) -> Any:
        readers[self.model].update(at)
        return scoped(self, actor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TenantQuerySet, "visible_to", visible_to)
        yield at


def _tried(visitor: Visitor, route: Route, key: str) -> Answer:
    """The answer of a route with `key` in its places; an action's, when it is only posted to."""
    url = route.url(dict.fromkeys(route.parameters, key))
    answer = visitor.ask(route.methods[0], url, keep=False)
    return visitor.ask("POST", url, keep=False) if answer.status == 405 else answer


def links_of(answer: Answer) -> list[str]:
    """The addresses of ours that a page or a JSON answer leads to, in their order; `?a=b` is one of the page's own."""
    found = []
    for attribute, text in _LINK.findall(answer.body.decode(errors="replace")):
        link = urljoin(answer.url, unescape(attribute or text).removeprefix(settings.PUBLIC_URL))
        if link.startswith("/") and not link.startswith("//"):
            found.append(link)
    return list(dict.fromkeys(found))


def _worded(word: str, party: Party) -> str:
    """A word that bears the teacher's mark bears the party's."""
    return word.replace(ZENITH, party.mark)


def rows_by_model(party: Party, most: int = 1) -> list[Any]:
    """The first rows of every model whose ids nobody can guess."""
    return [row for rows in party.rows.values() for row in rows[:most] if UUID.fullmatch(str(row.pk))]
