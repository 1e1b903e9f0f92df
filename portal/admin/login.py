"""Logging in to the staff site: user name and password, then a code where the account has a second factor.

Between the two nobody is logged in: the session only remembers whose password was right, and for a few minutes.
Both steps are throttled per name and address, like the API's login.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.forms import AuthenticationForm
from unfold.widgets import INPUT_CLASSES

from portal import clock
from portal.models import PortalAccount
from portal.problems import Problem
from portal.services import second_factor
from portal.services.throttling import check_attempts, forgive_attempt

_PENDING = "login_pending"
# So long the code may come after the password.
PENDING_S = 300
_BACKEND = settings.AUTHENTICATION_BACKENDS[0]


class LoginForm(AuthenticationForm):
    """User name and password; `retry_after_s` is set when there were too many attempts."""

    retry_after_s: int | None = None

    def clean(self) -> dict[str, Any]:
        try:
            check_attempts("staff", self.cleaned_data.get("username") or "")
        except Problem as problem:
            self.retry_after_s = problem.retry_after_s
            raise ValidationError(problem.detail, code=problem.code) from problem
        cleaned: dict[str, Any] = super().clean()
        forgive_attempt("staff", self.cleaned_data.get("username") or "")
        return cleaned


class CodeForm(forms.Form):
    """The second step."""

    code = forms.CharField(
        label="Code",
        max_length=40,
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "class": " ".join(INPUT_CLASSES)}
        ),
    )
    retry_after_s: int | None = None

    def __init__(self, *args: Any, account: PortalAccount, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account = account

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        try:
            check_attempts("staff", self.account.username)
            second_factor.require_code(account=self.account, code=code)
        except Problem as problem:
            self.retry_after_s = problem.retry_after_s
            raise ValidationError(problem.detail, code=problem.code) from problem
        forgive_attempt("staff", self.account.username)
        return code


class PasswordStep(LoginView):
    """Logs in, or goes on to the code."""

    authentication_form = LoginForm

    def form_valid(self, form: Any) -> HttpResponse:
        account = form.get_user()
        if not second_factor.is_on(account):
            return super().form_valid(form)
        self.request.session[_PENDING] = {
            "account": str(account.pk),
            "hash": account.get_session_auth_hash(),
            "at": int(clock.now().timestamp()),
            "next": self.get_success_url(),
        }
        return HttpResponseRedirect(reverse("admin:login_code"))


def account_waiting(request: HttpRequest) -> PortalAccount | None:
    """The account whose password was right a moment ago in this session, if its login still counts."""
    pending = request.session.get(_PENDING)
    if pending is None or clock.now().timestamp() - pending["at"] > PENDING_S:
        request.session.pop(_PENDING, None)
        return None
    account = PortalAccount.objects.filter(pk=pending["account"], is_active=True).first()
    if account is None or account.get_session_auth_hash() != pending["hash"]:
        return None
    found: PortalAccount = account
    return found


def finish(request: HttpRequest, account: PortalAccount) -> HttpResponse:
    """Log in after the code was right."""
    after = request.session.pop(_PENDING)["next"]
    login(request, account, backend=_BACKEND)
    return HttpResponseRedirect(after)
