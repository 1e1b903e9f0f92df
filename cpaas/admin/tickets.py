"""Tickets on the staff site: raised from a text or a number, with notes and states (S1.60)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.dateparse import parse_datetime

from cpaas.models import Message, Ticket
from cpaas.services import tickets
from cpaas.services.advice import advise
from cpaas.services.story import facts_of
from portal.admin.base import TenantScopedAdmin
from portal.admin.forms import StaffForm, show_problem
from portal.admin.navigation import Entry
from portal.admin.pages import Button, Detail, Route
from portal.admin.row_actions import row_action
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.admin.writing import forbid
from portal.extensions import Section
from portal.problems import Problem
from portal.scoping import get_visible

_MOST_NOTES = 100


class TicketForm(StaffForm):
    to = forms.ChoiceField(
        label="Ticket with",
        choices=[("carrier", "The carrier"), ("portal", "The portal")],
        help_text="The portal writes down what is to be asked; a ticket with the carrier is filed in the carrier's own "
        "portal, with the SID.",
    )
    subject = forms.CharField(max_length=200)
    text = forms.CharField(label="What is wrong", widget=forms.Textarea(attrs={"rows": 6}), max_length=5000)


class NoteForm(StaffForm):
    text = forms.CharField(label="Note", widget=forms.Textarea(attrs={"rows": 4}), max_length=5000)


def _step(line: str) -> tuple[datetime | None, str]:
    """A line of the story, taken apart so that its time is shown in the viewer's zone."""
    at, _, words = line.partition("  ")
    return parse_datetime(at), words


@admin.register(Ticket, site=site)
class TicketAdmin(TenantScopedAdmin):
    slug = "tickets"
    nav = Entry("Messaging", "Tickets", "confirmation_number", 50)
    list_display = ("time", "subject", "tn", "remote", "to", "state", "raised_by")
    list_filter = ("state", "to")
    empty_text = "There is no ticket. Raise one from a text in the message log; its story is attached."
    labels = {"created_at": "Time", "text": "What is wrong", "to": "Ticket with"}
    details = ("state", "to", "tn", "remote", "sid", "created_at", "raised_by", "text")

    def routes(self) -> list[Route]:
        return [
            ("message/<str:message_id>/add/", self.add_to_message, "add_to_message"),
            *super().routes(),
            ("<str:object_id>/note/", self.note_view, "note"),
        ]

    @admin.display(description="Time")
    def time(self, row: Ticket) -> datetime:
        return row.created_at

    def add_url(self, request: HttpRequest, parent: Any = None) -> str:
        return ""  # Raise ticket stands on the page of the text

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        found = super().get_details(request, row)
        if row.message_id and Message.objects.visible_to(actor(request)).filter(pk=row.message_id).exists():
            found.insert(
                4, Detail("Text", "In the message log", reverse("admin:cpaas_message_detail", args=[row.message_id]))
            )
        return found

    def get_sections(self, request: HttpRequest, row: Any) -> list[Section]:
        notes = list(row.notes.order_by("id")[:_MOST_NOTES])
        own = Section("cpaas/ticket_notes.html", {"notes": notes, "story": list(map(_step, row.story))})
        return [own, *super().get_sections(request, row)]

    def get_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        buttons = super().get_buttons(request, row)
        if actor(request).may_write:
            buttons.insert(0, Button("Add note", self.url("note", row.pk), style="primary", icon="add_comment"))
        return buttons

    # --- Writing -------------------------------------------------------------------------------------------------
    def add_to_message(self, request: HttpRequest, message_id: str) -> HttpResponse:
        rows = Message.objects.select_related("number__platform", "number__group", "conversation")
        message = get_visible(rows, actor(request), message_id)
        if not actor(request).may_write:
            raise forbid(request)
        home = reverse("admin:cpaas_message_detail", args=[message.pk])
        form = TicketForm(request.POST if request.method == "POST" else None, initial=self._initial(message))
        if form.is_bound and form.is_valid():
            try:
                ticket = tickets.raise_ticket(
                    actor=actor(request), number=message.number, message=message, **form.cleaned_data
                )
            except Problem as problem:
                show_problem(form, problem)
            else:
                messages.success(request, "The ticket was raised and mailed to those who get alerts.")
                return HttpResponseRedirect(self.url_of(ticket))
        return self.form_page(
            request,
            None,
            form,
            may_save=True,
            heading="Raise ticket",
            kind=f"Text of {message.number}",
            crumbs=[("Message log", reverse("admin:cpaas_message_changelist")), ("Text", home), ("Raise ticket", None)],
            cancel_url=home,
            save_label="Raise ticket",
            notice="What happened to the text is attached, step by step, without what it says.",
        )

    def _initial(self, message: Message) -> dict[str, str]:
        advice = advise(facts_of(message))
        missing = "not received" if message.direction == "in" else "not delivered"
        return {
            "to": "portal" if advice.ticket == "portal" else "carrier",
            "subject": f"Text {missing}: {message.number.national}, {message.remote}",
        }

    def note_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_scoped(request, object_id)
        if not actor(request).may_write:
            raise forbid(request)
        form = NoteForm(request.POST if request.method == "POST" else None)
        if form.is_bound and form.is_valid():
            try:
                tickets.add_note(actor=actor(request), ticket=row, text=form.cleaned_data["text"])
            except Problem as problem:
                show_problem(form, problem)
            else:
                messages.success(request, "The note was added.")
                return HttpResponseRedirect(self.url_of(row))
        context = {"crumbs": self.crumbs(row, "Add note"), "cancel_url": self.url_of(row), "save_label": "Add note"}
        return self.form_page(request, row, form, may_save=True, **context)

    @row_action("Mark answered", name="answered", icon="mark_chat_read", available="may_answer")
    def answer(self, request: HttpRequest, row: Ticket) -> str:
        tickets.update_ticket(actor=actor(request), ticket=row, state="answered")
        return "The ticket is answered."

    def may_answer(self, row: Ticket) -> bool:
        return row.state == "open"

    @row_action("Close", name="close", icon="task_alt", available="may_close")
    def close(self, request: HttpRequest, row: Ticket) -> str:
        tickets.update_ticket(actor=actor(request), ticket=row, state="closed")
        return "The ticket is closed."

    def may_close(self, row: Ticket) -> bool:
        return row.state != "closed"

    @row_action("Open again", name="reopen", icon="undo", available="may_reopen")
    def reopen(self, request: HttpRequest, row: Ticket) -> str:
        tickets.update_ticket(actor=actor(request), ticket=row, state="open")
        return "The ticket is open again."

    def may_reopen(self, row: Ticket) -> bool:
        return row.state != "open"
