"""System providers, resellers and groups."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from portal.admin.forms import StaffModelForm, changes_of, country_field, time_zone_field, values_of
from portal.admin.levels import LevelAdmin
from portal.admin.navigation import Entry
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.extensions import Tab
from portal.models import EndUser, Group, PortalAccount, Reseller, SystemProvider
from portal.services import tenants

RESELLERS = Tab("resellers", "Resellers", Reseller)
GROUPS = Tab("groups", "Groups", Group)
USERS = Tab("users", "Users", EndUser)
ACCOUNTS = Tab("accounts", "Portal accounts", PortalAccount)


class SystemProviderForm(StaffModelForm):
    time_zone = time_zone_field(empty="")
    default_country = country_field(label="Default country")

    class Meta:
        model = SystemProvider
        fields: tuple[str, ...] = ()


class TenantAdmin(LevelAdmin):
    """What the three levels above users share: the same services with other models."""

    def perform_update(self, request: HttpRequest, row: Any, form: Any) -> Any:
        return tenants.update_tenant(
            actor=actor(request), row=row, changes=changes_of(form, tenants.FIELDS[self.model])
        )

    def perform_delete(self, request: HttpRequest, row: Any) -> None:
        tenants.delete_tenant(actor=actor(request), row=row)

    def loss(self, row: Any) -> list[str]:
        return [
            f"{row} and its settings are deleted. This cannot be undone.",
            "It must be empty: nothing that is still below it is deleted along with it.",
            "Its audit trail and opt-in evidence are kept.",
        ]


@admin.register(SystemProvider, site=site)
class SystemProviderAdmin(TenantAdmin):
    slug = "system-providers"
    level = "system_provider"
    nav = Entry("Tenants", "System providers", "domain", 10, levels=frozenset({"operator"}), counted=True)
    levels = frozenset({"operator", "system_provider"})
    add_levels = delete_levels = frozenset({"operator"})
    change_levels = levels
    own_tabs = (RESELLERS, GROUPS, USERS, ACCOUNTS)
    list_display = ("name", "default_country", "time_zone")
    search_fields = ("name__istartswith",)
    search_help_text = "Beginning of the name"
    empty_text = "There is no system provider yet. Add the first one to begin."
    details = ("name", "default_country", "time_zone", "auto_generate_xmpp_password", "staff_may_read_messages")
    form = SystemProviderForm
    form_fields = details

    def perform_create(self, request: HttpRequest, form: Any) -> SystemProvider:
        fields = values_of(form, tenants.FIELDS[SystemProvider])
        return tenants.create_system_provider(actor=actor(request), **fields)


@admin.register(Reseller, site=site)
class ResellerAdmin(TenantAdmin):
    slug = "resellers"
    level = "reseller"
    nav = Entry(
        "Tenants", "Resellers", "storefront", 20, levels=frozenset({"operator", "system_provider"}), counted=True
    )
    levels = frozenset({"operator", "system_provider", "reseller"})
    add_levels = delete_levels = frozenset({"operator", "system_provider"})
    change_levels = levels
    own_tabs = (GROUPS, USERS, ACCOUNTS)
    related = ("system_provider",)
    list_display = ("name", "system_provider")
    search_fields = ("name__istartswith",)
    search_help_text = "Beginning of the name"
    empty_text = "There is no reseller here yet. Groups belong to a reseller, so it comes first."
    details = ("name", "system_provider")
    parent_field = "system_provider"
    form_fields = ("name",)
    autocomplete_fields = ("system_provider",)

    def perform_create(self, request: HttpRequest, form: Any) -> Reseller:
        return tenants.create_reseller(actor=actor(request), **form.cleaned_data)


@admin.register(Group, site=site)
class GroupAdmin(TenantAdmin):
    slug = "groups"
    level = "group"
    nav = Entry(
        "Tenants", "Groups", "groups", 30, levels=frozenset({"operator", "system_provider", "reseller"}), counted=True
    )
    add_levels = delete_levels = frozenset({"operator", "system_provider", "reseller"})
    change_levels = LevelAdmin.levels
    own_tabs = (USERS, ACCOUNTS)
    related = ("reseller",)
    list_display = ("name", "reseller", "enterprise")
    search_fields = ("name__istartswith",)
    search_help_text = "Beginning of the name"
    empty_text = "There is no group here yet. A group holds the users and media streams of one customer."
    details = ("name", "reseller", "enterprise")
    parent_field = "reseller"
    form_fields = ("name", "enterprise")
    autocomplete_fields = ("reseller",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        names = super().get_fields(request, obj)
        return names if tenants.may_link_groups(actor(request)) else [name for name in names if name != "enterprise"]

    def perform_create(self, request: HttpRequest, form: Any) -> Group:
        return tenants.create_group(actor=actor(request), **form.cleaned_data)
