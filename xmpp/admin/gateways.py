"""The SMS gateway of a system provider on the staff site: where it connects, how that stands, and a test."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from portal.admin.base import TenantScopedAdmin
from portal.admin.changelist import KeysetChangeList
from portal.admin.forms import StaffModelForm, changes_of, values_of
from portal.admin.navigation import Entry
from portal.admin.pages import Detail
from portal.admin.row_actions import row_action
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.encryption import mask_of
from portal.problems import Problem
from xmpp.models import SmsGateway
from xmpp.services import gateways
from xmpp.services.gateway_standing import standing_of_gateway, standings_of
from xmpp.states import GatewayStatus

_OWNERS = frozenset({"operator", "system_provider"})
_FIELDS = {"system_provider", "enabled", "domain", "host", "port", "secret"}
_BADGES: dict[str, str] = {
    GatewayStatus.ONLINE: "p-good",
    GatewayStatus.CONNECTING: "p-good",
    GatewayStatus.REFUSED: "p-bad",
    GatewayStatus.UNREACHABLE: "p-bad",
}


class GatewayForm(StaffModelForm):
    """The secret is write-only (R9)."""

    secret = forms.CharField(
        label="Secret",
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = SmsGateway
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = mask_of(self.instance, "secret")
        secret = self.fields["secret"]
        secret.required = not stored
        secret.help_text = (
            f"Stored: {stored}. Leave it empty to keep it."
            if stored
            else "As it stands in the server's configuration of the component."
        )


class GatewayChangeList(KeysetChangeList):
    """A page of gateways with how each stands; whether they have workers is asked once for all."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        standings = standings_of(self.result_list)
        for row in self.result_list:
            row.standing = standings[row.pk]


@admin.register(SmsGateway, site=site)
class SmsGatewayAdmin(TenantScopedAdmin):
    slug = "sms-gateways"
    nav = Entry("Messaging", "SMS gateways", "swap_horiz", 15, levels=_OWNERS)
    levels = add_levels = change_levels = delete_levels = _OWNERS
    related = ("system_provider",)
    list_display = ("domain", "system_provider", "host", "state_shown", "checked_at")
    empty_text = (
        "There is no SMS gateway yet. With one, users with Integrated IM&P text from UC-One to addresses such as "
        "+12015550100@sms.example.com."
    )
    details = ("system_provider", "enabled", "host", "port", "checked_at")
    labels = {"checked_at": "Since"}
    form = GatewayForm
    parent_field = "system_provider"
    form_fields = ("enabled", "domain", "host", "port", "secret")
    autocomplete_fields = ("system_provider",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return GatewayChangeList

    @admin.display(description="State")
    def state_shown(self, row: Any) -> SafeString:
        status = row.standing.status
        return format_html('<span class="p-badge {}">{}</span>', _BADGES.get(status, ""), _label(status))

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        standing = standing_of_gateway(row)
        said = f": {standing.detail}" if standing.detail else ""
        state = Detail("State", f"{_label(standing.status)}{said}")
        return [state, *super().get_details(request, row), Detail("Secret", mask_of(row, "secret"))]

    def perform_create(self, request: HttpRequest, form: Any) -> SmsGateway:
        return gateways.create_gateway(actor=actor(request), **values_of(form, _FIELDS))

    def perform_update(self, request: HttpRequest, row: SmsGateway, form: Any) -> SmsGateway:
        return gateways.update_gateway(actor=actor(request), gateway=row, changes=changes_of(form, _FIELDS))

    def perform_delete(self, request: HttpRequest, row: SmsGateway) -> None:
        gateways.delete_gateway(actor=actor(request), gateway=row)

    def loss(self, row: SmsGateway) -> list[str]:
        return [
            f"XMPP users cannot text through {row} any more, and receive no texts there. Texts stay in the portal.",
        ]

    @row_action("Test", name="test", icon="network_check")
    def test(self, request: HttpRequest, row: SmsGateway) -> str:
        tested = gateways.test_gateway(actor=actor(request), gateway=row)
        if tested.status in (GatewayStatus.ONLINE, GatewayStatus.CONNECTING):
            return f"{tested}: {tested.status_detail or 'the gateway is online.'}"
        raise Problem("unreachable", f"{tested} failed: {tested.status_detail}")


def _label(status: str) -> str:
    return GatewayStatus(status).label if status else "Not yet connected"
