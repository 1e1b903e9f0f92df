"""*Additional Information* of a user: Integrated IM&P, its ID and password (S0.6-S0.10, S0.24).

Saving talks to BroadWorks, so these are views of their own and no part of the user's form (architecture 4).
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse

from portal.admin.forms import StaffForm, show_problem
from portal.admin.scoped import actor
from portal.admin.site import site
from portal.admin.writing import forbid
from portal.extensions import Section
from portal.models import EndUser
from portal.problems import Problem
from portal.services import users as user_service
from xmpp.admin.accounts import standing_badge
from xmpp.models import ImpAccount
from xmpp.services import passwords
from xmpp.services.accounts import account_of
from xmpp.services.members import abandoned_shards
from xmpp.services.standing import standing_of
from xmpp.states import PasswordState

ASKING = "Telling BroadWorks …"
_PASSWORDS = {
    PasswordState.NONE: "None yet",
    PasswordState.SET: "Set",
    PasswordState.DEVICE_CONFIG_PENDING: "Set; the device configuration of UC-One is being updated",
}


class ImpForm(StaffForm):
    """The service, and where nobody generates it the password, which is never shown."""

    def __init__(self, *args: Any, user: EndUser, account: ImpAccount | None, **kwargs: Any) -> None:
        is_on = account is not None and account.is_on
        kwargs.setdefault(
            "initial", {"assigned": bool(account and account.assigned), "enabled": bool(account and account.enabled)}
        )
        super().__init__(*args, **kwargs)
        self.fields["assigned"] = forms.BooleanField(label="Integrated IM&P assigned", required=False)
        self.fields["enabled"] = forms.BooleanField(label="Integrated IM&P enabled", required=False)
        if is_on and not passwords.is_managed(user):
            self.fields["password"] = _password(
                "IM&P Password", "Empty: stays as it is. Not the user's login password."
            )
            self.fields["retype"] = _password("Re-type IM&P Password", "")
        self.dress()

    def service(self) -> dict[str, bool]:
        """What is wanted; switching *assigned* off takes *enabled* along."""
        assigned = self.cleaned_data["assigned"]
        return {"assigned": assigned, "enabled": assigned and self.cleaned_data["enabled"]}


def _password(label: str, help_text: str) -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": "new-password", "spellcheck": "false"})
    return forms.CharField(
        label=label, required=False, strip=False, max_length=1000, widget=widget, help_text=help_text
    )


def imp_section(row: models.Model, account: Any) -> Section | None:
    """On the user's page; the form only for those who may use it."""
    if not isinstance(row, EndUser):
        return None
    imp = account_of(row)
    is_on = imp is not None and imp.is_on
    context = {
        "imp": imp,
        "is_on": is_on,
        "status": standing_badge(standing_of(imp, abandoned_shards())) if imp else "",
        "password_text": _PASSWORDS[PasswordState(imp.password_state)] if imp else "",
        "form": ImpForm(user=row, account=imp) if account.may_write else None,
        "save_url": reverse("admin:user_imp", args=[row.pk]),
        "generate_url": reverse("admin:user_imp_generate", args=[row.pk]) if is_on and account.may_write else "",
        "busy_text": ASKING,
    }
    return Section("xmpp/imp_section.html", context)


def imp_page(request: HttpRequest, user_id: str) -> HttpResponse:
    """The form of the section by itself, where it is shown again with what was wrong."""
    users: Any = site._registry[EndUser]
    user = users.get_scoped(request, user_id)
    if not users.has_change_permission(request, user):
        raise forbid(request)
    form = ImpForm(request.POST if request.method == "POST" else None, user=user, account=account_of(user))
    if form.is_bound and form.is_valid():
        try:
            _save(request, user, form)
        except Problem as problem:
            show_problem(form, problem, {"integrated_imp": "enabled"})
        else:
            messages.success(request, f"Integrated IM&P of {user} was saved.")
            return HttpResponseRedirect(users.url_of(user))
    more = {
        "heading": "Additional Information",
        "kind": f"User · {user}",
        "crumbs": users.crumbs(user, "Additional Information"),
        "cancel_url": users.url_of(user),
        "busy_text": ASKING,
        "tabs": [],
    }
    page: HttpResponse = users.form_page(request, user, form, may_save=True, **more)
    return page


def generate_page(request: HttpRequest, user_id: str) -> HttpResponse:
    """*Generate anew* (S0.24)."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    users: Any = site._registry[EndUser]
    user = users.get_scoped(request, user_id)
    if not users.has_change_permission(request, user):
        raise forbid(request)
    try:
        passwords.generate_password(actor=actor(request), user=user)
        messages.success(request, f"{user} has a new IM&P password.")
    except Problem as problem:
        messages.error(request, problem.detail)
    return HttpResponseRedirect(users.url_of(user))


def _save(request: HttpRequest, user: EndUser, form: ImpForm) -> None:
    parts: dict[str, Any] = {"integrated_imp": form.service()}
    password, retype = form.cleaned_data.get("password") or "", form.cleaned_data.get("retype") or ""
    if password or retype:
        passwords.check_password(user, password, retype)
        parts["imp_password"] = password
    user_service.update_user(actor=actor(request), user=user, changes={}, parts=parts)


site.add_page("users/<str:user_id>/imp/", imp_page, "user_imp")
site.add_page("users/<str:user_id>/imp/generate/", generate_page, "user_imp_generate")
