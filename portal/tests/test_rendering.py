"""How events are rendered (portal.events.rendering)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cpaas.tests.factories import CpaasNumberFactory, MessageFactory
from portal.events import Rendered, Wanted, publish, reading, register_renderer, render, rendering
from portal.models import EndUser, Event
from portal.tests.tenants import Tenant


def test_r21_an_object_is_read_once_whatever_tells_of_it_so_that_no_event_shows_an_older_state_than_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rendering, "_renderers", {})
    one, other = uuid.uuid4(), uuid.uuid4()
    reads: list[Sequence[uuid.UUID]] = []

    def renderer(wanted: Wanted) -> Rendered:
        [(user, ids)] = wanted.items()
        reads.append(ids)
        return {(user.pk, key): {"id": str(key), "state": len(reads)} for key in ids}

    for kind in ("thing.created", "thing.updated"):
        register_renderer(kind, renderer)
    told = [("thing.updated", other), ("thing.created", one), ("thing.updated", one), ("left.over", one)]
    events = [Event(number=n, type=kind, object_id=key, at=timezone.now()) for n, (kind, key) in enumerate(told)]
    user = EndUser()
    lines = render({user: events})[user.pk]
    assert [line["data"].get("state") for line in lines] == [1, 1, 1, None]
    assert reads == [[other, one]]
    assert lines[-1]["data"] == {"id": str(one), "gone": True}


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
def test_what_cannot_be_shown_to_one_user_silences_nobody_else(
    two_tenants: tuple[Tenant, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, fine = (tenant.user for tenant in two_tenants)
    monkeypatch.setattr(rendering, "_renderers", {})

    def renderer(wanted: Wanted) -> Rendered:
        if broken in wanted:
            raise RuntimeError("cannot be shown")
        return {(user.pk, key): {"id": str(key)} for user, ids in wanted.items() for key in ids}

    register_renderer("thing.updated", renderer)
    for user in (broken, fine):
        with transaction.atomic():
            publish(user.pk, "thing.updated", user.pk)
    devices = {user: user.devices.get() for user in (broken, fine)}
    found = reading.read([reading.Wanted(device.pk, user.pk, 0) for user, device in devices.items()])
    assert [(one.failed, len(one.lines)) for one in found] == [(True, 0), (False, 1)]


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
