"""All IM&P accounts and how their sessions stand. What is to be done about one is done on the page of its user."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.admin.base import TenantScopedAdmin
from portal.admin.changelist import KeysetChangeList
from portal.admin.navigation import Entry
from portal.admin.pages import Detail
from portal.admin.site import site
from portal.models import EndUser
from xmpp.models import ImpAccount
from xmpp.services.members import abandoned_shards
from xmpp.services.standing import Standing, standing_of, standing_so
from xmpp.states import AccountStatus

_BADGES = {
    AccountStatus.ONLINE: "p-good",
    AccountStatus.CONNECTING: "p-wait",
    AccountStatus.RECONNECTING: "p-wait",
    AccountStatus.AUTHENTICATION_FAILED: "p-bad",
    AccountStatus.TLS_FAILED: "p-bad",
}


def standing_badge(standing: Standing) -> SafeString:
    """The status, and why it is so."""
    badge = format_html('<span class="p-badge {}">{}</span>', _BADGES.get(standing.status, ""), standing.status.label)
    return format_html("{} {}", badge, standing.reason) if standing.reason else badge


class StatusFilter(admin.SimpleListFilter):
    title = "XMPP status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(AccountStatus.choices)

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        value = self.value()
        return standing_so(queryset, AccountStatus(value)) if value in AccountStatus.values else queryset


class AccountChangeList(KeysetChangeList):
    """A page of accounts with how each stands; who serves them is asked once for all."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        abandoned = abandoned_shards()
        for row in self.result_list:
            row.standing = standing_of(row, abandoned)


@admin.register(ImpAccount, site=site)
class ImpAccountAdmin(TenantScopedAdmin):
    slug = "imp-accounts"
    nav = Entry("Messaging", "IM&P accounts", "forum", 16)
    related = ("system_provider",)
    list_display = ("shown_id", "of_user", "state_shown", "status_at", "password_state")
    list_filter = (StatusFilter,)
    empty_text = "There is no IM&P account yet. Integrated IM&P is assigned on the page of a user."
    details = ("user", "system_provider", "assigned", "enabled", "status_at", "password_state", "password_set_at")
    labels = {"status_at": "Since", "password_state": "IM&P password", "password_set_at": "Password set"}

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        """Nothing here decrypts a password. Users are read after their accounts: joined, PostgreSQL would walk through
        them from the newest on to the page's first."""
        found = super().get_queryset(request).defer("password", "pending_password")
        return found.prefetch_related("user")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return AccountChangeList

    @admin.display(description="IM&P ID")
    def shown_id(self, row: ImpAccount) -> str:
        return row.imp_id or "Not known yet"

    @admin.display(description="User")
    def of_user(self, row: ImpAccount) -> SafeString:
        return format_html('<a href="{}">{}</a>', site._registry[EndUser].url_of(row.user), row.user)

    @admin.display(description="XMPP status")
    def state_shown(self, row: Any) -> SafeString:
        return standing_badge(row.standing)

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        state = Detail("XMPP status", standing_badge(standing_of(row, abandoned_shards())))
        received = Detail("Last message received", row.last_message_received_at, kind="time")
        return [state, *super().get_details(request, row), received]
