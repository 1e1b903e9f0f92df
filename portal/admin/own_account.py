"""The page of the account one is logged in with: name, time zone, password."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from portal.admin.forms import StaffForm, present_password_field, show_problem, time_zone_field, told_to_wait
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.problems import Problem
from portal.services import accounts, second_factor


class OwnAccountForm(StaffForm):
    name = forms.CharField(max_length=120, required=False)
    time_zone = time_zone_field(empty="The system provider's")
    fieldsets = (("You", ("name", "time_zone")),)


class OwnPasswordForm(StaffForm):
    """The present password is asked for, so that an unlocked screen does not give the account away."""

    present_password = present_password_field()
    password = forms.CharField(
        label="New password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="At least ten characters. It ends all your API tokens and your other sessions.",
    )
    retype = forms.CharField(
        label="Retype new password", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )
    fieldsets = (("Password", ("present_password", "password", "retype")),)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("password") and cleaned["password"] != cleaned.get("retype"):
            self.add_error("retype", "The two passwords are not the same.")
        return cleaned


def own_account(request: HttpRequest) -> HttpResponse:
    """Two forms on one page; `form` says which one was sent."""
    account = actor(request)
    sent = request.POST.get("form") if request.method == "POST" else None
    person = OwnAccountForm(
        request.POST if sent == "person" else None, initial={"name": account.name, "time_zone": account.time_zone}
    )
    password = OwnPasswordForm(request.POST if sent == "password" else None)
    if (sent == "person" and _save_person(request, person)) or (
        sent == "password" and _save_password(request, password)
    ):
        return HttpResponseRedirect(reverse(f"{site.name}:own_account"))
    context = {
        **site.each_context(request),
        "title": "My account",
        "heading": "My account",
        "crumbs": [("My account", None)],
        "account": account,
        "second_factor_is_on": second_factor.is_on(account),
        "person_form": person,
        "password_form": password,
    }
    return told_to_wait(TemplateResponse(request, "portal/own_account.html", context), password)


def _save_person(request: HttpRequest, form: OwnAccountForm) -> bool:
    if not form.is_valid():
        return False
    accounts.update_own_account(account=actor(request), changes=form.cleaned_data)
    messages.success(request, "Your account was saved.")
    return True


def _save_password(request: HttpRequest, form: OwnPasswordForm) -> bool:
    if not form.is_valid():
        return False
    try:
        saved = accounts.change_own_password(
            account=actor(request),
            present_password=form.cleaned_data["present_password"],
            password=form.cleaned_data["password"],
        )
    except Problem as problem:
        show_problem(form, problem)
        return False
    update_session_auth_hash(request, saved)
    messages.success(request, "Your password was changed. Your API tokens and other sessions have ended.")
    return True


site.add_page("my-account/", own_account, "own_account")
