"""The project with one scoping taken away: every ModelAdmin, page, view, relation and model in turn.

They are made from the registries, so that what comes later is mutated as well.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import models

from portal.admin.scoped import LEVELS
from portal.admin.site import site
from portal.api import base, idempotency, paging
from portal.api.enduser.events import Events
from portal.api.fields import Visible, VisibleList
from portal.events import rendering
from portal.models import EndUser, IdempotencyKey
from portal.problems import Problem, not_found
from portal.scoping import TenantQuerySet, get_visible, parse_id
from portal.services import organisation
from tests.isolation.bodies import serializer_of, writable
from tests.isolation.making import own_models
from tests.isolation.routes import Route, all_routes
from tests.isolation.visitors import OF_COLLEAGUES

Patch = Callable[[pytest.MonkeyPatch, "Calls"], None]


@dataclass
class Calls:
    """How often a scoping that was taken away was asked for. Never: there was none to take."""

    count: int = 0
    is_on: bool = False


@dataclass(frozen=True)
class Mutant:
    """`doors` are the routes that reach what was changed; of a `model`, all that read it. `always`: it must be found,
    even when it was never asked. `step` is the one way of knocking that can find it, where there is but one; `walker`
    the one visitor.
    """

    name: str
    doors: tuple[Route, ...] = field(repr=False)
    patch: Patch = field(repr=False)
    always: bool = True
    model: type[models.Model] | None = None
    step: str = ""
    walker: str = ""

    @contextmanager
    def alive(self) -> Iterator[Calls]:
        calls = Calls()
        with pytest.MonkeyPatch.context() as patch:
            self.patch(patch, calls)
            yield calls


def all_mutants() -> list[Mutant]:
    site.load()
    return [
        *_admins(),
        *_admin_relations(),
        *_pages(),
        *_views(),
        *_body_relations(),
        *_events(),
        *_models(),
        *_widened(),
        *_mechanisms(),
    ]


# --- The staff site --------------------------------------------------------------------------------------------------
def _admins() -> Iterator[Mutant]:
    """A ModelAdmin that shows all rows to every level."""
    for model, admin in site._registry.items():

        def patch(patch: pytest.MonkeyPatch, _: Calls, admin: Any = admin, model: Any = model) -> None:
            patch.setattr(admin, "levels", LEVELS)
            patch.setattr(admin, "get_queryset", lambda request: model._default_manager.order_by("-pk"))

        yield Mutant(f"{type(admin).__name__} rows", _routes_of(admin), patch)


def _admin_relations() -> Iterator[Mutant]:
    """A ModelAdmin whose forms take any row for a relation."""
    for admin in site._registry.values():
        names = [name for name in (admin.parent_field, *admin.form_fields) if name]
        fields = [admin.opts.get_field(name) for name in names if name in {f.name for f in admin.opts.get_fields()}]
        if not any(found.is_relation for found in fields):
            continue

        def patch(patch: pytest.MonkeyPatch, _: Calls, admin: Any = admin) -> None:
            def everything(db: Any, db_field: Any, request: Any) -> Any:
                return db_field.remote_field.model._default_manager.order_by("pk")

            patch.setattr(admin, "get_field_queryset", everything)

        yield Mutant(f"{type(admin).__name__} relations", _routes_of(admin), patch)


def _pages() -> Iterator[Mutant]:
    """A page of no model that looks past the tenants."""
    for route in all_routes():
        if route.is_page and route.admin is None:

            def patch(patch: pytest.MonkeyPatch, calls: Calls, route: Route = route) -> None:
                served = route.callback
                patch.setattr(route.pattern, "callback", _while_on(calls, served))
                _open_all(patch, calls)

            yield Mutant(f"page {route}", (route,), patch, always=False)


def _routes_of(admin: Any) -> tuple[Route, ...]:
    """Its pages, the list first; and the choice of its rows on others' forms."""
    found = [route for route in all_routes() if route.admin is admin]
    return tuple(sorted(found, key=lambda route: (len(route.parameters), len(route.path))))


