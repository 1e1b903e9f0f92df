"""Every list there is, found by what is registered: pages of the staff site, their tabs, filters and searches, and the
lists of the API with each of their parameters. A new one is found without a line here, or the walk says what it lacks.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.test import Client
from django.urls import URLPattern, URLResolver
from rest_framework import serializers

from cpaas.models import Conversation, CpaasNumber, NumberImport
from portal.admin.levels import LevelAdmin
from portal.admin.site import site
from portal.api import urls as api_urls
from portal.api.base import UserView
from portal.api.strict import ListQuery
from portal.models import EndUser, Group, PortalAccount, Reseller, SystemProvider
from portal.scoping import TenantQuerySet
from portal.tests.factories import PortalAccountFactory, device_token, staff_token
from xmpp.models import ImConversation

API = "/api/v1/"
# The row whose list a route shows, by the first part of the route.
_PARENTS: dict[str, type[models.Model]] = {
    "conversations": Conversation,
    "numbers": CpaasNumber,
    "imports": NumberImport,
    "im": ImConversation,
}


@dataclass(frozen=True)
class Case:
    """One way to look at a list. `face` and `list` name the list, `viewer` who looks and `what` how it is narrowed."""

    face: str
    list: str
    viewer: str
    what: str
    url: str
    client: Client
    headers: tuple[tuple[str, str], ...] = ()

    def get(self) -> Any:
        response = self.client.get(self.url, headers=dict(self.headers))
        assert response.status_code == 200, f"{self}: {response.status_code} {response.content[:300]!r}"
        return response

    def __str__(self) -> str:
        return f"{self.face} {self.list}, {self.viewer}: {self.what} ({self.url})"


def viewers() -> dict[str, PortalAccount]:
    """An administrator of each level, of the provider that has most and of the oldest tenants below it."""
    provider = SystemProvider.objects.earliest("id")
    reseller = Reseller.objects.filter(system_provider=provider).earliest("id")
    group = Group.objects.filter(reseller=reseller).earliest("id")
    scopes = {"operator": None, "system_provider": provider, "reseller": reseller, "group": group}
    return {level: PortalAccountFactory(scope=scope, username=f"viewer-{level}") for level, scope in scopes.items()}


def all_cases() -> Iterator[Case]:
    """Every way to look at every list."""
    staff = viewers()
    for level, account in staff.items():
        client = Client()
        client.force_login(account)
        yield from _pages(level, account, client)
        token = staff_token(account)
        yield from _api_lists(level, account, token, staff=True)
    user = EndUser.objects.earliest("id")
    yield from _api_lists("user", user, device_token(user), staff=False)


# --- The staff site ---------------------------------------------------------------------------------------------------
def _pages(level: str, account: PortalAccount, client: Client) -> Iterator[Case]:
    site.load()
    for model, model_admin in site._registry.items():
        if level in model_admin.levels:
            name = str(model_admin.list_title)
            yield from _page(Case("page", name, level, "first page", model_admin.url("changelist"), client), model)
        if isinstance(model_admin, LevelAdmin) and level in model_admin.levels:
            row = _oldest(model, account)
            for tab in model_admin.tabs_of(row):
                # What is between the operator and the level of the tab looks at the same rows.
                if level in site._registry[tab.model].levels and level in ("operator", model_admin.level):
                    name = f"{tab.title} of a {model._meta.verbose_name}"
                    url = model_admin.url("tab", row.pk, tab.name)
                    yield from _page(Case("page", name, level, "first page", url, client), tab.model)
            name = f"audit trail of a {model._meta.verbose_name}"
            yield Case("page", name, level, "first page", model_admin.url("history", row.pk), client)


def _oldest(model: type[models.Model], actor: Any) -> Any:
    rows: TenantQuerySet[Any] = model._default_manager.all()  # type: ignore[assignment]
    return rows.visible_to(actor).earliest("pk")


def _page(first: Case, model: type[models.Model]) -> Iterator[Case]:
    """A list's first page, the next one, every choice of every filter, every kind of search."""
    yield first
    shown = first.get().context.get("cl")
    if shown is None:
        return  # a page of its own that shows all rows there are, as of the services
    if shown.older_url:
        yield _with(first, "a page further on", _deep(shown))
    for spec in shown.filter_specs:
        for choice in spec.choices(shown):
            if not choice["selected"] or choice["query_string"].strip("?"):
                yield _with(first, f"{spec.title}: {choice['display']}", choice["query_string"])
    for lookup in shown.search_fields:
        for what, term in _terms(lookup, model, shown.result_list):
            yield _with(first, what, f"?q={term}")


