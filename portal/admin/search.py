"""Search over everything the actor may see: the lists' own searches, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.http import urlencode

from portal.admin.site import site

MOST = 6
LONGEST = 160


@dataclass(frozen=True)
class Hit:
    """A row that was found, and what it belongs to."""

    row: models.Model
    url: str
    place: str


@dataclass(frozen=True)
class Found:
    """The first rows of a kind, and where the rest is listed."""

    title: str
    hits: list[Hit]
    more_url: str


def search(request: HttpRequest) -> HttpResponse:
    """Tenants, users and accounts by the beginning of a name, numbers by their last four digits or as a whole."""
    term = request.GET.get("q", "").replace("\x00", "").strip()[:LONGEST]
    context = {
        **site.each_context(request),
        "title": "Search",
        "heading": f"Search results for “{term}”" if term else "Search",
        "crumbs": [("Search", None)],
        "term": term,
        "found": find(request, term) if term else [],
    }
    return TemplateResponse(request, "portal/search.html", context)


def find(request: HttpRequest, term: str) -> list[Found]:
    """What the lists of the sidebar find, by indexes, however many rows there are."""
    found = []
    for admin in _searched(request):
        matching, _ = admin.get_search_results(request, admin.get_queryset(request), term)
        rows = list(matching[: MOST + 1])
        if rows:
            more = f"{admin.url('changelist')}?{urlencode({'q': term})}" if len(rows) > MOST else ""
            found.append(Found(admin.list_title, [_hit(admin, row) for row in rows[:MOST]], more))
    return found


def _hit(admin: Any, row: models.Model) -> Hit:
    owners = [getattr(row, name) for name in admin.related if "__" not in name]
    return Hit(row, admin.url_of(row), " · ".join(str(owner) for owner in owners if owner is not None))


def _searched(request: HttpRequest) -> list[Any]:
    """The lists that the actor has in the sidebar and that can be searched, in its order."""
    admins = [admin for admin in site._registry.values() if admin.search_fields and getattr(admin, "nav", None)]
    admins = [admin for admin in admins if admin.has_view_permission(request)]
    return sorted(admins, key=lambda admin: (admin.nav.section == "Administration", admin.nav.place))


site.add_page("search/", search, "search")
