"""Manage Services: what runs in the workers, live, with start, stop and restart (R36)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.contrib import admin
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from portal.admin.base import TenantScopedAdmin
from portal.admin.navigation import Entry
from portal.admin.pages import Detail, Route
from portal.admin.row_actions import row_action
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.models import Service
from portal.services import residents

_KINDS = {"running": "p-good", "failed": "p-bad", "starting": "p-wait"}
_LEVELS = frozenset({"operator", "system_provider"})
_MOST = 200
_STOPPED = "It does nothing from then on, on no machine, until somebody starts it again."


@admin.register(Service, site=site)
class ServiceAdmin(TenantScopedAdmin):
    """The services of the whole installation are the operator's; a system provider has its own connectors."""

    slug = "services"
    levels = _LEVELS
    nav = Entry("Administration", "Manage Services", "settings_power", 45, levels=_LEVELS)
    related = ("system_provider",)
    details = ("system_provider", "desired", "holder", "since", "seen_at")
    labels = {"desired": "Wanted", "holder": "Reported by", "seen_at": "Last report"}
    list_title = "Manage Services"

    def routes(self) -> list[Route]:
        return [("now/", self.now_view, "now"), *super().routes()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """All services on one page, which keeps itself up to date."""
        context = {**self._context(request), "title": self.list_title, "heading": self.list_title}
        return self.page(request, "portal/services.html", None, {**context, "crumbs": [(self.list_title, None)]})

    def now_view(self, request: HttpRequest) -> HttpResponse:
        """The same by itself, asked for by the page every two seconds."""
        if not self.has_view_permission(request):
            return HttpResponse(status=404)
        return render(request, "portal/services_rows.html", self._context(request))

    def _context(self, request: HttpRequest) -> dict[str, Any]:
        # Those of the whole installation first, however many tenants there are.
        of_all = F("system_provider__name").asc(nulls_first=True)
        rows = list(self.get_queryset(request).order_by(of_all, "name", "pk")[: _MOST + 1])
        lines = [
            {
                "row": row,
                "url": self.url_of(row),
                "standing": residents.standing_of(row),
                "kind": _KINDS.get(residents.standing_of(row).actual, ""),
                "worker": residents.worker_of(row.holder),
                "counters": _counters(row),
                "buttons": self.get_buttons(request, row),
            }
            for row in rows[:_MOST]
        ]
        is_operator = actor(request).actor_level == "operator"
        return {
            "lines": lines,
            "most": _MOST if len(rows) > _MOST else None,
            "holdings": residents.holdings() if is_operator else [],
            "shows_leases": is_operator,
            "now_url": self.url("now"),
        }

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        standing = residents.standing_of(row)
        state = [Detail("State", standing.actual.capitalize()), Detail("Detail", standing.detail or "—")]
        return [*state, *super().get_details(request, row), Detail("Counters", _counters(row) or "—")]

    def describe(self, request: HttpRequest, row: Any, name: str) -> Detail:
        detail = super().describe(request, row, name)
        return replace(detail, value=residents.worker_of(row.holder)) if name == "holder" else detail

    def get_tabs(self, request: HttpRequest, row: Any, active: str = "profile") -> list[dict[str, Any]]:
        places = [("profile", "Profile", "detail"), ("history", "Audit trail", "history")]
        return [
            {"title": title, "url": self.url(view, row.pk), "active": name == active} for name, title, view in places
        ]

    # --- Actions ---------------------------------------------------------------------------------------------------
    def is_stopped(self, row: Service) -> bool:
        return row.desired == "stopped"

    def is_wanted(self, row: Service) -> bool:
        return row.desired == "running"

    def stop_loss(self, row: Service) -> list[str]:
        return [f"{row.title} finishes what it is at and stops.", _STOPPED]

    def restart_loss(self, row: Service) -> list[str]:
        return [f"Every worker ends its {row.title} in order and starts it again. What waits is done after that."]

    @row_action("Start", name="start", icon="play_arrow", style="primary", available="is_stopped")
    def start(self, request: HttpRequest, row: Service) -> str:
        residents.start_service(actor=actor(request), service=row)
        return f"{row.title} is being started."

    @row_action("Restart", name="restart", icon="restart_alt", loss="restart_loss", available="is_wanted")
    def restart(self, request: HttpRequest, row: Service) -> str:
        residents.restart_service(actor=actor(request), service=row)
        return f"{row.title} is being restarted."

    @row_action("Stop", name="stop", icon="stop", style="danger", loss="stop_loss", available="is_wanted")
    def stop(self, request: HttpRequest, row: Service) -> str:
        residents.stop_service(actor=actor(request), service=row)
        return f"{row.title} is being stopped."


def _counters(row: Service) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in sorted(row.counters.items()))
