"""CPaaS numbers on the staff site (S4.23–S4.42)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.db.models.functions import Right
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from cpaas.admin.number_drift import DifferenceFilter, DriftPages
from cpaas.admin.number_forms import SETTINGS, AssignForm, NumberForm, provisioning_notice
from cpaas.admin.number_transfer import TransferPages
from cpaas.admin.protection import blocked_count, blocking_setting, stops_section
from cpaas.admin.searching import searched_number
from cpaas.admin.shown import class_words, compared_at, opt_in_badge, opt_in_sentence, status_badge
from cpaas.models import CpaasNumber, MediaStream, OptInEvidence
from cpaas.services import numbers, opt_in
from cpaas.services.platforms import platforms_for
from cpaas.services.traffic import LATELY, not_delivered_since
from cpaas.states import NumberStatus, OptInState
from portal import clock
from portal.admin.forms import changes_of, show_problem
from portal.admin.navigation import Entry
from portal.admin.pages import Detail, Route
from portal.admin.row_actions import row_action
from portal.admin.scoped import actor, visible
from portal.admin.site import site
from portal.admin.writing import forbid
from portal.extensions import Section
from portal.models import EndUser
from portal.problems import Problem, conflict

_MOST_EVIDENCE = 50


class OptInFilter(admin.ChoicesFieldListFilter):
    """The opt-in state, spelled as everywhere."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "opt-in"


class NotDeliveredFilter(admin.SimpleListFilter):
    """Numbers from which a text was sent lately that did not arrive."""

    title = "texts"
    parameter_name = "not_delivered"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("lately", "Not delivered in the last 24 hours")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        if self.value() != "lately":
            return queryset
        return queryset.filter(pk__in=not_delivered_since(clock.now() - LATELY).values("number_id"))


