"""Logging in to the staff site, throttled per name and address like the API's login."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

from portal.problems import Problem
from portal.services.throttling import check_attempts, forgive_attempt


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
