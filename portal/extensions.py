"""What goes up: apps above fill these registries in `ready()`, so that portal imports none of them (architecture 1).

- `page_tabs`: tabs on the pages of system providers, resellers, groups and users, each a callable (row) -> Tab or None
- `page_sections`: parts of a row's page, each a callable (row, actor) -> Section or None
- `landing_sections`: parts of the landing page, each a callable (actor) -> Section or None
- `attention`: what somebody should look at, on top of the landing page, each a callable (actor) -> Notices
- `session_contributors`: parts of `GET session/`, each a callable (user) -> dict merged into the answer
- `guards`: (object, change) -> Problem or None, called inside the service's transaction before a row is deleted
  ("delete") or after it was changed ("update"); a Problem takes the transaction back
- `number_holders`: users of telephone numbers that apps assign, each a callable (numbers) -> Holders
- `assigned_numbers`: the numbers of users that apps assign, each a callable (user ids) -> user's id to numbers
- `name_followers`: who is told that a directory found a name, each a callable (user's id, number)
- `purges`: what `manage.py purge` removes beside texts, each a callable (as of, dry run) -> counts by what was removed
- `followers`: what must change along with a row, each a callable (row), called inside the service's transaction
- `user_parts`: fields of users that an app keeps, in the users of the provisioning API
- `demo_parts`: what `loaddemo` adds of an app, each a callable (the demo's users by login, port of the sandbox)
- `login_password_rules`: what a user may not log in with, each a callable (user, password) -> Problem or None
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from django.db import models

from portal.problems import Problem

Change = Literal["update", "delete"]
Guard = Callable[[Any, Change], Problem | None]


@dataclass(frozen=True)
class Tab:
    """A tab on a level's page: the rows of `model` at that level and below. `name` is the last part of its URL."""

    name: str
    title: str
    model: type[models.Model]


@dataclass(frozen=True)
class Section:
    """A part of a page of the staff site: a template and what it shows."""

    template: str
    context: dict[str, Any]


@dataclass(frozen=True)
class Notice:
    """Something to look at: `kind` in a word or two, what it is (`title`, linked to `url` with exactly those rows),
    more about the newest of them, and since when. What is not `urgent` can wait until somebody has time."""

    kind: str
    title: str
    url: str
    detail: str = ""
    since: datetime | None = None
    urgent: bool = True


@dataclass(frozen=True)
class Holder:
    """The user of a telephone number that an app assigned, and the group of that user."""

    number: str
    user_id: uuid.UUID
    name: str
    group_id: uuid.UUID


page_tabs: list[Callable[[models.Model], Tab | None]] = []
page_sections: list[Callable[[models.Model, Any], Section | None]] = []
landing_sections: list[Callable[[Any], Section | None]] = []
attention: list[Callable[[Any], Iterable[Notice]]] = []
session_contributors: list[Callable[[Any], dict[str, Any]]] = []
number_holders: list[Callable[[Collection[str]], Iterable[Holder]]] = []
assigned_numbers: list[Callable[[Collection[uuid.UUID]], Mapping[uuid.UUID, Sequence[str]]]] = []
name_followers: list[Callable[[uuid.UUID, str], None]] = []
purges: list[Callable[[datetime | None, bool], Mapping[str, int]]] = []
demo_parts: list[Callable[[Mapping[str, Any], int], None]] = []
_guards: dict[type[models.Model], list[Guard]] = {}


def register_guard(model: type[models.Model], guard: Guard) -> None:
    _guards.setdefault(model, []).append(guard)


def check_guards(row: models.Model, change: Change) -> None:
    """Ask every guard of the row's model. Raises the first Problem."""
    for guard in _guards.get(type(row), []):
        problem = guard(row, change)
        if problem is not None:
            raise problem


Follower = Callable[[Any], None]
_followers: dict[type[models.Model], list[Follower]] = {}


def register_follower(model: type[models.Model], follower: Follower) -> None:
    """`follower(row)` runs inside the transaction after a service changed a row of `model`."""
    _followers.setdefault(model, []).append(follower)


def tell_followers(row: models.Model) -> None:
    for follower in _followers.get(type(row), []):
        follower(row)


class UserStep(Protocol):
    """What an app does when a user is written: `commit` inside the transaction, `finish` after it, `undo` instead when
    the user was not written after all."""

    def commit(self, user: Any) -> None: ...

    def finish(self, user: Any) -> None:
        """May raise a Problem for a user who is new, and who is then deleted and undone."""

    def undo(self) -> None: ...


@dataclass(frozen=True)
class UserPart:
    """Fields of a user that an app keeps in rows of its own.

    `fields` makes them for the users of the API, by name; they read the user's row, with `related` read along but for
    its columns that are `unread`.
    `begin` (actor, user, given values) checks the values and may talk to the outside, before any transaction; the user
    is as it will be, and one that is not saved yet is a new one. Raises Problem.
    """

    names: frozenset[str]
    related: tuple[str, ...]
    unread: tuple[str, ...]
    fields: Callable[[], dict[str, Any]]
    begin: Callable[[Any, Any, Mapping[str, Any]], UserStep]


user_parts: list[UserPart] = []
login_password_rules: list[Callable[[Any, str], Problem | None]] = []


def user_part_names() -> frozenset[str]:
    return frozenset(name for part in user_parts for name in part.names)


def begin_user_parts(actor: Any, user: Any, values: Mapping[str, Any]) -> list[UserStep]:
    """The steps of the apps whose fields are among `values`. No transaction may be open when there are any."""
    given = [(part, {name: values[name] for name in part.names if name in values}) for part in user_parts]
    steps: list[UserStep] = []
    with taking_back(steps):
        for part, found in given:
            if found:
                steps.append(part.begin(actor, user, found))
    return steps


@contextmanager
def taking_back(steps: Sequence[UserStep]) -> Iterator[None]:
    """Undo these steps when the block fails. No transaction may be open around it."""
    try:
        yield
    except Exception:
        for step in steps:
            step.undo()
        raise