# --- The API ---------------------------------------------------------------------------------------------------------
def _views() -> Iterator[Mutant]:
    """A view that works on all rows."""
    views: dict[type[Any], list[Route]] = {}
    for route in all_routes():
        if route.is_api:
            views.setdefault(route.view, []).append(route)
    for view, routes in views.items():

        def patch(patch: pytest.MonkeyPatch, calls: Calls, view: Any = view) -> None:
            patch.setattr(view, "dispatch", _while_on(calls, view.dispatch))
            _open_all(patch, calls)
            if hasattr(view, "rows"):
                shape = view.serializer_class
                model = shape.Meta.model if hasattr(shape, "Meta") else view().rows().model
                patch.setattr(view, "rows", lambda self: model._default_manager.all())
                patch.setattr(view, "visible_rows", lambda self: self.rows(), raising=False)

        always = hasattr(view, "rows")
        yield Mutant(f"{view.__module__}.{view.__name__}", tuple(routes), patch, always=always)


def _body_relations() -> Iterator[Mutant]:
    """A field of a body that takes any row."""
    places: dict[tuple[type[Any], str], list[Route]] = {}
    for route in all_routes():
        for method in route.methods:
            serializer = serializer_of(route, method)
            for name, found in writable(serializer).items() if serializer else ():
                if isinstance(found, Visible | VisibleList):
                    places.setdefault((type(serializer), name), []).append(route)
    for (serializer_class, name), routes in places.items():

        def patch(
            patch: pytest.MonkeyPatch, _: Calls, serializer_class: Any = serializer_class, name: str = name
        ) -> None:
            declared = serializer_class._declared_fields
            scoped: Any = declared[name]
            kind = type("Unscoped", (type(scoped),), {"to_internal_value": _any_row})
            patch.setitem(declared, name, kind(*scoped._args, **scoped._kwargs))

        yield Mutant(f"{serializer_class.__name__}.{name}", tuple(dict.fromkeys(routes)), patch)


def _any_row(self: Any, data: Any) -> Any:
    keys = data if isinstance(data, list) else [data]
    rows = [self.queryset.model._default_manager.filter(pk=parse_id(key)).first() for key in keys]
    if None in rows:
        raise not_found()
    return rows if isinstance(data, list) else rows[0]


def _events() -> Iterator[Mutant]:
    """An event that shows whatever it points at."""
    for kind, renderer in rendering._renderers.items():

        def patch(patch: pytest.MonkeyPatch, calls: Calls, kind: str = kind, renderer: Any = renderer) -> None:
            patch.setitem(rendering._renderers, kind, _while_on(calls, renderer))
            _open_all(patch, calls)

        yield Mutant(f"event {kind}", tuple(r for r in all_routes() if r.view is Events), patch, always=False)


# --- The filter itself, and the mechanisms beside it -----------------------------------------------------------------
def _models() -> Iterator[Mutant]:
    """A model that everybody sees everywhere."""
    for model in sorted(_tenant_models(TenantQuerySet), key=lambda model: model.__name__):

        def patch(patch: pytest.MonkeyPatch, calls: Calls, model: Any = model) -> None:
            calls.is_on = True
            _open_all(patch, calls, only=model)

        yield Mutant(f"model {model.__name__}", (), patch, always=False, model=model)


def _widened() -> Iterator[Mutant]:
    """A level that sees all of a model that the level above it sees: its neighbours of the same parent too."""
    levels = [("user", "group", "end user")]
    levels += [("group", "reseller", "group administrator"), ("reseller", "system_provider", "reseller administrator")]
    for model in sorted(_tenant_models(TenantQuerySet), key=lambda model: model.__name__):
        paths = getattr(model, "tenant_paths", {})
        for level, wider, walker in levels:
            if level not in paths or wider not in paths:
                continue

            def patch(
                patch: pytest.MonkeyPatch, calls: Calls, model: Any = model, level: str = level, wider: str = wider
            ) -> None:
                scoped = TenantQuerySet.visible_to

                def visible_to(self: Any, actor: Any) -> Any:
                    if self.model is not model or actor is None or actor.actor_level != level:
                        return scoped(self, actor)
                    calls.count += 1
                    return self.filter(**{model.tenant_paths[wider]: getattr(actor, f"{wider}_id")})

                patch.setattr(TenantQuerySet, "visible_to", visible_to)

            name = f"{model.__name__} of the {wider} for the {level}"
            yield Mutant(name, (), patch, always=False, model=model, walker=walker)


