"""CPaaS platforms on the staff site (S4.9–S4.22, R27)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from cpaas.admin.platform_form import PlatformForm
from cpaas.admin.protection import limits_of, pause_of
from cpaas.carriers.registry import CARRIERS, get_carrier
from cpaas.models import CpaasPlatform
from cpaas.services import drift_rounds, platforms
from portal.admin.base import TenantScopedAdmin
from portal.admin.forms import show_problem
from portal.admin.navigation import Entry
from portal.admin.pages import Detail, Route
from portal.admin.row_actions import row_action
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.admin.writing import forbid
from portal.encryption import mask
from portal.models import SystemProvider
from portal.problems import Problem

OWNERS = frozenset({"operator", "system_provider"})
ASKING = "Asking the carrier whether the keys work …"


def state_badge(platform: CpaasPlatform) -> SafeString:
    kind = "p-good" if platform.state == "connected" else "p-bad"
    return format_html('<span class="p-badge {}">{}</span>', kind, platform.get_state_display())


@admin.register(CpaasPlatform, site=site)
class PlatformAdmin(TenantScopedAdmin):
    """A platform is added from its system provider's page; adding and changing ask the carrier (S4.22)."""

    slug = "platforms"
    nav = Entry("Messaging", "CPaaS platforms", "hub", 10, levels=OWNERS, counted=True)
    levels = add_levels = change_levels = delete_levels = OWNERS
    related = ("system_provider",)
    list_display = ("name", "carrier", "system_provider", "state_shown", "checked_at")
    empty_text = "There is no CPaaS platform yet. Open a system provider and choose Add CPaaS Platform."
    details = (
        "system_provider",
        "carrier",
        "user_confirmation_required",
        "user_can_block",
        "mms",
        "checked_at",
        "compared_at",
        "opt_in_prompt",
    )

    @admin.display(description="State")
    def state_shown(self, row: CpaasPlatform) -> SafeString:
        return state_badge(row)

    def routes(self) -> list[Route]:
        return [("add/<str:parent_id>/", self.add_below, "add_below"), *super().routes()]

    def add_url(self, request: HttpRequest, parent: Any = None) -> str:
        return ""  # Add CPaaS Platform stands on the system provider's page

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Adding needs a system provider: one's own, or one to be chosen."""
        if not self.has_add_permission(request):
            raise forbid(request)
        scope = actor(request).scope
        if scope is not None:
            return HttpResponseRedirect(self.url("add_below", scope.pk))
        messages.info(request, "Open the system provider that gets the platform, then choose Add CPaaS Platform.")
        return HttpResponseRedirect(reverse("admin:portal_systemprovider_changelist"))

    def add_below(self, request: HttpRequest, parent_id: str) -> HttpResponse:
        """Add a platform to a system provider (S4.9); refused while nobody gets alerts (S4.20, R27)."""
        provider = site._registry[SystemProvider].get_scoped(request, parent_id)
        if not self.has_add_permission(request):
            raise forbid(request)
        place: dict[str, Any] = {
            "heading": "Add CPaaS Platform",
            "kind": f"System provider · {provider}",
            "crumbs": [
                ("System providers", reverse("admin:portal_systemprovider_changelist")),
                (str(provider), self._home(provider)),
                ("Add CPaaS Platform", None),
            ],
            "cancel_url": self._home(provider),
        }
        if not platforms.has_alert_account(provider.pk):
            place["accounts_url"] = reverse("admin:portal_systemprovider_tab", args=[provider.pk, "accounts"])
            refusal = self.page(request, "cpaas/no_alert_account.html", None, place)
            refusal.status_code = 409
            return refusal
        asked = request.POST if request.method == "POST" else request.GET
        carrier = asked.get("carrier") if asked.get("carrier") in CARRIERS else next(iter(CARRIERS))
        form = PlatformForm(request.POST if request.method == "POST" else None, platform=None, carrier=str(carrier))
        if form.is_bound and form.is_valid():
            try:
                saved = self._create(request, provider, form)
            except Problem as problem:
                show_problem(form, problem, form.field_names())
            else:
                messages.success(request, f"{saved} was added and is connected.")
                return HttpResponseRedirect(self._home(provider))
        return self.form_page(request, None, form, may_save=True, busy_text=ASKING, **place)

    def _create(self, request: HttpRequest, provider: SystemProvider, form: PlatformForm) -> CpaasPlatform:
        return platforms.create_platform(
            actor=actor(request),
            system_provider=provider,
            carrier=form.carrier,
            credentials=form.credentials(),
            options=form.options(),
            **form.plain(changed_only=False),
        )

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_scoped(request, object_id)
        if not self.has_change_permission(request, row):
            raise forbid(request)
        form = PlatformForm(request.POST if request.method == "POST" else None, platform=row)
        if form.is_bound and form.is_valid():
            changes = form.plain(changed_only=True) | {"credentials": form.credentials(), "options": form.options()}
            try:
                saved = platforms.update_platform(actor=actor(request), platform=row, changes=changes)
            except Problem as problem:
                show_problem(form, problem, form.field_names())
            else:
                messages.success(request, f"{saved} was saved.")
                return HttpResponseRedirect(self.url_of(saved))
        return self.form_page(request, row, form, may_save=True, busy_text=ASKING)

    def _home(self, provider: SystemProvider) -> str:
        return reverse("admin:portal_systemprovider_detail", args=[provider.pk])

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        """Secrets by their last four characters only (R9); the webhook address to those who may hold it."""
        details = [Detail("State", f"{row.get_state_display()}{': ' + row.state_detail if row.state_detail else ''}")]
        if pause := pause_of(row):
            details.append(Detail("Pause", pause))
        *plain, prompt = super().get_details(request, row)
        details += plain
        for field in get_carrier(row.carrier).credential_fields:
            stored = row.credentials.get(field.name, "")
            details.append(Detail(field.label, mask(stored) if field.secret and stored else stored))
        details += [prompt, Detail("Limits", limits_of(row), kind="long")]
        details.append(Detail("Answer to STOP", row.option("stop_reply") or "None", kind="long"))
        if actor(request).level == "system_provider" and actor(request).may_write:
            details.append(Detail("Webhook address", row.inbound_url, kind="long"))
        return details

    @row_action("Test", name="test", icon="network_check")
    def test(self, request: HttpRequest, row: CpaasPlatform) -> str:
        tested = platforms.test_platform(actor=actor(request), platform=row)
        if tested.state == "connected":
            return f"{tested} is connected: the carrier took all keys."
        raise Problem("carrier_rejected", f"{tested} failed: {tested.state_detail}")

    @row_action("Compare numbers", name="compare", icon="fact_check", available="has_numbers")
    def compare(self, request: HttpRequest, row: CpaasPlatform) -> str:
        drift_rounds.compare_now(actor=actor(request), platform=row)
        return f"The numbers of {row} are being compared with the carrier. What differs is shown on the overview."

    def has_numbers(self, row: CpaasPlatform) -> bool:
        return row.numbers.exists()

    def perform_delete(self, request: HttpRequest, row: CpaasPlatform) -> None:
        platforms.delete_platform(actor=actor(request), platform=row)

    def deleted_url(self, request: HttpRequest, row: CpaasPlatform) -> str:
        return self._home(row.system_provider)

    def loss(self, row: CpaasPlatform) -> list[str]:
        return [
            f"The platform {row} and its stored keys are deleted. This cannot be undone.",
            "A platform that still has numbers cannot be deleted.",
        ]
