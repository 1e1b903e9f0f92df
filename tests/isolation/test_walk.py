"""Everybody walks through everything the project registers, and no stranger gets in anywhere (S4.41)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from django.conf import settings
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
def test_no_stranger_gets_in_anywhere(stage: Stage, name: str) -> None:
    visitor = stage.visitors[name]
    before = _rows_of(visitor.strangers)
    found = list(dict.fromkeys(Walk(stage.world, stage.keys, visitor).open_doors()))
    _note(name, visitor.tried, len(found))
    assert not found, "\n".join(found)
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


def _note(name: str, tried: int, opened: int) -> None:
    folder = Path(settings.VAR_DIR) / "isolation"
    folder.mkdir(exist_ok=True)
    (folder / f"{name.replace(' ', '_')}.txt").write_text(f"{name:32} {tried:6} tried {opened:4} open\n")
