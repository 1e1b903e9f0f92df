"""All BroadWorks connections that an account may see; each is changed on the page of its system provider."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.admin.base import TenantScopedAdmin
from portal.admin.navigation import Entry
from portal.admin.pages import Button, Detail
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.encryption import mask_of
from xmpp.models import BroadworksConnection

_OWNERS = frozenset({"operator", "system_provider"})
_STATES = {"connected": ("Connected", "p-good"), "failed": ("Failed", "p-bad")}


@admin.register(BroadworksConnection, site=site)
class BroadworksConnectionAdmin(TenantScopedAdmin):
    slug = "broadworks"
    nav = Entry("Messaging", "BroadWorks", "lan", 17, levels=_OWNERS)
    levels = _OWNERS
    related = ("system_provider",)
    list_display = ("system_provider", "host_shown", "imp_domain", "state_shown", "checked_at")
    empty_text = (
        "BroadWorks is not connected yet. Connect it on the page of a system provider, and its users with Integrated "
        "IM&P get instant messaging and presence."
    )
    details = (
        "system_provider",
        "host",
        "port",
        "transport",
        "tls",
        "username",
        "imp_domain",
        "xmpp_host",
        "xmpp_port",
        "device_types",
        "checked_at",
    )
    labels = {"checked_at": "Last checked"}

    @admin.display(description="OCI-P")
    def host_shown(self, row: BroadworksConnection) -> str:
        return f"{row.host}:{row.port}" if row.host else "None"

    @admin.display(description="State")
    def state_shown(self, row: BroadworksConnection) -> SafeString:
        word, badge = _state(row)
        return format_html('<span class="p-badge {}">{}</span>', badge, word)

    def add_url(self, request: HttpRequest, parent: models.Model | None = None) -> str:
        """A system provider has one connection; the operator chooses the system provider first."""
        account = actor(request)
        is_own = account.may_write and account.actor_level == "system_provider"
        if parent is not None or not is_own or self.get_queryset(request).exists():
            return ""
        return reverse("admin:broadworks_edit", args=[account.actor_scope_id])

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        said = f": {row.status_detail}" if row.status_detail else ""
        state = Detail("State", f"{_state(row)[0]}{said}")
        return [state, *super().get_details(request, row), Detail("Password", mask_of(row, "password"))]

    def get_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        if not actor(request).may_write:
            return []
        urls = {
            name: reverse(f"admin:broadworks_{name}", args=[row.pk]) for name in ("edit", "test", "import", "delete")
        }
        importing = [Button("Import users", urls["import"], icon="group_add")] if row.host else []
        return [
            Button("Edit", urls["edit"], icon="edit"),
            Button("Test", urls["test"], "POST", icon="network_check"),
            *importing,
            Button("Delete", urls["delete"], style="danger", icon="delete"),
        ]


def _state(row: BroadworksConnection) -> tuple[str, str]:
    """In a word, and how it is coloured."""
    return _STATES.get(row.status, ("Only XMPP", ""))
