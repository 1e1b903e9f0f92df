"""What was said to the carrier is kept with the attempt, without secrets, for 14 days (S1.57)."""

from __future__ import annotations

import html
import json
import urllib.parse
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from cpaas.carriers.base import CarrierAccount, CarrierError, Doubtful, HttpRequest, NotTaken, Refused
from cpaas.models import Attempt, Exchange, Message
from cpaas.services.exchanges import Said, said, store_said
from cpaas.services.numbers import delete_messages
from cpaas.services.retention import purge
from cpaas.services.sending import send_message
from cpaas.services.settling import Outcome, store_outcomes
from cpaas.services.story import stories
from cpaas.tests.factories import AttemptFactory, CpaasNumberFactory
from cpaas.tests.running import claim_texts
from cpaas.transport import Trace
from tests.sandbox_process import wait_for

ACCOUNT = CarrierAccount({"key": "very-secret-key", "empty": ""}, {}, "", "")


def trace(answer: str, url: str = "https://carrier.example/v1/AC00112233445566778899/send?key=x") -> Trace:
    made = Trace(HttpRequest("POST", url))
    made.status, made.answer, made.outcome, made.took_ms = 200, answer.encode(), "answered", 12
    return made


def test_s1_57_no_credential_and_no_text_is_kept() -> None:
    answer = '{"key": "very-secret-key",\n "body": "Shall we \\"meet\\"?", "sid": "1"}'
    [kept] = said([trace(answer)], ACCOUNT, 'Shall we "meet"?')
    assert (kept.method, kept.url, kept.status) == ("POST", "https://carrier.example/v1/…/send", 200)
    assert kept.excerpt == '{"key": "…", "body": "…", "sid": "1"}'


def test_s1_57_nor_a_credential_of_a_server_that_shows_what_it_was_asked() -> None:
    shown = '{"headers": {"Authorization": "Basic QUMxMjM6dmVyeS1zZWNyZXQta2V5"}}'
    [kept] = said([trace(shown)], ACCOUNT, "")
    assert kept.excerpt == '{"headers": {"Authorization": "Basic …"}}'


@pytest.mark.parametrize("escaped", [json.dumps, html.escape, partial(html.escape, quote=False)])
def test_s1_57_a_long_text_is_not_kept_however_the_carrier_escapes_it(escaped: Callable[[str], str]) -> None:
    text = "\N{GRINNING FACE}" * 1590 + " & 'yes'"
    [kept] = said([trace(f"<{escaped(text)}>")], ACCOUNT, text)
    assert kept.excerpt.replace('"', "") == "<…>"


@pytest.mark.parametrize(
    "quoted",
    [
        lambda text: json.dumps(text).replace("/", "\\/"),
        lambda text: json.dumps(text).replace("\\u00fc", "\\u00FC"),
        lambda text: html.escape(text).replace("&#x27;", "&#39;"),
        urllib.parse.quote_plus,
        lambda text: json.dumps(text[:60] + "..."),
    ],
)
def test_r18_nor_when_it_is_quoted_in_another_way(quoted: Callable[[str], str]) -> None:
    text = "Für Anna's eyes:\nhttps://portal.example/files/abcdefghijklmnopqrstuv/letter.pdf"
    [kept] = said([trace(f"Invalid: {quoted(text)}")], ACCOUNT, text)
    assert "eyes" not in kept.excerpt
    assert "abcdefghijklmnopqrstuv" not in kept.excerpt


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [Refused, Doubtful, NotTaken])
def test_r18_an_error_that_quotes_the_text_is_not_kept_either(kind: type[CarrierError]) -> None:
    number = CpaasNumberFactory()
    message = send_message(user=number.user, number=number, to="+17036089795", text="The alarm code is 4711")
    [claimed] = claim_texts(1, uuid.uuid4())
    store_outcomes([Outcome(claimed, kind("Refused: The alarm code is 4711 is not valid", "21602"))])
    attempt = Attempt.objects.get(message=message)
    assert (attempt.error_code, "4711" in attempt.error_text) == ("21602", False)


def test_an_excerpt_is_short_and_storable() -> None:
    broken = trace("x" * 10_000)
    broken.answer = b"\x00\xff" + broken.answer
    [kept] = said([broken], ACCOUNT, "")
    assert len(kept.excerpt) == 500
    assert "\x00" not in kept.excerpt


@pytest.mark.core
@pytest.mark.django_db
def test_exchanges_go_after_14_days_and_with_their_message(number_of_nobody) -> None:
    attempt: Attempt = number_of_nobody
    store_said([(attempt.pk, Said("POST", "https://carrier.example/", None, "", "timeout", 30_000))])
    [story] = stories([attempt.message], in_full=True)
    assert "no answer (timeout)" in "".join(step.title for step in story.steps)
    purge(as_of=timezone.now() + timedelta(days=13))
    assert Exchange.objects.count() == 1
    purge(as_of=timezone.now() + timedelta(days=15))
    assert Exchange.objects.count() == 0
    store_said([(attempt.pk, Said("POST", "https://carrier.example/", 200, "ok", "", 1))])
    delete_messages(actor=None, number=attempt.message.number)
    assert Exchange.objects.count() == 0
    # Its attempt was deleted while it was under way.
    store_said([(attempt.pk, Said("POST", "https://carrier.example/", 200, "ok", "", 1))])


@pytest.fixture
def number_of_nobody(db: None) -> Attempt:
    return AttemptFactory()


@pytest.mark.django_db(transaction=True)
def test_s1_57_the_story_has_request_and_answer(number, dispatcher, sandbox) -> None:
    message = send_message(user=number.user, number=number, to="+12015550123", text="Shall we meet at nine?")
    wait_for(lambda: Message.objects.get(pk=message.pk).status == "sent")
    [story] = stories([Message.objects.get(pk=message.pk)], in_full=True)
    [step] = [step for step in story.steps if step.type == "exchange"]
    assert step.title.startswith("POST http://127.0.0.1")
    assert "200" in step.title
    assert story.sid in step.detail
    assert "Shall we meet" not in str(list(Exchange.objects.values()))
    assert not any(secret in str(list(Exchange.objects.values())) for secret in number.platform.credentials.values())
