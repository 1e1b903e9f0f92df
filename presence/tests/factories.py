"""Rows of presence for tests, and sources that report what a test wants."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import factory
from factory.django import DjangoModelFactory

from portal import clock
from portal.models import EndUser
from portal.tests.factories import EndUserFactory
from presence import sources
from presence.merge import Report
from presence.models import Note, OwnStatus, SignOfLife
from presence.sources import Pair


class OwnStatusFactory(DjangoModelFactory):
    class Meta:
        model = OwnStatus

    user = factory.SubFactory(EndUserFactory)
    status = "busy"
    at = factory.LazyFunction(clock.now)


class NoteFactory(DjangoModelFactory):
    """A note that is too old to be news."""

    class Meta:
        model = Note

    user = factory.SubFactory(EndUserFactory)
    text = "Back on Monday"
    author = factory.SelfAttribute("user")
    author_name = factory.LazyAttribute(lambda note: note.author.name)
    at = factory.LazyFunction(lambda: clock.now() - timedelta(hours=1))


def last_sign(user: EndUser, *, ago_s: float) -> None:
    """The user's sign of life ended so long ago."""
    SignOfLife.objects.update_or_create(user=user, defaults={"online_until": clock.now() - timedelta(seconds=ago_s)})


class TableSource:
    """A source by pairs that reports what is in its table, as one in the database would."""

    def __init__(self) -> None:
        self.table: dict[Pair, list[Report]] = {}
        self.asked: list[set[Pair]] = []

    def reports(self, pairs: Collection[Pair]) -> Mapping[Pair, list[Report]]:
        self.asked.append(set(pairs))
        return {pair: self.table[pair] for pair in pairs if pair in self.table}


class TableOfUsers:
    """A shared source of the same kind."""

    def __init__(self) -> None:
        self.table: dict[uuid.UUID, list[Report]] = {}

    def reports_of(self, user_ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, list[Report]]:
        return {key: self.table[key] for key in user_ids if key in self.table}


@contextmanager
def registered(source: TableSource | TableOfUsers) -> Iterator[None]:
    """The source is one of the registered ones for a while."""
    known = sources._pair_sources if isinstance(source, TableSource) else sources._shared_sources
    known.append(source)  # type: ignore[arg-type]
    try:
        yield
    finally:
        known.remove(source)  # type: ignore[arg-type]
