"""What the project's database tests do, again and again: with its settings, fixtures, factories and both faces."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from portal.models import PortalAccount
from portal.tests.admin_walk import browser
from portal.tests.factories import PASSWORD, EndUserFactory


@pytest.mark.parametrize("n", range(int(os.environ["BENCH_TESTS"])))
def test_one(n: int, operator: PortalAccount, api: Callable[[str | None], APIClient]) -> None:
    user = EndUserFactory()
    login = {"login": user.login, "password": PASSWORD, "device": "test"}
    answer = api(None).post("/api/v1/login/", login)
    assert answer.status_code == 200
    assert api(answer.json()["token"]).get("/api/v1/session/").json()["user"]["login"] == user.login
    assert user.login in browser(operator).get("/users/").content.decode()
