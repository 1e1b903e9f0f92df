"""The end of a bulk import: done when no line waits any more, and all-or-none ones are then taken together."""

from __future__ import annotations

from django.db import transaction

from cpaas.models import CpaasNumber, NumberImport, NumberImportLine
from cpaas.models.imports import ImportStatus
from cpaas.services import numbers
from cpaas.services.import_drafts import draft_of
from portal import clock
from portal.background import run_soon
from portal.events import News
from portal.models import PortalAccount
from portal.problems import Problem

_OTHERS_BAD = "Not taken, because other lines of the file could not be."


class _Stopped(Exception):
    """A line could not be taken after all."""

    def __init__(self, line: NumberImportLine, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.line, self.problem = line, problem


def end_import(job: NumberImport) -> None:
    """Finish an import of which no line waits. In one transaction: a worker killed in it leaves all as it was."""
    waiting = NumberImportLine.objects.filter(job=job, status=ImportStatus.WAITING)
    if waiting.exists():
        return
    with transaction.atomic():
        row = NumberImport.objects.select_for_update().filter(pk=job.pk, state="running").first()
        if row is None:
            return
        if row.atomic and not row.dry_run:
            _take_all_or_none(row)
        row.state, row.finished_at = "done", clock.now()
        row.save(update_fields=["state", "finished_at", "good", "taken", "refused"])


def _take_all_or_none(job: NumberImport) -> None:
    good = NumberImportLine.objects.filter(job=job, status=ImportStatus.GOOD)
    if not job.refused:
        try:
            with transaction.atomic():
                _take(job, list(good))
        except _Stopped as stopped:
            refused = {"code": stopped.problem.code, "detail": stopped.problem.detail[:400]}
            good.filter(pk=stopped.line.pk).update(status=ImportStatus.REFUSED, **refused)
            job.refused = 1
        else:
            job.good, job.taken = 0, job.good
            return
    good.update(status=ImportStatus.NOT_TAKEN, detail=_OTHERS_BAD)
    job.good = 0


def _take(job: NumberImport, lines: list[NumberImportLine]) -> None:
    """Assign all of them. Raises _Stopped at the first that cannot be."""
    account = PortalAccount.objects.filter(pk=job.account_id, is_active=True).first()
    drafts: list[tuple[NumberImportLine, CpaasNumber]] = []
    for line in lines:
        try:
            drafts.append((line, draft_of(line, account)))
        except Problem as problem:
            raise _Stopped(line, problem) from problem
    # Everybody locks users first, then numbers, and each kind in one order.
    numbers.lock_licensed(None, *(draft.user for _, draft in drafts))
    for line, draft in sorted(drafts, key=lambda pair: pair[1].number):
        try:
            numbers.save_number(account, draft)
        except Problem as problem:
            raise _Stopped(line, problem) from problem
        NumberImportLine.objects.filter(pk=line.pk).update(status=ImportStatus.TAKEN, number_id=draft.pk)
    news = News()
    for _, draft in drafts:
        news.add(draft.user_id, "number.updated", draft.pk)
    news.write()
    run_soon(numbers.WORK_TASK)