@admin.register(CpaasNumber, site=site)
class NumberAdmin(TransferPages, DriftPages):
    """A number is added from the page of its user or media stream; the carrier is asked first (S4.29)."""

    slug = "numbers"
    nav = Entry("Messaging", "CPaaS Numbers", "dialpad", 20, counted=True)
    change_levels = delete_levels = TransferPages.levels
    related = ("platform", "platform__system_provider", "user", "media_stream", "group")
    list_display = ("shown_number", "assigned_to", "group", "messaging_type", "status_shown", "opt_in_shown")
    list_filter = ("status", ("opt_in_state", OptInFilter), NotDeliveredFilter, DifferenceFilter)
    search_fields = ("number__exact",)
    search_help_text = "Whole number or its last four digits"
    empty_text = "There is no CPaaS number here yet. Numbers are added on the page of a user or media stream."
    details = ("friendly_name", "platform", "can_block", "note")
    form = NumberForm
    form_fields = SETTINGS
    delete_label = "Delete number"

    # --- The list ------------------------------------------------------------------------------------------------
    @admin.display(description="CPaaS Number")
    def shown_number(self, row: CpaasNumber) -> str:
        return row.display

    @admin.display(description="Assigned to")
    def assigned_to(self, row: CpaasNumber) -> SafeString:
        owner: Any = row.user or row.media_stream
        return format_html('<a href="{}">{}</a>', site._registry[type(owner)].url_of(owner), owner)

    @admin.display(description="Messaging Type")
    def messaging_type(self, row: CpaasNumber) -> str:
        return row.messaging_type

    @admin.display(description="Status")
    def status_shown(self, row: CpaasNumber) -> SafeString:
        return status_badge(row)

    @admin.display(description="Opt-in")
    def opt_in_shown(self, row: CpaasNumber) -> SafeString:
        return opt_in_badge(row)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """By four last digits, through the index on them, or by the whole number as it is dialled."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if len(term) == 4 and term.isascii() and term.isdigit():
            return queryset.annotate(last_four=Right("number", 4)).filter(last_four=term), False
        number = searched_number(request, term)
        return (queryset.filter(number=number) if number else queryset.none()), False

    # --- A number's page -----------------------------------------------------------------------------------------
    def routes(self) -> list[Route]:
        return [
            ("user/<str:owner_id>/add/", self.add_to_user, "add_to_user"),
            ("media-stream/<str:owner_id>/add/", self.add_to_stream, "add_to_stream"),
            *super().routes(),
            ("<str:object_id>/status/", self.status_view, "status"),
        ]

    def add_url(self, request: HttpRequest, parent: Any = None) -> str:
        return ""  # Add CPaaS Number stands on the page of the user or media stream

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        owner = row.user or row.media_stream
        found = {detail.label: detail for detail in super().get_details(request, row)}
        shown = [
            Detail("Number", row.national),
            Detail("Friendly name", row.friendly_name or row.national),
            Detail("User" if row.user else "Media stream", owner, self.link_to(request, owner)),
            found["Platform"],
            Detail("Status", status_badge(row)),
            Detail("Messaging Type", row.messaging_type),
            Detail("User Can Block Numbers", blocking_setting(row)),
            Detail("Blocked parties", blocked_count(row)),
            Detail("Opt-in", opt_in_sentence(row)),
            Detail("Saved messages", str(numbers.message_counts([row])[row.pk])),
            Detail("Messaging class", class_words(row)),
            Detail("Compared with the carrier", compared_at(row), kind="time"),
            found["Note"],
        ]
        suppressed = numbers.suppressed_count(row)
        if suppressed:
            shown.insert(-1, Detail("Arrived after the user declined", str(suppressed)))
        return shown

    def get_sections(self, request: HttpRequest, row: Any) -> list[Section]:
        rows = visible(OptInEvidence, actor(request)).filter(number_id=row.pk).order_by("-id")[:_MOST_EVIDENCE]
        evidence = Section("cpaas/evidence.html", {"rows": rows, "number": row})
        return [*super().get_sections(request, row), stops_section(row, actor(request)), evidence]

    def status_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The badge of a number that is on its way, asked for by the page every two seconds."""
        return HttpResponse(status_badge(self.get_scoped(request, object_id)))

    # --- Assigning -----------------------------------------------------------------------------------------------
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not actor(request).may_write:
            raise forbid(request)
        messages.info(request, "Open the user or media stream that gets the number, then choose Add CPaaS Number.")
        return HttpResponseRedirect(reverse("admin:portal_enduser_changelist"))

    def add_to_user(self, request: HttpRequest, owner_id: str) -> HttpResponse:
        return self._assign(request, site._registry[EndUser].get_scoped(request, owner_id), "user")

    def add_to_stream(self, request: HttpRequest, owner_id: str) -> HttpResponse:
        return self._assign(request, site._registry[MediaStream].get_scoped(request, owner_id), "media_stream")

    def _assign(self, request: HttpRequest, owner: Any, kind: str) -> HttpResponse:
        if not actor(request).may_write:
            raise forbid(request)
        owner_admin: Any = site._registry[type(owner)]
        home = owner_admin.url_of(owner)
        platforms = list(platforms_for(owner.system_provider_id))
        if not platforms:
            messages.error(request, "The system provider has no CPaaS platform yet. Add one first.")
            return HttpResponseRedirect(home)
        form = AssignForm(request.POST if request.method == "POST" else None, platforms=platforms)
        if form.is_bound and form.is_valid():
            try:
                number = numbers.assign_number(actor=actor(request), **{kind: owner}, **form.values())
            except Problem as problem:
                show_problem(form, problem)
            else:
                messages.success(request, f"{number.display} is being provisioned.")
                return HttpResponseRedirect(home)
        return self.form_page(
            request,
            None,
            form,
            may_save=True,
            heading="Add CPaaS Number",
            kind=f"{owner_admin.opts.verbose_name} · {owner}".capitalize()
            if kind == "media_stream"
            else f"User · {owner}",
            crumbs=[*owner_admin.crumbs(owner, "Add CPaaS Number")],
            cancel_url=home,
            busy_text="Asking the carrier for the number …",
            notice=provisioning_notice(platforms),
        )

    # --- Changing and deleting -----------------------------------------------------------------------------------
    def perform_update(self, request: HttpRequest, row: Any, form: Any) -> CpaasNumber:
        return numbers.update_number(actor=actor(request), number=row, changes=changes_of(form, set(SETTINGS)))

    def perform_delete(self, request: HttpRequest, row: Any) -> None:
        numbers.delete_number(actor=actor(request), number=row)

    def deleted_url(self, request: HttpRequest, row: Any) -> str:
        owner = row.user or row.media_stream
        return str(site._registry[type(owner)].url_of(owner))

    def loss(self, row: Any) -> list[str]:
        messages = f"{self._messages(row)} deleted with it. " if self.has_messages(row) else ""
        return [
            f"{row.display} can no longer send or receive messages, and its webhook is removed at the carrier.",
            f"{messages}This cannot be undone.",
            "The opt-in evidence is kept.",
        ]

    @row_action("Retry", name="retry", icon="refresh", available="may_retry")
    def retry(self, request: HttpRequest, row: CpaasNumber) -> str:
        numbers.retry_number(actor=actor(request), number=row)
        return f"{row.display} is tried again."

    def may_retry(self, row: CpaasNumber) -> bool:
        is_waiting = row.status == NumberStatus.PROVISIONING and bool(row.status_detail)
        return row.status == NumberStatus.FAILED or is_waiting

    @row_action("Reset Opt-In State", name="reset-opt-in", icon="restart_alt", available="may_reset")
    def reset_opt_in(self, request: HttpRequest, row: CpaasNumber) -> str:
        opt_in.reset_opt_in(actor=actor(request), number=row)
        return "The opt-in state was reset. The user is asked again when the client is next started."

    def may_reset(self, row: CpaasNumber) -> bool:
        return row.opt_in_state not in (OptInState.NOT_REQUIRED, OptInState.PENDING)

    @row_action(
        "Delete messages",
        name="delete-messages",
        icon="delete_sweep",
        style="danger",
        loss="messages_loss",
        available="has_messages",
    )
    def delete_messages(self, request: HttpRequest, row: CpaasNumber) -> str:
        if not self.has_messages(row):
            raise conflict("no_messages", f"{row.display} has no saved messages.")
        deleted = numbers.delete_messages(actor=actor(request), number=row)
        return f"{deleted} saved message{'' if deleted == 1 else 's'} of {row.display} deleted."

    def has_messages(self, row: CpaasNumber) -> bool:
        return numbers.has_messages(row)

    def messages_loss(self, row: CpaasNumber) -> list[str]:
        return [f"{self._messages(row)} deleted, for staff and for the user. This cannot be undone."]

    def _messages(self, row: CpaasNumber) -> str:
        count = numbers.message_counts([row])[row.pk]
        return f"{count} saved message{' is' if count == 1 else 's are'}"