def _tenant_models(kind: type[Any]) -> list[type[models.Model]]:
    return [model for model in own_models() if isinstance(model._default_manager.all(), kind)]


def _mechanisms() -> Iterator[Mutant]:
    api = tuple(route for route in all_routes() if route.is_api)

    def cursors(patch: pytest.MonkeyPatch, _: Calls) -> None:
        bound = paging.list_name
        patch.setattr(base, "list_name", lambda path, filters, caller: bound(path, filters, "anybody"))

    def keys(patch: pytest.MonkeyPatch, _: Calls) -> None:
        claim = idempotency._claim

        def of_anybody(request: Any, key: str) -> Any:
            return IdempotencyKey.objects.filter(path=request.path, key=key).first() or claim(request, key)

        patch.setattr(idempotency, "_claim", of_anybody)

    def telling(patch: pytest.MonkeyPatch, _: Calls) -> None:
        def forbidden(queryset: Any, actor: Any, row_id: object, what: str = "") -> Any:
            key = parse_id(row_id)
            if key and queryset.filter(pk=key).exists() and not queryset.visible_to(actor).filter(pk=key).exists():
                raise Problem("forbidden", "This is not yours.", status=403)
            return get_visible(queryset, actor, row_id, what)

        patch.setattr(base, "get_visible", forbidden)

    def looking_twice(patch: pytest.MonkeyPatch, _: Calls) -> None:
        def found_first(queryset: Any, actor: Any, row_id: object, what: str = "") -> Any:
            key = parse_id(row_id)
            if key and queryset.filter(pk=key).exists():
                queryset.get(pk=key)
            return get_visible(queryset, actor, row_id, what)

        patch.setattr(base, "get_visible", found_first)

    def organisations(patch: pytest.MonkeyPatch, _: Calls) -> None:
        patch.setattr(organisation, "colleagues_of", lambda user: EndUser.objects.filter(is_active=True))

    of_colleagues = tuple(route for route in api if OF_COLLEAGUES.fullmatch(route.url({"pk": str(uuid.uuid4())})))
    yield Mutant("an organisation that is everybody", of_colleagues, organisations, walker="end user")
    yield Mutant("cursors that anybody may use", api, cursors, step="cursors_of_strangers")
    yield Mutant("idempotency keys that anybody shares", api, keys, step="idempotency_keys_of_strangers")
    yield Mutant("403 instead of 404", api, telling)
    yield Mutant("404 that takes longer for a row that exists", api, looking_twice, step="rows_of_strangers")


def _while_on(calls: Calls, served: Callable[..., Any]) -> Callable[..., Any]:
    """`served`, during which scoping is taken away."""

    def serve(*args: Any, **kwargs: Any) -> Any:
        calls.is_on = True
        try:
            return served(*args, **kwargs)
        finally:
            calls.is_on = False

    return serve


def _open_all(patch: pytest.MonkeyPatch, calls: Calls, only: type[models.Model] | None = None) -> None:
    scoped, scoped_for_many = TenantQuerySet.visible_to, TenantQuerySet.visible_to_users

    def visible_to(self: Any, actor: Any) -> Any:
        if not calls.is_on or only not in (None, self.model):
            return scoped(self, actor)
        calls.count += 1
        return self.all()

    def visible_to_users(self: Any, users: Any) -> Any:
        if not calls.is_on or only not in (None, self.model):
            return scoped_for_many(self, users)
        calls.count += 1
        [user] = users
        return self.annotate(seen_by=models.Value(user.pk, output_field=models.UUIDField()))

    patch.setattr(TenantQuerySet, "visible_to", visible_to)
    patch.setattr(TenantQuerySet, "visible_to_users", visible_to_users)
