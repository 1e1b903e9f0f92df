"""The actor's own API tokens: made, shown once, revoked."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse

from portal.admin.base import TenantScopedAdmin
from portal.admin.forms import StaffForm, present_password_field, show_problem, told_to_wait
from portal.admin.navigation import Entry
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.models import StaffToken
from portal.problems import Problem
from portal.services import tokens


class TokenForm(StaffForm):
    name = forms.CharField(max_length=120, help_text="What uses the token, so that you know it again.")
    expires_in_days = forms.IntegerField(
        min_value=1, max_value=settings.STAFF_TOKEN_DAYS, initial=settings.STAFF_TOKEN_DAYS, label="Expires in days"
    )
    present_password = present_password_field()


@admin.register(StaffToken, site=site)
class TokenAdmin(TenantScopedAdmin):
    """A token has the scope and role of its account, so a read-only account may have read-only tokens."""

    slug = "api-tokens"
    nav = Entry("Administration", "API tokens", "key", 20)
    list_display = ("name", "created_at", "last_used_at", "expires_at")
    empty_text = "You have no API token. Make one for a program that works with the provisioning API on your behalf."
    details = ("name", "created_at", "last_used_at", "expires_at")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).filter(account=actor(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_view_permission(request)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A new token is shown in the answer to the POST, and only there: it is kept nowhere."""
        if object_id is not None:
            return self.detail_view(request, object_id)
        form = TokenForm(request.POST if request.method == "POST" else None)
        if form.is_bound and form.is_valid():
            values = form.cleaned_data
            try:
                issued = tokens.issue_own_token(
                    account=actor(request),
                    present_password=values["present_password"],
                    name=values["name"],
                    days=values["expires_in_days"],
                )
            except Problem as problem:
                show_problem(form, problem)
            else:
                context = {
                    "token": issued.plain,
                    "heading": f"API token {issued.row}",
                    "crumbs": self.crumbs(issued.row),
                }
                return self.page(request, "portal/token.html", issued.row, context)
        return told_to_wait(self.form_page(request, None, form, may_save=True), form)

    def perform_delete(self, request: HttpRequest, row: Any) -> None:
        tokens.revoke_staff_token(actor=actor(request), token=row)

    def loss(self, row: Any) -> list[str]:
        return [f"Whatever uses the token {row} stops working at once. The token cannot be brought back."]
