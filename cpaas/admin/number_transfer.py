"""The page on which a number goes to another user or media stream (R23)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from cpaas.models import CpaasNumber
from cpaas.services.numbers import message_counts
from cpaas.services.transferring import transfer_number
from cpaas.states import NumberStatus
from portal.admin.base import TenantScopedAdmin
from portal.admin.forms import StaffForm, show_problem
from portal.admin.pages import Button, Route
from portal.admin.scoped import actor
from portal.admin.writing import forbid
from portal.problems import Problem

OWNERS = ("user", "media_stream")
NOTICE = (
    "The new user is asked whether they want text messaging with this number, as if it had just been added. The number "
    "keeps its platform and settings, and the opt-in evidence is kept."
)


class TransferForm(StaffForm):
    """Who gets the number, and that its messages may go."""

    def __init__(self, *args: Any, owners: dict[str, forms.Field], message_count: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.update(owners)
        if message_count:
            self.fields["delete_messages"] = self._confirmation(message_count)
        self.dress()

    def _confirmation(self, count: int) -> forms.BooleanField:
        what = f"its {count} saved messages" if count > 1 else "its saved message"
        return forms.BooleanField(
            label=f"Delete {what}",
            help_text="A transfer deletes them for staff and for the user. This cannot be undone.",
            error_messages={"required": f"The number cannot be transferred without deleting {what}. Confirm it here."},
        )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and bool(cleaned["user"]) == bool(cleaned["media_stream"]):
            raise forms.ValidationError("Choose either a user or a media stream.")
        return cleaned


class TransferPages(TenantScopedAdmin):
    """What a number's pages have for its transfer."""

    autocomplete_fields = OWNERS

    def routes(self) -> list[Route]:
        return [*super().routes(), ("<str:object_id>/transfer/", self.transfer_view, "transfer")]

    def get_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        buttons = super().get_buttons(request, row)
        if actor(request).may_write and row.status != NumberStatus.REMOVING:
            buttons.insert(1, Button("Transfer", self.url("transfer", row.pk), icon="swap_horiz"))
        return buttons

    def transfer_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_scoped(request, object_id)
        if not actor(request).may_write:
            raise forbid(request)
        form = self._transfer_form(request, row)
        if form.is_bound and form.is_valid():
            try:
                transfer_number(actor=actor(request), number=row, **form.cleaned_data)
            except Problem as problem:
                show_problem(form, problem)
            else:
                owner = form.cleaned_data["user"] or form.cleaned_data["media_stream"]
                messages.success(request, f"{row.display} was transferred to {owner}.")
                return HttpResponseRedirect(self.url_of(row))
        return self.form_page(
            request,
            row,
            form,
            may_save=True,
            heading=f"Transfer {row.display}",
            kind=f"CPaaS number · assigned to {row.user or row.media_stream}",
            crumbs=self.crumbs(row, "Transfer"),
            cancel_url=self.url_of(row),
            notice=NOTICE,
            save_label="Transfer",
            busy_text="Transferring …",
            tabs=[],
        )

    def _transfer_form(self, request: HttpRequest, row: CpaasNumber) -> TransferForm:
        owners: dict[str, forms.Field] = {}
        for name in OWNERS:
            field = self.formfield_for_dbfield(CpaasNumber._meta.get_field(name), request)
            assert field is not None
            field.help_text = "Either a user …" if name == "user" else "… or a media stream of type SMS."
            owners[name] = field
        data = request.POST if request.method == "POST" else None
        return TransferForm(data, owners=owners, message_count=message_counts([row])[row.pk])
