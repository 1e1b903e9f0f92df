"""No secret in a log line, a traceback or on the page of an error, whatever held it when the code broke (rule 9)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from celery import shared_task
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from rest_framework.views import APIView

from cpaas.carriers.base import CarrierAccount, WebhookRequest
from cpaas.carriers.base import HttpRequest as CarrierRequest
from portal.logs import LOGGING, get_logger
from portal.models import StaffToken
from portal.services.tokens import IssuedToken

KEY, PASSWORD = "Zk8-an-outbound-key-42", "Qx7-what-somebody-typed"
PATH_SECRET = "Wm3-the-secret-of-a-hook-24"
TOKEN = "pps_Jv5TheTokenOfAProgramThatCalls"
HOOK = f"https://portal.example/webhooks/inteliquent/17/{PATH_SECRET}/"
BROKER = f"amqp://portal:{PASSWORD}@broker.example/"
SECRETS = (KEY, PASSWORD, PATH_SECRET, TOKEN)
RENDERERS = {"json": structlog.processors.JSONRenderer(), "console": structlog.dev.ConsoleRenderer(colors=False)}


def account() -> CarrierAccount:
    return CarrierAccount(credentials={"api_key": KEY}, options={}, inbound_url=HOOK, status_url=HOOK)


def held() -> list[Any]:
    """What is at hand where something may break, each with a secret in it."""
    headers = {"authorization": f"Bearer {KEY}"}
    return [
        account(),
        CarrierRequest("POST", "https://carrier.example/texts", headers, KEY.encode()),
        WebhookRequest(headers, PASSWORD.encode(), "application/json"),
        IssuedToken(TOKEN, StaffToken()),
    ]


def break_here(password: str) -> None:
    """The secrets are in an argument, in variables, and in what the exception was made of."""
    typed, things = {"anything": password}, held()
    raise RuntimeError(f"broke with {len(typed)} at {HOOK}", *things, f"{TOKEN} at {BROKER}")


@contextmanager
def written(renderer: str) -> Iterator[io.StringIO]:
    """What our formatter makes of everything that is logged meanwhile."""
    options = LOGGING["formatters"]["structured"]
    processors = [options["processors"][0], RENDERERS[renderer]]
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(options["()"](processors=processors, foreign_pre_chain=options["foreign_pre_chain"]))
    logging.getLogger().addHandler(handler)
    try:
        yield stream
    finally:
        logging.getLogger().removeHandler(handler)


def shown(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_traceback_of_an_exception_shows_no_secret(renderer: str) -> None:
    with written(renderer) as log:
        try:
            break_here(PASSWORD)
        except RuntimeError:
            logging.getLogger("somebody.else").exception("broke")
            get_logger("our.own").exception("broke")
    text = log.getvalue()
    assert text.count("in break_here") == text.count("RuntimeError: ") == 2
    assert shown(text) == []


@pytest.mark.parametrize("renderer", RENDERERS)
def test_what_is_logged_beside_the_event_shows_no_secret(renderer: str) -> None:
    """As a value of its own, deep in others, and in the text of a foreign logger."""
    deep = {"platform": {"credentials": {"api_key": KEY}, "urls": [HOOK]}, "password": PASSWORD}
    with written(renderer) as log:
        get_logger("our.own").error("broke", platform=deep, things=held(), account=account(), error=ValueError(HOOK))
        logging.getLogger("somebody.else").error("broke with %s and %r", account(), held())
        logging.getLogger("somebody.else").error("no way to %s, %s for %s", BROKER, HOOK, TOKEN)
        get_logger("our.own").error("kept", count=3, ratio=0.5, fine=True, nothing=None, words=["a", "b"])
    lines = log.getvalue().splitlines()
    assert shown("\n".join(lines)) == []
    assert "portal:[redacted]@broker.example" in lines[2]
    if renderer == "json":
        kept = json.loads(lines[3])
        assert [kept[name] for name in ("count", "ratio", "fine", "nothing", "words")] == [
            3,
            0.5,
            True,
            None,
            ["a", "b"],
        ]


@shared_task(name="cpaas.tests.breaks")
def breaks(key: str) -> None:
    break_here(PASSWORD)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_task_that_fails_shows_no_secret(renderer: str) -> None:
    """Celery writes the line, as it does in a worker."""
    with written(renderer) as log:
        assert breaks.apply(("an-id",)).failed()
    text = log.getvalue()
    assert "cpaas.tests.breaks" in text
    assert "in break_here" in text
    assert shown(text) == []


def page(request: HttpRequest) -> HttpResponse:
    break_here(json.loads(request.body)["password"])
    return HttpResponse()


class Answer(APIView):
    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Any) -> HttpResponse:
        break_here(request.data["password"])
        return HttpResponse()


urlpatterns = [path("breaks/", page), path("api/v1/breaks/", Answer.as_view()), path("", include("portal.urls"))]
handler500 = "portal.api.problems.server_error"


@pytest.mark.django_db
@pytest.mark.urls(__name__)
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("url", ["/breaks/", "/api/v1/breaks/"])
def test_neither_the_page_of_an_error_nor_its_log_shows_a_secret(settings: Any, url: str, debug: bool) -> None:
    settings.DEBUG = debug
    with written("json") as log:
        answer = Client(raise_request_exception=False).post(
            url, {"password": PASSWORD}, content_type="application/json"
        )
    assert answer.status_code == 500
    assert "in break_here" in log.getvalue()
    assert shown(log.getvalue()) == []
    assert shown(answer.content.decode()) == []