def _deep(shown: Any) -> str:
    """The page that begins in the middle of the list."""
    first, last = shown.queryset.earliest("pk").pk, shown.queryset.latest("pk").pk
    middle = uuid.UUID(int=(first.int + last.int) // 2)
    return f"?older={middle}"


def _terms(lookup: str, model: type[models.Model], rows: list[Any]) -> Iterator[tuple[str, str]]:
    """What somebody may type to find a row of the first page."""
    column, _, kind = lookup.partition("__")
    for row in rows[-1:]:
        value = str(getattr(row, column))
        if kind == "exact":
            yield f"search by the whole {column}", value.removeprefix("+")
            if model is CpaasNumber:
                yield "search by the last four digits", value[-4:]
        else:
            yield f"search by the {column}", value
            yield f"search by the first letter of the {column}", value[0]


def _with(case: Case, what: str, query: str) -> Case:
    return Case(case.face, case.list, case.viewer, what, case.url + query, case.client, case.headers)


# --- The API ----------------------------------------------------------------------------------------------------------
def _api_lists(viewer: str, actor: Any, token: str, *, staff: bool) -> Iterator[Case]:
    routes = [("provisioning/", pattern) for pattern in _patterns(api_urls.provisioning)]
    routes += [("", pattern) for pattern in _patterns(api_urls.enduser)]
    for prefix, pattern in routes:
        view = pattern.callback.view_class
        query = view.query_classes.get("GET")
        if query is None or not issubclass(query, ListQuery) or issubclass(view, UserView) == staff:
            continue
        route = str(pattern.pattern)
        if viewer not in _levels_of(view, staff):
            continue
        url = API + prefix + (route.replace("<str:pk>", str(_parent(route, actor).pk)) if "<" in route else route)
        headers = (("Authorization", f"Bearer {token}"),)
        yield from _api_list(Case("API", prefix + route, viewer, "first page", url, Client(), headers), query())


def _levels_of(view: Any, staff: bool) -> frozenset[str]:
    return frozenset({"operator", "system_provider", "reseller", "group"}) if staff else frozenset({"user"})


def _patterns(routes: list[URLPattern | URLResolver]) -> Iterator[Any]:
    for route in routes:
        if isinstance(route, URLResolver):
            yield from _patterns(route.url_patterns)
        else:
            yield route


def _parent(route: str, actor: Any) -> Any:
    """The row whose list `route` shows: the newest that the actor may see."""
    rows: TenantQuerySet[Any] = _PARENTS[route.split("/")[0]]._default_manager.all()  # type: ignore[assignment]
    return rows.visible_to(actor).latest("pk")


def _api_list(first: Case, query: serializers.Serializer[Any]) -> Iterator[Case]:
    """A list's first page, the next one, and the list by each parameter."""
    parameters = [name for name in query.fields if name not in ("cursor", "limit")]
    needed = "".join(f"&{name}={_needed(name)}" for name in parameters if query.fields[name].required)
    first = _with(first, "first page", f"?limit=50{needed}")
    yield first
    found = first.get().json()
    if found["next"]:
        yield _with(first, "a page further on", f"&cursor={found['next']}")
    if not found["results"]:
        return
    row = found["results"][-1]
    for name in parameters:
        field = query.fields[name]
        if field.required:
            continue
        values = list(field.choices) if isinstance(field, serializers.ChoiceField) else [_value(name, row)]
        for value in values:
            yield _with(first, f"{name}={value if len(values) > 1 else '…'}", f"&{name}={value}")


def _needed(name: str) -> str:
    return str(getattr(CpaasNumber.objects.earliest("pk"), {"tn": "number"}[name])).removeprefix("+")


def _value(name: str, row: dict[str, Any]) -> Any:
    """A value that finds the row: its own, as the API shows it."""
    if name == "q":
        value = row["remote"]["national"][-6:] if "remote" in row else row["name"][:1]
    elif name == "number" and "numbers" in row:
        value = row["numbers"][0]["number"].removeprefix("+")
    else:
        value = row.get({"after": "at", "before": "at"}.get(name, name))
    value = value["id"] if isinstance(value, dict) else value
    assert value is not None or name in ("user", "media_stream"), f"the walk has no value for {name}"
    return value if value is not None else row["id"]
