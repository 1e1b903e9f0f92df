"""How events are rendered (portal.events.rendering)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest
from django.db import transaction
from django.utils import timezone

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
def test_what_cannot_be_shown_to_one_user_silences_nobody_else(
    two_tenants: tuple[Tenant, Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, fine = (tenant.user for tenant in two_tenants)
    monkeypatch.setattr(rendering, "_renderers", {})

    def renderer(wanted: Wanted) -> Rendered:
        if broken.pk in {user.pk for user in wanted}:
            raise RuntimeError("cannot be shown")
        return {(user.pk, key): {"id": str(key)} for user, ids in wanted.items() for key in ids}

    register_renderer("thing.updated", renderer)
    for user in (broken, fine):
        with transaction.atomic():
            publish(user.pk, "thing.updated", user.pk)
    devices = {user: user.devices.get() for user in (broken, fine)}
    found = reading.read([reading.Wanted(device.pk, user.pk, 0) for user, device in devices.items()])
    assert [(one.failed, len(one.lines)) for one in found] == [(True, 0), (False, 1)]
