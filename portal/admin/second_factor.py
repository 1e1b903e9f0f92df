"""Two-step login of the own account: set up with a QR code, recovery codes shown once, turned off again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qrcode
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from portal.admin.forms import StaffForm, present_password_field, show_problem, told_to_wait
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.models import PortalAccount, SecondFactor
from portal.problems import Problem
from portal.services import second_factor


def _code_field(help_text: str = "") -> forms.CharField:
    return forms.CharField(
        label="Code",
        max_length=40,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code"}),
        help_text=help_text,
    )


class ConfirmForm(StaffForm):
    present_password = present_password_field()
    code = _code_field("The six digits that the app shows now.")


class PersonForm(StaffForm):
    """Password and code again, so that an unlocked screen does not give the second factor away."""

    present_password = present_password_field()
    code = _code_field("Of your authenticator app, or a recovery code.")


class RenewForm(PersonForm):
    fieldsets = (("New recovery codes", ("present_password", "code")),)


class TurnOffForm(PersonForm):
    fieldsets = (("Turn off", ("present_password", "code")),)


def second_factor_page(request: HttpRequest) -> HttpResponse:
    """One page for every state; `form` says which of its forms was sent."""
    sent = request.POST.get("form") if request.method == "POST" else None
    step = _STEPS.get(sent or "")
    if step is not None:
        return step(request)
    return _page(request)


def _page(request: HttpRequest, **forms_sent: forms.Form) -> HttpResponse:
    account = actor(request)
    factor = second_factor.factor_of(account)
    context = _context(request) | {"factor": factor, "required": settings.REQUIRE_2FA}
    if factor is not None and factor.confirmed_at is None:
        context |= {"qr": qr_path(second_factor.setup_uri(factor)), "secret": _grouped(factor)}
        context["confirm_form"] = ConfirmForm()
    elif factor is not None:
        context |= {"codes_left": second_factor.codes_left(factor)}
        context |= {"renew_form": RenewForm(prefix="renew"), "off_form": TurnOffForm(prefix="off")}
    return TemplateResponse(request, "portal/second_factor.html", context | forms_sent)


def _begin(request: HttpRequest) -> HttpResponse:
    try:
        second_factor.begin(account=actor(request))
    except Problem as problem:
        messages.error(request, problem.detail)
    return _back()


def _cancel(request: HttpRequest) -> HttpResponse:
    second_factor.cancel(account=actor(request))
    return _back()


def _confirm(request: HttpRequest) -> HttpResponse:
    form = ConfirmForm(request.POST)
    return _with_codes(
        request, form, "confirm_form", lambda values: second_factor.confirm(account=actor(request), **values)
    )


def _renew(request: HttpRequest) -> HttpResponse:
    form = RenewForm(request.POST, prefix="renew")
    return _with_codes(
        request, form, "renew_form", lambda values: second_factor.renew_recovery_codes(account=actor(request), **values)
    )


def _with_codes(
    request: HttpRequest, form: StaffForm, name: str, make: Callable[[dict[str, Any]], list[str]]
) -> HttpResponse:
    """Recovery codes are shown in the answer to the POST, and only there: in plain they are kept nowhere."""
    if not form.is_valid():
        return _page(request, **{name: form})
    try:
        codes = make(form.cleaned_data)
    except Problem as problem:
        return _refused(request, form, name, problem)
    _stay_logged_in(request)
    return TemplateResponse(request, "portal/recovery_codes.html", _context(request) | {"codes": codes})


def _turn_off(request: HttpRequest) -> HttpResponse:
    form = TurnOffForm(request.POST, prefix="off")
    if not form.is_valid():
        return _page(request, off_form=form)
    try:
        second_factor.turn_off(account=actor(request), **form.cleaned_data)
    except Problem as problem:
        return _refused(request, form, "off_form", problem)
    _stay_logged_in(request)
    messages.success(request, "Two-step login was turned off.")
    return _back()


def _refused(request: HttpRequest, form: StaffForm, name: str, problem: Problem) -> HttpResponse:
    show_problem(form, problem)
    return told_to_wait(_page(request, **{name: form}), form)


def _stay_logged_in(request: HttpRequest) -> None:
    """The change ended every session of the account; this one goes on, under a new key."""
    update_session_auth_hash(request, PortalAccount.objects.get(pk=actor(request).pk))


def _back() -> HttpResponse:
    return HttpResponseRedirect(reverse(f"{site.name}:second_factor"))


def _context(request: HttpRequest) -> dict[str, Any]:
    return {
        **site.each_context(request),
        "title": "Two-step login",
        "heading": "Two-step login",
        "crumbs": [("My account", reverse(f"{site.name}:own_account")), ("Two-step login", None)],
    }


def _grouped(factor: SecondFactor) -> str:
    """The secret as one types it into an app that cannot see the picture."""
    return " ".join(factor.secret[at : at + 4] for at in range(0, len(factor.secret), 4))


def qr_path(text: str) -> dict[str, Any]:
    """A QR code as the path of an SVG: needs no image, no script and no style."""
    code = qrcode.QRCode(border=4)
    code.add_data(text)
    code.make(fit=True)
    matrix = code.get_matrix()
    squares = "".join(f"M{x} {y}h1v1h-1z" for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark)
    return {"size": len(matrix), "path": squares}


_STEPS: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "begin": _begin,
    "cancel": _cancel,
    "confirm": _confirm,
    "renew": _renew,
    "off": _turn_off,
}

site.add_page("my-account/second-factor/", second_factor_page, "second_factor")
