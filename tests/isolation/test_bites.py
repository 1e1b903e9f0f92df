"""The walk bites: whatever scoping is taken away, it finds the door that opens."""

from __future__ import annotations

import pytest

from cpaas.models import NumberImportLine, QueueEntry, TrafficHour
from portal.models import StaffToken
from tests.isolation.conftest import Stage
from tests.isolation.mutants import Mutant, all_mutants
from tests.isolation.walk import Walk
from xmpp.models import ImMessage

pytestmark = [pytest.mark.django_db, pytest.mark.same_values]
MUTANTS = all_mutants()
WALKERS = ("system_provider administrator", "end user", "group administrator")
# Behind `visible_to` stands a second, narrower filter: only the own tokens, only the sums of the own scope, only the
# queues of the own media streams, only the lines of an import that is visible, only the numbers of the user's own, only
# messages that the user wrote or received.
TWICE_GUARDED = (StaffToken, TrafficHour, QueueEntry, NumberImportLine, ImMessage)
TWICE_GUARDED_DOORS = (
    "cpaas.api.queue.Queue",
    "cpaas.api.enduser.Numbers",
    "portal.api.enduser.session.Session",
    "event session.updated",
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_without_its_scoping_a_door_opens(stage: Stage, mutant: Mutant) -> None:
    with mutant.alive() as calls:
        found = _first_open_door(stage, mutant)
    was_asked = mutant.always or calls.count
    is_guarded_twice = mutant.model in TWICE_GUARDED or mutant.name in TWICE_GUARDED_DOORS
    assert found or not was_asked or is_guarded_twice, (
        f"{mutant.name} lost its scoping and no visitor noticed: the walk does not reach what it shows."
    )


def _first_open_door(stage: Stage, mutant: Mutant) -> str | None:
    for name in [mutant.walker] if mutant.walker else WALKERS:
        doors = stage.keys.readers_of(mutant.model) if mutant.model else mutant.doors
        walk = Walk(stage.world, stage.keys, stage.visitors[name], doors)
        for step in [getattr(walk, mutant.step)] if mutant.step else walk.steps:
            for route in walk.routes:
                for open_door in step(route):
                    return open_door
    return None
