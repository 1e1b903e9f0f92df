"""The world of the walk, built once a module. Tests marked `django_db` each start from it as it was made."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.db import transaction
from django.test import override_settings

from tests.isolation.keys import Keys
from tests.isolation.visitors import Visitor, visitors
from tests.isolation.world import World, make_world


@dataclass
class Stage:
    """The world, what opens its doors, and who walks there."""

    world: World
    keys: Keys
    visitors: dict[str, Visitor]


@pytest.fixture(scope="module")
def stage(django_db_setup: None, django_db_blocker) -> Iterator[Stage]:
    # So many wrong passwords are tried that nobody would get an answer worth comparing.
    patient = override_settings(LOGIN_ATTEMPTS_PER_MINUTE=1_000_000)
    with django_db_blocker.unblock(), transaction.atomic(), patient:
        logging.disable(logging.CRITICAL)  # each closed door would be a line
        world = make_world()
        yield Stage(world, Keys(world), visitors(world))
        logging.disable(logging.NOTSET)
        transaction.set_rollback(True)
