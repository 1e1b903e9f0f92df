"""No secret on the page of an error, nor in a log line (architecture, rule 9)."""

from __future__ import annotations

import logging
import logging.config
import sys

import pytest
from django.test import Client, RequestFactory
from django.utils.log import DEFAULT_LOGGING
from django.views.debug import technical_500_response

from portal.logs import LOGGING
from portal.tests.tenants import Tenant

SECRET = "correct-horse-battery"


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_the_page_of_an_error_in_debug_shows_no_value(settings, accept: str) -> None:
    settings.DEBUG = True
    settings.REDIS_URL = f"redis://:{SECRET}@127.0.0.1:6379/0"
    request = RequestFactory().post("/x/", {"retype": SECRET, "note": SECRET}, headers={"accept": accept})

    def fail(key: str) -> None:
        held = {"anything": key}
        raise RuntimeError(f"{len(held)} went wrong")

    try:
        fail(SECRET)
    except RuntimeError:
        page = technical_500_response(request, *sys.exc_info()).content.decode()
    assert "1 went wrong" in page
    assert "fail" in page
    assert SECRET not in page


def test_django_writes_no_lines_past_our_redaction() -> None:
    names = ("", "django", "django.request")
    kept = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level) for name in names}
    try:
        logging.config.dictConfig(DEFAULT_LOGGING)
        logging.config.dictConfig(LOGGING)
        assert [logging.getLogger(name).handlers for name in names[1:]] == [[], []]
    finally:
        for name, (handlers, level) in kept.items():
            logging.getLogger(name).handlers[:], logging.getLogger(name).level = handlers, level


@pytest.mark.django_db
def test_r18_the_log_of_a_request_that_failed_has_no_words_that_were_searched_for(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise RuntimeError("It went wrong.")

    monkeypatch.setattr("cpaas.services.message_log.find_entries", fail)
    client = Client(raise_request_exception=False)
    client.force_login(tenant.administrator)
    assert client.get("/message-log/", {"text": SECRET}).status_code == 500
    assert "/message-log/" in caplog.text
    assert "It went wrong." in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.django_db
def test_after_the_login_comes_the_site_whatever_next_says(tenant: Tenant) -> None:
    client, account = Client(), tenant.administrator
    account.set_password(SECRET)
    account.save()
    for elsewhere in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        data = {"username": account.username, "password": SECRET, "next": elsewhere}
        answer = client.post("/login/", data)
        assert (answer.status_code, answer["Location"]) == (302, "/")
