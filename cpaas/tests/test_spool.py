"""What waits on disk (R37); with the database really gone it is tried in tests/faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cpaas import spool
from cpaas.carriers.base import WebhookRequest
from cpaas.models import Message
from cpaas.tests.factories import CpaasNumberFactory
from portal.encryption import encrypt
from tests.sandbox_process import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


@pytest.mark.parametrize(
    "content",
    ["", "00000000:sealed with a key that is gone", encrypt("{}"), encrypt(json.dumps({"platform_id": 7}))],
    ids=["empty", "lost key", "no call", "wrong kind"],
)
def test_r37_a_file_that_cannot_be_read_does_not_keep_the_others_waiting(
    content: str, tmp_path: Path, settings: Any
) -> None:
    settings.VAR_DIR = tmp_path
    number = CpaasNumberFactory()
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "0.call").write_text(content)
    body = {"referenceId": "r", "from": "17036089795", "to": [number.number[1:]], "text": "Hi"}
    spool.put(number.platform, "nonce", WebhookRequest({}, json.dumps(body).encode(), "application/json"))
    wait_for(Message.objects.exists)
    wait_for(lambda: [path.name for path in (tmp_path / "spool").iterdir()] == ["0.bad"])
