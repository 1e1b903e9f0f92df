"""Webhooks while the database is away: kept on disk, encrypted, taken in later (R37)."""

from __future__ import annotations

import hashlib
import os
import time

import pytest
import requests

from cpaas import spool
from cpaas.models import Conversation, CpaasNumber, Message
from cpaas.tests.factories import CpaasNumberFactory
from tests.faults.web_process import WebProcess
from tests.sandbox_process import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fault]
SECRET_WORDS = "the secret words"


def call(web: WebProcess, number: CpaasNumber, n: int, *, sign: bool = True) -> int:
    nonce = f"nonce-{n}"
    key = number.platform.credentials["inbound_api_key"] if sign else "wrong"
    headers = {"messageID": nonce, "verificationToken": hashlib.sha256((key + nonce).encode()).hexdigest()}
    body = {"referenceId": f"r{n}", "from": "17036089795", "to": [number.number[1:]], "text": f"{SECRET_WORDS} {n}"}
    url = f"{web.url}/webhooks/inteliquent/{number.platform_id}/{number.platform.webhook_secret}/"
    return requests.post(url, json=body, headers=headers, timeout=30).status_code


def test_r37_what_comes_while_the_database_is_away_survives_even_a_kill(gate, web, tmp_path) -> None:
    number = CpaasNumberFactory()
    assert call(web, number, 0) == 200
    gate.cut()
    assert [call(web, number, n) for n in range(1, 11)] == [200] * 10
    assert call(web, number, 5) == 200
    assert call(web, number, 99, sign=False) == 403
    waiting = list((tmp_path / "spool").glob("*.call"))
    assert len(waiting) == 11
    assert not any(SECRET_WORDS.encode() in path.read_bytes() for path in waiting)
    web.kill()
    gate.open()
    # No webhook comes: whatever asks first, here the wait for /healthz, lets the process look at the spool.
    web.start()
    wait_for(lambda: Message.objects.count() == 11)
    wait_for(lambda: not list((tmp_path / "spool").iterdir()))
    assert Conversation.objects.get().new_count == 11
    by_arrival = Message.objects.order_by("created_at").values_list("text", flat=True)
    assert list(by_arrival) == [f"{SECRET_WORDS} {n}" for n in range(11)]


def test_the_spool_drains_by_itself_when_the_database_is_back(gate, web, tmp_path) -> None:
    number = CpaasNumberFactory()
    assert call(web, number, 0) == 200
    gate.cut()
    assert call(web, number, 1) == 200
    gate.open()
    wait_for(lambda: Message.objects.count() == 2)


def test_a_process_that_never_saw_the_platform_says_try_again(gate, web) -> None:
    number = CpaasNumberFactory()
    gate.cut()
    assert call(web, number, 1) == 503
    gate.open()
    assert call(web, number, 1) == 200


def test_what_a_killed_process_had_half_written_is_dropped_in_time(settings, tmp_path) -> None:
    """The carrier never heard yes to it. A young one may belong to a process that is just writing it."""
    settings.VAR_DIR = tmp_path
    (tmp_path / "spool").mkdir()
    old, young = (tmp_path / "spool" / f"{name}.part" for name in ("old", "young"))
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (time.time() - 2 * 3600,) * 2)
    assert spool.drain() == 0
    assert not old.exists()
    assert young.exists()
