"""Staff pages while the database is away: 503 and a page that says so, never 500."""

from __future__ import annotations

import pytest
import requests
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import OperationalError
from django.test import RequestFactory

from portal.api.problems import server_error
from portal.models import PortalAccount
from portal.tests.factories import PortalAccountFactory
from tests.faults.tcp_gate import Gate
from tests.faults.web_process import WebProcess

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fault]
PASSWORD = "correct horse battery"


@pytest.fixture
def account() -> PortalAccount:
    # The tests' own quick hash is none that the web process knows.
    return PortalAccountFactory(username="operator", password=PBKDF2PasswordHasher().encode(PASSWORD, "salt"))


def log_in(web: WebProcess, browser: requests.Session) -> requests.Response:
    order = {"username": "operator", "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    return browser.post(f"{web.url}/login/", data=order, headers={"Referer": web.url}, timeout=30)


def test_a_login_and_a_page_while_the_database_is_away(gate: Gate, web: WebProcess, account: PortalAccount) -> None:
    stranger, staff = requests.Session(), requests.Session()
    for browser in (stranger, staff):
        assert browser.get(f"{web.url}/login/", timeout=30).status_code == 200
    assert log_in(web, staff).url == f"{web.url}/"
    gate.cut()
    for answer in (log_in(web, stranger), staff.get(f"{web.url}/", timeout=30)):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "2"
        assert "Back in a moment" in answer.text
    gate.open()
    assert staff.get(f"{web.url}/", timeout=30).status_code == 200
    assert log_in(web, stranger).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/v1/session/"])
def test_a_failure_outside_of_all_pages(path: str, rf: RequestFactory) -> None:
    """Such as a session that cannot be saved: Django then asks for the page of errors."""
    try:
        raise OperationalError("the connection is closed")
    except OperationalError:
        assert server_error(rf.get(path)).status_code == 503
