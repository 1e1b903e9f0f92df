"""The sidebar: what the actor's level works with, from what each ModelAdmin says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from portal.admin.scoped import LEVELS, actor

_OWN_LEVEL = {
    "system_provider": ("My system provider", "portal_systemprovider", "domain"),
    "reseller": ("My reseller", "portal_reseller", "storefront"),
    "group": ("My group", "portal_group", "groups"),
}
_SECTIONS = ("Tenants", "Messaging", "Administration")


@dataclass(frozen=True)
class Entry:
    """A line of the sidebar, set as `nav` of a ModelAdmin. `icon` is a name of the Material symbols; what is `counted`
    has a tile on the landing page."""

    section: str
    title: str
    icon: str
    place: int
    levels: frozenset[str] = LEVELS
    counted: bool = False


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar as unfold wants it; named by UNFOLD in the settings."""
    from portal.admin.site import site

    account = actor(request)
    overview = [_line("Overview", "dashboard", reverse(f"{site.name}:index"), request, exact=True)]
    if account.actor_level in _OWN_LEVEL:
        title, name, icon = _OWN_LEVEL[account.actor_level]
        own = reverse(f"{site.name}:{name}_detail", args=[account.actor_scope_id])
        overview.append(_line(title, icon, own, request))
    lines: dict[str, list[tuple[int, dict[str, Any]]]] = {section: [] for section in _SECTIONS}
    for model_admin in site._registry.values():
        entry: Entry | None = getattr(model_admin, "nav", None)
        if entry and account.actor_level in entry.levels and model_admin.has_view_permission(request):
            url = model_admin.url("changelist")
            lines[entry.section].append((entry.place, _line(entry.title, entry.icon, url, request)))
    for name, entry in site.entries:
        if account.actor_level in entry.levels:
            url = reverse(f"{site.name}:{name}")
            lines[entry.section].append((entry.place, _line(entry.title, entry.icon, url, request)))
    groups: list[dict[str, Any]] = [{"title": "", "items": overview}]
    for section, found in lines.items():
        if found:
            items = [line for _, line in sorted(found, key=lambda pair: pair[0])]
            groups.append({"title": section, "separator": True, "items": items})
    return groups


def _line(title: str, icon: str, url: str, request: HttpRequest, *, exact: bool = False) -> dict[str, Any]:
    active = request.path == url if exact else request.path.startswith(url)
    return {"title": title, "icon": icon, "link": url, "active": active}
