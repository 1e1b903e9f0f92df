"""What a number's pages say and offer where it differs at the carrier (R44)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from cpaas.admin.shown import licence_banner
from cpaas.models import CpaasNumber
from cpaas.services import drift
from cpaas.states import HookState, NumberStatus
from portal.admin.base import TenantScopedAdmin
from portal.admin.row_actions import row_action
from portal.admin.scoped import actor


class DifferenceFilter(admin.SimpleListFilter):
    """Numbers that were found different at the carrier."""

    title = "carrier"
    parameter_name = "carrier"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("differs", "Differs at the carrier")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return queryset.filter(needs_attention=True) if self.value() == "differs" else queryset


class DriftPages(TenantScopedAdmin):
    """The banners and buttons of a number."""

    def get_banners(self, request: HttpRequest, row: Any) -> list[str]:
        unlicensed = row.user is not None and not (row.user.is_licensed and row.user.is_active)
        return [*([licence_banner(row)] if unlicensed else []), *row.warnings]

    @row_action("Check at carrier", name="check", icon="fact_check", available="may_check")
    def check_at_carrier(self, request: HttpRequest, row: CpaasNumber) -> str:
        finding = drift.check_number(actor=actor(request), number=row)
        if finding.hook == HookState.SET_AGAIN:
            return f"The webhook of {row.display} was missing at the carrier and was set again."
        if finding.warnings:
            return f"{row.display} was compared with the carrier. See below what was found."
        return f"All is well with {row.display} at the carrier."

    def may_check(self, row: CpaasNumber) -> bool:
        return drift.may_be_checked(row)

    @row_action(
        "Lead texts here",
        name="take-hook",
        icon="call_merge",
        style="primary",
        loss="foreign_loss",
        available="leads_elsewhere",
    )
    def take_hook(self, request: HttpRequest, row: CpaasNumber) -> str:
        drift.take_hook(actor=actor(request), number=row)
        return f"Texts to {row.display} are led here from now on."

    def leads_elsewhere(self, row: CpaasNumber) -> bool:
        return row.hook_state == HookState.FOREIGN and row.status == NumberStatus.ENABLED

    def foreign_loss(self, row: CpaasNumber) -> list[str]:
        return [f"Whoever gets the texts of {row.display} now, at the address set at the carrier, gets none any more."]
