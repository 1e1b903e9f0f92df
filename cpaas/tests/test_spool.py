"""What waits on disk (R37); with the database really gone it is tried in tests/faults."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cpaas import spool
from cpaas.carriers.base import WebhookRequest
from cpaas.models import CpaasNumber, Message
from cpaas.tests.factories import CpaasNumberFactory
from portal.encryption import encrypt
from portal.models import PortalAccount
from portal.tests.factories import PortalAccountFactory
from tests.sandbox_process import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


def call_for(number: CpaasNumber) -> WebhookRequest:
    body = {"referenceId": "r", "from": "17036089795", "to": [number.number[1:]], "text": "Hi"}
    return WebhookRequest({}, json.dumps(body).encode(), "application/json")


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.VAR_DIR = tmp_path
    made = tmp_path / "spool"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    "content",
    ["", "00000000:sealed with a key that is gone", encrypt("{}"), encrypt(json.dumps({"platform_id": 7}))],
    ids=["empty", "lost key", "no call", "wrong kind"],
)
def test_r37_a_file_that_cannot_be_read_does_not_keep_the_others_waiting(content: str, folder: Path) -> None:
    number = CpaasNumberFactory()
    (folder / "0.call").write_text(content)
    spool.put(number.platform, "nonce", call_for(number))
    wait_for(Message.objects.exists)
    wait_for(lambda: [path.name for path in folder.iterdir()] == ["0.bad"])


def test_r37_what_a_process_that_died_has_left_is_taken_in_unasked(folder: Path, monkeypatch: Any) -> None:
    number = CpaasNumberFactory()
    with monkeypatch.context() as died:
        died.setattr(spool, "start_draining", lambda: None)
        spool.put(number.platform, "nonce", call_for(number))
    left = next(folder.iterdir())
    aside = left.rename(folder / "of another process")
    monkeypatch.setattr(spool, "_LOOK_S", 0.05)
    monkeypatch.setattr(spool, "_keeper", None)
    spool.start_draining()
    wait_for(lambda: not spool._look.is_set())  # it looks, and finds nothing
    aside.rename(left)
    wait_for(Message.objects.exists)


def test_r18_what_was_set_aside_goes_with_the_messages_of_its_age(folder: Path, settings: Any) -> None:
    for name, days in (("old", settings.RETENTION_DAYS + 1), ("young", settings.RETENTION_DAYS - 1)):
        path = folder / f"{name}.bad"
        path.write_text("sealed")
        os.utime(path, (time.time() - timedelta(days=days).total_seconds(),) * 2)
    assert spool.drain() == 0
    assert [path.name for path in folder.iterdir()] == ["young.bad"]


def test_metrics_count_what_waits_on_this_machine_and_what_was_set_aside(folder: Path, client: Any) -> None:
    (folder / "0.bad").write_text("sealed")
    (folder / "1.bad").write_text("sealed")
    text = client.get("/metrics").content.decode()
    assert "portal_webhooks_spooled 0.0" in text
    assert "portal_webhooks_set_aside 2.0" in text


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("setaside", *arguments, stdout=out)
    return out.getvalue()


def test_r37_what_was_set_aside_is_listed_shown_and_taken_in_once_the_cause_is_mended(
    folder: Path, operator: PortalAccount, client: Any
) -> None:
    number = CpaasNumberFactory()
    client.force_login(operator)
    assert "set aside" not in client.get("/").content.decode()
    (folder / "0.bad").write_text("00000000:sealed with a key that is gone")
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(spool, "take_in", lambda **_: 1 / 0)
        spool.put(number.platform, "nonce", call_for(number))
        wait_for(lambda: len(spool.set_aside()) == 2)
    call = spool.set_aside()[1].name
    assert "2 calls on " in client.get("/").content.decode()
    listed = run()
    assert f"{call}  " in listed
    assert str(number.platform.system_provider) in listed
    assert "0.bad  cannot be read" in listed
    assert '"text": "Hi"' in run("--show", call)
    with pytest.raises(CommandError, match="cannot be read"):
        run("--show", "0.bad")
    with pytest.raises(CommandError, match=r"no \.\./keys"):
        run("--show", "../keys")
    retried = run("--retry")
    assert f"{call}  taken in" in retried
    assert "0.bad  " in retried
    assert [path.name for path in folder.iterdir()] == ["0.bad"]
    assert Message.objects.get(number=number).text == "Hi"
    client.force_login(PortalAccountFactory(scope=number.system_provider))
    assert "set aside" not in client.get("/").content.decode()
