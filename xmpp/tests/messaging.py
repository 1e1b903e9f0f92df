"""Instant messages through the API, as tests send and read them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from rest_framework.test import APIClient

from portal import clock
from portal.models import EndUser
from presence.models import SignOfLife

BASE = "/api/v1/"


def send(client: APIClient, to: Any, text: str, **fields: Any) -> Any:
    """The answer to a message; `to` is a user, or whatever is to stand there."""
    body = {"to": str(to.pk) if isinstance(to, EndUser) else to, "text": text, **fields}
    # Half surrogates can be sent only escaped.
    return client.post(f"{BASE}im/messages/", json.dumps(body), content_type="application/json")


def get(client: APIClient, path: str) -> Any:
    answer = client.get(f"{BASE}{path}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def go_offline(user: EndUser) -> None:
    """No client of the user is open any more."""
    SignOfLife.objects.filter(pk=user.pk).update(online_until=clock.now() - timedelta(seconds=1))
