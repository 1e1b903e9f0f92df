"""The landing page: what needs attention, what there is at the actor's level, and the way to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from portal import extensions
from portal.admin.changelist import capped
from portal.admin.scoped import actor, visible
from portal.admin.site import site
from portal.health import silent_residents
from portal.models import PortalAccount


@dataclass(frozen=True)
class Tile:
    """How many rows of a kind there are, with a link to them."""

    title: str
    count: str
    icon: str
    url: str


def landing(request: HttpRequest) -> HttpResponse:
    account = actor(request)
    found = (make(account) for make in extensions.landing_sections)
    notices = [notice for make in extensions.attention for notice in make(account)]
    context = {
        **site.each_context(request),
        "title": "Overview",
        "heading": f"Welcome, {account.get_full_name()}",
        "kind": f"{account.get_level_display()} · {account.get_role_display()}",
        "subject": str(account.scope or ""),
        "crumbs": [("Overview", None)],
        "notices": sorted(notices, key=lambda notice: not notice.urgent),
        "sections": [section for section in found if section is not None],
        "tiles": tiles(request),
    }
    return TemplateResponse(request, "portal/landing.html", context)


def tiles(request: HttpRequest) -> list[Tile]:
    """One tile for each list of the sidebar that counts something of the tenants."""
    account, found = actor(request), []
    for model, model_admin in site._registry.items():
        entry = getattr(model_admin, "nav", None)
        if entry and entry.counted and account.actor_level in entry.levels:
            rows = visible(model, account)
            tile = Tile(entry.title, capped(rows), entry.icon, model_admin.url("changelist"))
            found.append(((entry.section == "Messaging", entry.place), tile))
    return [tile for _, tile in sorted(found, key=lambda pair: pair[0])]


def residents_down(account: PortalAccount) -> Iterator[extensions.Notice]:
    """Services of the whole installation that should run and do not; only the operator can do something (R36)."""
    if account.actor_level != "operator":
        return
    url = reverse(f"{site.name}:portal_service_changelist")
    for row in silent_residents():
        detail = row.detail or "It has not been heard of. Is its worker running?"
        yield extensions.Notice("Service down", row.name, url, detail, row.seen_at or row.since)


extensions.attention.append(residents_down)
site.add_page("", landing, "index")
