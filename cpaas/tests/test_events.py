"""What the event stream shows of messages: to each user only what is theirs, and nothing that is gone."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cpaas.tests.factories import CpaasNumberFactory, MessageFactory
from portal.events import render
from portal.models import Event
from portal.tests.tenants import Tenant


@pytest.mark.core
@pytest.mark.django_db
def test_many_users_are_read_at_once_and_each_is_shown_only_what_is_theirs(two_tenants: tuple[Tenant, Tenant]) -> None:
    """Also when somebody is told, by whatever mistake, of what belongs to somebody else."""
    first, second = (tenant.user for tenant in two_tenants)
    own, foreign = (MessageFactory(conversation__number=CpaasNumberFactory(user=user)) for user in (first, second))
    events = [
        Event(number=n, type="message.updated", object_id=key.pk, at=timezone.now())
        for n, key in ((1, own), (2, foreign))
    ]
    few = queries_of(lambda: render({first: events}))
    lines: dict[uuid.UUID, Any] = {}
    assert queries_of(lambda: lines.update(render({first: events, second: events}))) == few
    shown = {user.pk: [line["data"].get("gone", False) for line in lines[user.pk]] for user in (first, second)}
    assert shown == {first.pk: [False, True], second.pk: [True, False]}


@pytest.mark.core
@pytest.mark.django_db
def test_a_deleted_object_is_gone_from_the_stream_too(tenant: Tenant) -> None:
    message = MessageFactory(conversation__number=CpaasNumberFactory(user=tenant.user))
    event = Event(number=1, type="message.updated", object_id=message.pk, at=timezone.now())
    key = message.pk
    message.delete()
    [line] = render({tenant.user: [event]})[tenant.user.pk]
    assert line["data"] == {"id": str(key), "gone": True}


def queries_of(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)
