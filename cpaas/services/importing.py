"""Bulk imports of numbers as staff see them: begun, looked at, and after a check begun in earnest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from django.db import transaction

from cpaas.models import NumberImport, NumberImportLine
from cpaas.models.imports import ImportStatus
from cpaas.services.import_files import COLUMNS, Line, read_lines
from portal import clock
from portal.background import run_soon
from portal.csv_export import csv_line
from portal.models import PortalAccount
from portal.problems import conflict
from portal.scoping import require_writer
from portal.services import audit

IMPORT_TASK = "cpaas.tasks.work_imports"
KEPT = timedelta(days=90)
_BATCH = 500
REPORT_COLUMNS = ("line", *COLUMNS, "status", "code", "detail")


def begin_import(
    *,
    actor: PortalAccount,
    content: bytes,
    file_name: str = "",
    dry_run: bool = False,
    atomic: bool = False,
) -> NumberImport:
    """Store the lines of a file to be worked off. With `dry_run` nothing is assigned; with `atomic` all lines or none.

    The carrier is asked line by line afterwards, by workers or by whoever waits for it (`import_work`).
    Raises Problem `invalid`, `too_large`.
    """
    require_writer(actor)
    lines = [_row(line) for line in read_lines(content)]
    name = "".join(character for character in file_name if character.isprintable())[-120:]
    job = NumberImport(file_name=name, dry_run=dry_run, atomic=atomic)
    return _begin(actor, job, lines)


def import_checked(*, actor: PortalAccount, job: NumberImport) -> NumberImport:
    """Import in earnest the lines that a dry run found good. Raises Problem `nothing_to_import` (409)."""
    require_writer(actor)
    good = job.lines.filter(status=ImportStatus.GOOD).order_by("line")
    if job.state != "done" or not job.dry_run or not job.good:
        raise conflict("nothing_to_import", "There is no finished check with lines that could be taken.")
    copied = [
        NumberImportLine(line=row.line, **{name: getattr(row, name) for name in COLUMNS}) for row in good.iterator()
    ]
    return _begin(actor, NumberImport(file_name=job.file_name, atomic=job.atomic), copied)


def report_as_csv(lines: Iterable[NumberImportLine]) -> Iterator[str]:
    """The report as a file that, cleaned of its last columns, can be imported again."""
    yield csv_line(REPORT_COLUMNS)
    for line in lines:
        yield csv_line(getattr(line, name) for name in REPORT_COLUMNS)


def forget_old() -> int:
    """Delete imports that were asked for long ago, in batches; returns how many."""
    forgotten = 0
    while True:
        old = list(NumberImport.objects.filter(created_at__lt=clock.now() - KEPT).values_list("pk", flat=True)[:20])
        if not old:
            return forgotten
        with transaction.atomic():
            NumberImportLine.objects.filter(job__in=old)._raw_delete(NumberImportLine.objects.db)
            forgotten += NumberImport.objects.filter(pk__in=old)._raw_delete(NumberImport.objects.db)


def _row(line: Line) -> NumberImportLine:
    row = NumberImportLine(line=line.line, **line.values)
    if line.errors:
        row.status, row.code, row.detail = ImportStatus.REFUSED, "invalid", " ".join(line.errors)[:400]
    return row


def _begin(actor: PortalAccount, job: NumberImport, lines: list[NumberImportLine]) -> NumberImport:
    job.account_id, job.account_name = actor.pk, actor.username
    job.system_provider_id, job.reseller_id, job.group_id = actor.system_provider_id, actor.reseller_id, actor.group_id
    job.total, job.created_at = len(lines), clock.now()
    job.refused = sum(line.status == ImportStatus.REFUSED for line in lines)
    for line in lines:
        line.job, line.due_at = job, job.created_at
    with transaction.atomic():
        job.save(force_insert=True)
        NumberImportLine.objects.bulk_create(lines, batch_size=_BATCH)
        after = {"lines": job.total, "dry_run": job.dry_run, "atomic": job.atomic}
        audit.record(actor, "import", job, after=after)
        run_soon(IMPORT_TASK)
    return job
