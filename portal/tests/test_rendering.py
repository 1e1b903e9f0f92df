"""How events are rendered (portal.events.rendering)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from django.utils import timezone

from portal.events import register_renderer, render, rendering
from portal.models import EndUser, Event


def test_r21_an_object_is_read_once_whatever_tells_of_it_so_that_no_event_shows_an_older_state_than_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rendering, "_renderers", {})
    one, other = uuid.uuid4(), uuid.uuid4()
    reads: list[Sequence[uuid.UUID]] = []

    def renderer(user: EndUser, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, dict[str, Any]]:
        reads.append(ids)
        return {key: {"id": str(key), "state": len(reads)} for key in ids}

    for kind in ("thing.created", "thing.updated"):
        register_renderer(kind, renderer)
    told = [("thing.updated", other), ("thing.created", one), ("thing.updated", one), ("left.over", one)]
    events = [Event(number=n, type=kind, object_id=key, at=timezone.now()) for n, (kind, key) in enumerate(told)]
    lines = render(EndUser(), events)
    assert [line["data"].get("state") for line in lines] == [1, 1, 1, None]
    assert reads == [[other, one]]
    assert lines[-1]["data"] == {"id": str(one), "gone": True}
