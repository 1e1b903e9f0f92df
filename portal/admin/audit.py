"""The audit trail, to read."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal.admin.base import TenantScopedAdmin
from portal.admin.changelist import capitalised
from portal.admin.navigation import Entry
from portal.admin.pages import Detail
from portal.admin.site import site
from portal.models import AuditEntry


def words(name: str) -> str:
    """A field's or action's name as words."""
    return capitalised(name.replace("_", " "))


def kind_of(entry: AuditEntry) -> str:
    """What kind of row an entry speaks of, in words."""
    names = (model._meta for model in apps.get_models() if model._meta.model_name == entry.object_type)
    return next((capitalised(meta.verbose_name) for meta in names), entry.object_type)


def changes(entry: AuditEntry) -> list[tuple[str, Any, Any]]:
    """(field, before, after) of everything an entry speaks of."""
    names = dict.fromkeys([*entry.before, *entry.after])
    return [(words(name), entry.before.get(name), entry.after.get(name)) for name in names]


@admin.register(AuditEntry, site=site)
class AuditAdmin(TenantScopedAdmin):
    slug = "audit"
    nav = Entry("Administration", "Audit trail", "history", 30)
    list_display = ("at", "who", "what", "which", "summary", "address")
    list_filter = ("actor_kind",)
    empty_text = "Nothing has been recorded yet."
    details = ("created_at", "actor_name", "actor_kind", "action", "object_name", "ip", "request_id")
    labels = {
        "created_at": "Time",
        "actor_name": "Who",
        "object_name": "What",
        "ip": "From",
        "request_id": "Request",
    }

    @admin.display(description="Time")
    def at(self, entry: AuditEntry) -> datetime:
        return entry.created_at

    @admin.display(description="Who")
    def who(self, entry: AuditEntry) -> str:
        return entry.actor_name

    @admin.display(description="What")
    def which(self, entry: AuditEntry) -> SafeString:
        return format_html('<span>{}<span class="p-under">{}</span></span>', entry.object_name, kind_of(entry))

    @admin.display(description="From")
    def address(self, entry: AuditEntry) -> str:
        return entry.ip or "—"

    @admin.display(description="Action")
    def what(self, entry: AuditEntry) -> str:
        return words(entry.action)

    @admin.display(description="Changes")
    def summary(self, entry: AuditEntry) -> SafeString:
        lines = [(name, _shown(after if after is not None else before)) for name, before, after in changes(entry)[:3]]
        return format_html_join(", ", "{}: {}", lines) or format_html("{}", "—")

    def describe(self, request: HttpRequest, row: Any, name: str) -> Detail:
        detail = super().describe(request, row, name)
        return replace(detail, value=words(detail.value)) if name == "action" else detail

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        details = super().get_details(request, row)
        details.insert(4, Detail("Kind", kind_of(row)))
        return details + [
            Detail(name, f"{_shown(before)} → {_shown(after)}" if before is not None else _shown(after))
            for name, before, after in changes(row)
        ]


def _shown(value: Any) -> str:
    """A recorded value, short enough for a line."""
    if value is None or value == "":
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
