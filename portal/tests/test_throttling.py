"""Guessing passwords is slowed down, logging in often is not (contracts section 4)."""

from __future__ import annotations

from typing import Any

import pytest

from portal import request_context
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


@pytest.mark.usefixtures("within_a_minute")
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


@pytest.mark.usefixtures("within_a_minute")
def test_a_stranger_who_guesses_elsewhere_does_not_lock_out_the_owner(settings: Any) -> None:
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 3
    user = EndUserFactory()
    home, elsewhere = (request_context.RequestContext(ip) for ip in ("192.0.2.1", "192.0.2.2"))
    with request_context.entered(home):
        assert attempt(user.login, PASSWORD) == "in"
    with request_context.entered(elsewhere):
        assert [attempt(user.login, "wrong") for _ in range(5)][-1] == "rate_limited"
    with request_context.entered(home):
        assert attempt(user.login, PASSWORD) == "in"
        assert [attempt(user.login, "wrong") for _ in range(4)][-1] == "rate_limited"


def test_many_names_from_one_address_are_limited_too(settings: Any, time_machine: Any) -> None:
    time_machine.move_to("2026-11-25T12:00:15Z", tick=False)
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 1
    told = [attempt(f"nobody-{number}@example.com", "wrong") for number in range(11)]
    assert told == ["bad_credentials"] * 10 + ["rate_limited"]
    with request_context.entered(request_context.RequestContext("192.0.2.9")):
        assert attempt("nobody-12@example.com", "wrong") == "bad_credentials"


def test_a_login_waits_a_minute_and_no_longer(settings: Any, time_machine: Any) -> None:
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 1
    time_machine.move_to("2026-11-25T12:00:15Z", tick=False)
    user = EndUserFactory()
    for _ in range(20):
        attempt(user.login, "wrong")
    assert attempt(user.login, PASSWORD) == "rate_limited"
    time_machine.shift(46)
    assert attempt(user.login, PASSWORD) == "in"


def test_the_site_and_the_api_answer_429_with_retry_after(
    settings: Any, client: Any, tenant: Any, time_machine: Any
) -> None:
    time_machine.move_to("2026-11-25T12:00:15Z", tick=False)
    settings.LOGIN_ATTEMPTS_PER_MINUTE = 1
    name = tenant.administrator.username
    body = {"username": name, "password": "wrong", "name": "script"}
    answers = [
        client.post("/login/", {"username": name, "password": "wrong"}),
        client.post("/login/", {"username": name, "password": PASSWORD}),
        client.post("/api/v1/provisioning/tokens/", body, content_type="application/json"),
    ]
    assert [answer.status_code for answer in answers] == [200, 429, 429]  # the two faces count together
    login = {"login": tenant.user.login, "password": "wrong", "device": "desktop"}
    answers += [client.post("/api/v1/login/", login, content_type="application/json") for _ in range(2)]
    assert [answer.status_code for answer in answers[3:]] == [401, 429]
    assert all(0 < int(answers[at]["Retry-After"]) <= 60 for at in (1, 2, 4))
