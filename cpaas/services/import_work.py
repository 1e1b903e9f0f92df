"""The working off of bulk imports: claimed lines, carriers asked side by side, numbers assigned one by one.

A worker claims a few lines for two minutes, asks the carriers without a transaction, and writes each line's outcome
together with its number while its claim stands. A killed worker's lines are due again when the claim runs out: what it
had assigned is written down as such, and nothing is assigned twice.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.db import transaction
from django.db.models import F

from cpaas.models import CpaasNumber, NumberImport, NumberImportLine
from cpaas.models.imports import ImportStatus
from cpaas.services import numbers
from cpaas.services.import_drafts import draft_of
from cpaas.services.import_ends import end_import
from portal import clock
from portal.background import few_at_once, run_soon
from portal.models import PortalAccount
from portal.problems import Problem

# As many calls a carrier may have from one worker at a time.
AT_ONCE = 8
_BATCH = 40
_JOBS = 20
_CLAIM = timedelta(minutes=2)
_MOST_TRIES = 4
_LOOK_AGAIN_S = 0.2


@few_at_once(1)
def work_due_imports() -> int:
    """Work on every import that has something due, in turn, so that none waits for another's end; returns how many
    lines. Any number of workers may run at once."""
    done = 0
    while worked := sum(map(_work_some, _next_imports())):
        done += worked
    return done


def _next_imports() -> list[NumberImport]:
    """Some imports that are under way, as evenly of all providers as there are: nobody waits behind a hundred of
    somebody else's, whose carrier may not answer at all."""
    ranked, of_provider = [], Counter[uuid.UUID | None]()
    for job in NumberImport.objects.filter(state="running").order_by("id"):
        of_provider[job.system_provider_id] += 1
        ranked.append((of_provider[job.system_provider_id], uuid.uuid4(), job))
    return [job for *_, job in sorted(ranked, key=lambda one: one[:2])[:_JOBS]]


def _work_some(job: NumberImport) -> int:
    """Work on a few lines of an import, or end it when there are none."""
    lines = _claim(job)
    if lines:
        _work(job, lines)
    else:
        end_import(job)
    return len(lines)


def work_until(job: NumberImport, seconds: float) -> NumberImport:
    """Work on one import, beside the workers, until it is done or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if _work_some(job):
            continue
        job.refresh_from_db()
        if job.state == "done":
            break
        time.sleep(_LOOK_AGAIN_S)
    return job


def _claim(job: NumberImport) -> list[NumberImportLine]:
    now, claim = clock.now(), uuid.uuid4()
    due = NumberImportLine.objects.filter(job=job, status=ImportStatus.WAITING, due_at__lte=now)
    keys = list(due.order_by("due_at", "line").values_list("pk", flat=True)[:_BATCH])
    if not keys or not due.filter(pk__in=keys).update(claim=claim, due_at=now + _CLAIM):
        return []
    return list(NumberImportLine.objects.filter(job=job, claim=claim).order_by("line"))


def _work(job: NumberImport, lines: list[NumberImportLine]) -> None:
    account = PortalAccount.objects.filter(pk=job.account_id, is_active=True).first()
    drafts: list[tuple[NumberImportLine, CpaasNumber]] = []
    for line in lines:
        try:
            drafts.append((line, draft_of(line, account)))
        except Problem as problem:
            _refuse(line, problem)
    # Threads that only talk to carriers and never to the database. Each outcome is written down as soon as it is there:
    # where the carrier takes so long that the claim runs out on the last lines, the first ones are through.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(lambda ask: ask(), [_question(draft) for _, draft in drafts])
        for (line, draft), refusal in zip(drafts, answers, strict=True):
            if refusal is None:
                _accept(job, line, account, draft)
            elif refusal.code == "carrier_unreachable" and line.tries + 1 < _MOST_TRIES:
                _try_later(line)
            else:
                _refuse(line, refusal)
    run_soon(numbers.WORK_TASK)


def _question(draft: CpaasNumber) -> Callable[[], Problem | None]:
    """What asks the carrier about a draft; read from the database before, because it runs in a thread."""
    carrier, account, tn = draft.platform.carrier, draft.platform.account(), draft.number

    def ask() -> Problem | None:
        try:
            numbers.ask_carrier(carrier, account, tn)
        except Problem as problem:
            return problem
        return None

    return ask


def _accept(job: NumberImport, line: NumberImportLine, account: PortalAccount | None, draft: CpaasNumber) -> None:
    """Assign the number, or note that it could be."""
    try:
        if job.dry_run or job.atomic:
            numbers.require_available(draft.number)
            _settle(line, ImportStatus.GOOD, "good")
            return
        with transaction.atomic():
            if _settle(line, ImportStatus.TAKEN, "taken", number_id=draft.pk):
                numbers.save_number(account, draft)
                numbers.tell_number_changed(draft)
    except Problem as problem:
        _refuse(line, problem)


def _refuse(line: NumberImportLine, problem: Problem) -> None:
    _settle(line, ImportStatus.REFUSED, "refused", code=problem.code, detail=problem.detail[:400])


def _settle(line: NumberImportLine, status: str, counter: str, **columns: object) -> bool:
    """Write a line's outcome and count it while the claim stands; False when it does not."""
    with transaction.atomic():
        mine = NumberImportLine.objects.filter(pk=line.pk, claim=line.claim, status=ImportStatus.WAITING)
        if not mine.update(status=status, claim=None, **columns):
            return False
        NumberImport.objects.filter(pk=line.job_id).update(**{counter: F(counter) + 1})
    return True


def _try_later(line: NumberImportLine) -> None:
    """The carrier could not be asked: again in 2 s, then 4 s, then 8 s."""
    wait = timedelta(seconds=2 * 2**line.tries)
    NumberImportLine.objects.filter(pk=line.pk, claim=line.claim).update(
        tries=line.tries + 1, due_at=clock.now() + wait, claim=None
    )
