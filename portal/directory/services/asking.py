"""Asking LDAP and SQL servers: several at once, for a moment only, and not again at once when one is away.

Whoever searches gets what the others know, and which one did not answer. Names for numbers are asked for by a task.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial

from django.db.models import Q

from portal import clock, extensions
from portal.background import few_at_once
from portal.directory.entries import Details, Entry
from portal.directory.models import Directory, FoundName
from portal.directory.sources import SOURCES, SourceError, Where
from portal.directory.sources.base import TEST_TIMEOUT_S, TIMEOUT_S
from portal.logs import get_logger
from portal.outside import refuse_open_transaction
from portal.scoping import Actor, require_writer

logger = get_logger(__name__)
Question = Callable[[Directory], list[Details]]
LEFT_ALONE = timedelta(seconds=30)
NAME_KEPT, NOTHING_KEPT = timedelta(days=1), timedelta(hours=1)
CLAIMED_FOR = timedelta(minutes=2)
NAMES_AT_ONCE = 50
# So long a directory is asked for names before the others have their turn; the rest of its numbers wait a little.
TURN_S = 5.0
_THREADS = 16
_SLACK_S = 0.5


@dataclass(frozen=True)
class Answer:
    """What a directory said; `error` is why it said nothing."""

    directory: Directory
    found: list[Details] = field(default_factory=list)
    error: str = ""

    @property
    def entries(self) -> list[Entry]:
        """Its contacts as a user sees them. They have the same id each time."""
        named = [(uuid.uuid5(self.directory.pk, details.key), details) for details in self.found]
        return [Entry(key, self.directory.source, details, order=(details.name.upper(), key)) for key, details in named]


def search(directories: Sequence[Directory], text: str) -> list[Answer]:
    """What each of these servers finds for what a user typed. Raises TransactionOpen."""
    return _ask(directories, lambda one: SOURCES[one.kind].search(where_of(one), text, TIMEOUT_S), TIMEOUT_S)


def with_number(directories: Sequence[Directory], number: str) -> list[Answer]:
    """Whom each of these servers knows by a number. Raises TransactionOpen."""
    return _ask(directories, lambda one: SOURCES[one.kind].with_number(where_of(one), number, TIMEOUT_S), TIMEOUT_S)


def test_directory(*, actor: Actor | None, directory: Directory) -> Directory:
    """Ask a server for a few contacts and remember what came of it. Raises nothing for a server's no."""
    require_writer(actor)
    if directory.is_asked:
        _ask(
            [directory],
            lambda one: SOURCES[one.kind].test(where_of(one), TEST_TIMEOUT_S),
            TEST_TIMEOUT_S,
            even_if_away=True,
        )
        directory.refresh_from_db()
    return directory


def where_of(directory: Directory) -> Where:
    """What a source is asked with. The directory comes with its system provider loaded."""
    source = SOURCES[directory.kind]
    defaults = {setting.name: setting.default for setting in source.settings if not setting.secret}
    return Where({**defaults, **directory.settings}, directory.secrets, directory.system_provider.default_country)


@few_at_once(1)
def look_up_due() -> int:
    """Ask for the numbers that somebody saw; returns how many were taken up (S1.35)."""
    now = clock.now()
    due = FoundName.objects.filter(due_at__lte=now).order_by("due_at").values_list("pk", flat=True)[:NAMES_AT_ONCE]
    seen = FoundName.objects.filter(pk__in=list(due)).select_related("directory__system_provider")
    # Whoever moves it on has it; what a killed worker had is due again.
    claimed = [
        row for row in seen if FoundName.objects.filter(pk=row.pk, due_at=row.due_at).update(due_at=now + CLAIMED_FOR)
    ]
    by_directory: dict[uuid.UUID, list[FoundName]] = defaultdict(list)
    for row in claimed:
        by_directory[row.directory_id].append(row)
    for rows in by_directory.values():
        _look_up(rows)
    return len(claimed)


def _look_up(rows: Sequence[FoundName]) -> None:
    directory, until = rows[0].directory, time.monotonic() + TURN_S
    for row in rows:
        [answer] = with_number([directory], row.number)
        if not answer.error:
            _keep(row, answer.found)
        if answer.error or time.monotonic() > until:
            left = FoundName.objects.filter(directory=directory, due_at__isnull=False)
            left.update(due_at=clock.now() + LEFT_ALONE)
            return


def _keep(row: FoundName, found: Sequence[Details]) -> None:
    now, best = clock.now(), found[0] if found else None
    types = {dialled.number: dialled.type for dialled in best.numbers} if best else {}
    # Not there any more when the directory was changed or deleted meanwhile: what it said is of no use then.
    is_there = FoundName.objects.filter(pk=row.pk).update(
        name=best.name if best else "",
        type=types.get(row.number, row.type),
        due_at=None,
        expires_at=now + (NAME_KEPT if best else NOTHING_KEPT),
    )
    if is_there and best and row.wanted_by:
        for tell in extensions.name_followers:
            tell(row.wanted_by, row.number)


def _ask(
    directories: Sequence[Directory], question: Question, timeout_s: float, *, even_if_away: bool = False
) -> list[Answer]:
    """The answers in the order of the directories; those that are away are not asked again so soon."""
    now = clock.now()
    away = {one.pk for one in directories if one.failed_until and one.failed_until > now and not even_if_away}
    asked = [one for one in directories if one.pk not in away]
    if not asked:
        return [Answer(one, error=one.state_detail) for one in directories]
    refuse_open_transaction()
    futures = {one.pk: _pool().submit(partial(question, one)) for one in asked}
    wait(futures.values(), timeout_s + _SLACK_S)
    answers = {one.pk: _answer(one, futures[one.pk]) for one in asked}
    # One whose turn did not come, because others kept all threads waiting, has not failed.
    _remember([answers[one.pk] for one in asked if not futures[one.pk].cancelled()], tested=even_if_away)
    return [answers.get(one.pk) or Answer(one, error=one.state_detail) for one in directories]


def _answer(directory: Directory, future: Future[list[Details]]) -> Answer:
    if not future.done():
        future.cancel()
        return Answer(directory, error="The server did not answer in time.")
    error = future.exception()
    if error is None:
        return Answer(directory, future.result())
    if isinstance(error, SourceError):
        return Answer(directory, error=str(error))
    # What no driver should raise must not keep a user from the other directories.
    logger.error("directory_failed", directory=str(directory.pk), exc_info=error)
    return Answer(directory, error="The server sent something that could not be read.")


def _remember(answers: Iterable[Answer], *, tested: bool) -> None:
    """Keep the state of each directory; a server that still answers is not written down each time."""
    now = clock.now()
    for answer in answers:
        row = Directory.objects.filter(pk=answer.directory.pk)
        if answer.error:
            detail = answer.error[:300]
            row.update(state="failed", state_detail=detail, checked_at=now, failed_until=now + LEFT_ALONE)
        elif tested:
            row.update(state="connected", state_detail=_said(answer.found), checked_at=now, failed_until=None)
        elif answer.directory.state != "connected":
            row.filter(~Q(state="connected")).update(
                state="connected", state_detail="", checked_at=now, failed_until=None
            )


def _said(found: Sequence[Details]) -> str:
    if not found:
        return "The server answers, but has no contact there. Check the base DN and filter, or the query."
    numbers = sum(1 for details in found if details.numbers)
    return f"Contacts read: {len(found)}, with a number: {numbers}. The first is {found[0].name}."[:300]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="directories")
