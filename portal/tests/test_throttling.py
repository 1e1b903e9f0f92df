"""Guessing passwords is slowed down, logging in often is not (contracts section 4)."""

from __future__ import annotations

from typing import Any

import pytest

from portal.problems import Problem
from portal.services.tokens import log_in_device
from portal.tests.factories import PASSWORD, EndUserFactory

pytestmark = pytest.mark.django_db


def attempt(login: str, password: str) -> str:
    try:
        log_in_device(login=login, password=password, device="test")
    except Problem as problem:
        return problem.code
    return "in"


def test_wrong_passwords_are_counted_and_then_even_the_right_one_waits(settings: Any) -> None:
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 3
    user = EndUserFactory()
    assert [attempt(user.login, "wrong") for _ in range(4)] == ["bad_credentials"] * 3 + ["rate_limited"]
    assert attempt(user.login, PASSWORD) == "rate_limited"


def test_right_ones_are_not_counted(settings: Any) -> None:
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 3
    user = EndUserFactory()
    assert {attempt(user.login, PASSWORD) for _ in range(8)} == {"in"}


def test_one_login_does_not_lock_out_another(settings: Any) -> None:
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 2
    user, other = EndUserFactory(), EndUserFactory()
    for _ in range(4):
        attempt(user.login, "wrong")
    assert attempt(other.login, PASSWORD) == "in"
