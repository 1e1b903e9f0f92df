"""Everybody walks through everything the project registers, and no stranger gets in anywhere (S4.41)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from django.db import models

from portal.tests.tenants import LEVELS, ROLES
from tests.isolation.conftest import Stage
from tests.isolation.making import own_models
from tests.isolation.walk import Walk
from tests.isolation.world import Party

pytestmark = [pytest.mark.django_db, pytest.mark.same_values]
EVERYBODY = [
    "operator",
    *(f"{level} {role}" for level in LEVELS for role in ROLES),
    "end user",
    "nobody",
    "expired staff token",
    "expired device token",
]


def test_every_route_can_be_walked(stage: Stage) -> None:
    """A route whose places no row of the world fits would be walked past."""
    assert [str(route) for route in stage.keys.unwalkable] == [], (
        "No row of ZENITH opens these routes to its owner, so that the walk could not tell closed from missing. Give "
        "ZENITH such a row in tests/isolation/world.py, or link to the route from a page of the row."
    )


def test_everybody_is_listed(stage: Stage) -> None:
    assert set(EVERYBODY) == set(stage.visitors)


@pytest.mark.parametrize("name", EVERYBODY)
def test_no_stranger_gets_in_anywhere(stage: Stage, name: str, record_property: Callable[[str, object], None]) -> None:
    visitor = stage.visitors[name]
    before = _rows_of(visitor.strangers)
    walk = Walk(stage.world, stage.keys, visitor)
    found = list(dict.fromkeys(walk.open_doors()))
    record_property("doors", [name, visitor.tried, len(found)])
    assert not found, "\n".join(found)
    assert walk.filters or not name.endswith(ROLES), "No list offered a filter or a next page."
    assert _rows_of(visitor.strangers) == before


def _rows_of(parties: Iterable[Party]) -> set[tuple[str, str]]:
    """Every row that is a stranger's or speaks of one, with all it holds."""
    known = {key for party in parties for key in party.ids} | {party.mark.lower() for party in parties}
    found = set()
    for model in own_models():
        for row in model._default_manager.all():
            text = _text(row)
            if any(key in text.lower() for key in known):
                found.add((model._meta.label, text))
    return found


def _text(row: models.Model) -> str:
    return repr([(field.attname, getattr(row, field.attname)) for field in row._meta.concrete_fields])
