"""Pages of the tenant tree: each has tabs with own URLs for what is at that level and below (S4.34)."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.http import Http404, HttpRequest, HttpResponse

from portal.admin.base import TenantScopedAdmin
from portal.admin.changelist import capitalised
from portal.admin.pages import Route
from portal.extensions import Tab, page_tabs


class LevelAdmin(TenantScopedAdmin):
    """`level` is the model's name in `tenant_paths`; `own_tabs` are the tabs of this app, others come by extension."""

    level: ClassVar[str]
    own_tabs: ClassVar[tuple[Tab, ...]] = ()

    def routes(self) -> list[Route]:
        return [*super().routes(), ("<str:object_id>/<slug:tab>/", self.tab_view, "tab")]

    def tabs_of(self, row: models.Model) -> list[Tab]:
        found = (make(row) for make in page_tabs)
        return [*self.own_tabs, *(tab for tab in found if tab is not None)]

    def get_tabs(self, request: HttpRequest, row: Any, active: str = "profile") -> list[dict[str, Any]]:
        registry = self.admin_site._registry
        tabs = [tab for tab in self.tabs_of(row) if registry[tab.model].has_view_permission(request)]
        places = [
            ("profile", "Profile", self.url("detail", row.pk)),
            *((tab.name, tab.title, self.url("tab", row.pk, tab.name)) for tab in tabs),
            ("history", "Audit trail", self.url("history", row.pk)),
        ]
        return [{"title": title, "url": url, "active": name == active} for name, title, url in places]

    def tab_view(self, request: HttpRequest, object_id: str, tab: str) -> HttpResponse:
        """The rows of another model below this row, as that model's own list."""
        row = self.get_scoped(request, object_id)
        found = next((each for each in self.tabs_of(row) if each.name == tab), None)
        listed = self.admin_site._registry[found.model] if found else None
        if found is None or listed is None or not listed.has_view_permission(request):
            raise Http404("There is no such page.")
        path = found.model.tenant_paths[self.level]  # type: ignore[attr-defined]
        context = {
            "heading": str(row),
            "kind": capitalised(self.opts.verbose_name),
            "title": f"{found.title} of {row}",
            "row": row,
            "crumbs": self.crumbs(row, found.title),
            "tabs": self.get_tabs(request, row, found.name),
            "add_url": listed.add_url(request, row),
        }
        response: HttpResponse = listed.list_view(request, narrow={path: row.pk}, context=context)
        return response
