"""Filling a CRM directory or phone list from a file: first as a dry run, then for good (contracts, Directories).

A contact may have several numbers, one a row. Contacts are told apart by `key`, so that the same file again changes
nothing. An import that was cut off is simply run again: it removes only at its end.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction

from portal import clock
from portal.directory.entries import LONGEST_NAME, MOST_NUMBERS, Details, Dialled, contact_number
from portal.directory.models import ContactKind, Directory, NumberType
from portal.directory.services.storing import Changes, book_of, details_of, remove_contacts, save_contacts
from portal.phone_numbers import InvalidNumber
from portal.problems import Problem, conflict
from portal.scoping import Actor, require_writer
from portal.services import audit

COLUMNS = ("key", "kind", "name", "company", "number", "type", "url")
MOST_BYTES = 10 * 1024 * 1024
MOST_ROWS = 50_000
MOST_ERRORS = 200
_BATCH = 1000


@dataclass
class Report:
    """What an import did, or with `dry_run` would do. Rows are numbered as in the file, the first line being 1; those
    with an error are left out."""

    dry_run: bool
    rows: int = 0
    contacts: int = 0
    changes: Changes = field(default_factory=Changes)
    errors: list[dict[str, Any]] = field(default_factory=list)
    error_count: int = 0

    def fault(self, row: int, column: str, sentence: str) -> None:
        self.error_count += 1
        if len(self.errors) < MOST_ERRORS:
            self.errors.append({"row": row, "field": column, "error": sentence})


def import_contacts(*, actor: Actor | None, directory: Directory, content: bytes, dry_run: bool = False) -> Report:
    """Make the file's contacts those of the directory: new ones are added, others changed, the rest removed.

    Raises Problem `not_importable` (409) for a server, `invalid` for a file that cannot be read at all,
    `changed_meanwhile` (409) when another import has removed what this one stored.
    """
    require_writer(actor)
    if directory.is_asked:
        raise conflict("not_importable", f"{directory} is asked when it is needed. There is nothing to import.")
    report = Report(dry_run)
    wanted = _read(content, report, directory)
    report.contacts = len(wanted)
    if dry_run:
        report.changes = _compare(directory, wanted)
        return report
    ordered = list(wanted.values())
    for start in range(0, len(ordered), _BATCH):
        with transaction.atomic():
            _lock(directory)
            save_contacts(
                owner=directory,
                source=directory.source,
                wanted=ordered[start : start + _BATCH],
                changes=report.changes,
            )
    with transaction.atomic():
        row = _lock(directory)
        stored = dict(book_of(row, row.source).values_list("key", "pk"))
        if wanted.keys() - stored.keys():
            # Two that each remove what the other stored would leave nothing.
            raise conflict("changed_meanwhile", "Another file was imported at the same time. Look and try again.")
        gone = [pk for key, pk in stored.items() if key not in wanted]
        report.changes.removed = remove_contacts(gone)
        row.row_count = len(stored) - len(gone)
        row.state, row.checked_at = "loaded", clock.now()
        row.state_detail = f"{report.error_count} rows were left out." if report.error_count else ""
        row.save(update_fields=["row_count", "state", "state_detail", "checked_at"])
        audit.record(actor, "import", row, after={**vars(report.changes), "errors": report.error_count})
    return report


def _lock(directory: Directory) -> Directory:
    row = Directory.objects.select_for_update().filter(pk=directory.pk).first()
    if row is None:
        raise conflict("directory_gone", "The directory was deleted meanwhile.")
    return row


def _compare(directory: Directory, wanted: Mapping[str, Details]) -> Changes:
    """What storing `wanted` would change."""
    changes, seen = Changes(), 0
    keys = list(wanted)
    for start in range(0, len(keys), _BATCH):
        contacts = list(book_of(directory, directory.source).filter(key__in=keys[start : start + _BATCH]))
        known = details_of(contacts)
        same = sum(1 for contact in contacts if known[contact.pk] == wanted[contact.key])
        seen += len(contacts)
        changes.unchanged += same
        changes.changed += len(contacts) - same
    changes.added = len(wanted) - seen
    changes.removed = book_of(directory, directory.source).count() - seen
    return changes


# --- The file ---------------------------------------------------------------------------------------------------------
def _read(content: bytes, report: Report, directory: Directory) -> dict[str, Details]:
    """The contacts of the file by key; faults go into the report."""
    country = directory.system_provider.default_country
    wanted: dict[str, Details] = {}
    for number, values in _rows(content):
        report.rows += 1
        if report.rows > MOST_ROWS:
            raise _unreadable(f"A file may have at most {MOST_ROWS} rows.")
        faults = _faults(values)
        for column, sentence in faults.items():
            report.fault(number, column, sentence)
        if faults:
            continue
        details = _details(values)
        try:
            dialled = _dialled(values, country)
        except InvalidNumber as error:
            report.fault(number, "number", str(error))
            continue
        before = wanted.get(details.key)
        if before is not None and replace(before, numbers=()) != details:
            report.fault(number, "key", f"The key {details.key} stands for another contact further up.")
        elif before is not None and len(before.numbers) >= MOST_NUMBERS:
            report.fault(number, "number", f"A contact has at most {MOST_NUMBERS} numbers.")
        else:
            wanted[details.key] = _with(before or details, dialled)
    return wanted


def _rows(content: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of the file with their line numbers. Raises Problem `invalid`."""
    if len(content) > MOST_BYTES:
        raise Problem("too_large", f"A file may have at most {MOST_BYTES // 1024 // 1024} MB.", status=413)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable("The file is not in UTF-8. Save it as CSV UTF-8.") from error
    if "\x00" in text:
        raise _unreadable("The file is no CSV file.")
    head = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if head.count(";") > head.count(",") else ",")
    try:
        columns = _columns(next(reader, []))
        for values in reader:
            if any(value.strip() for value in values):
                yield reader.line_num, dict(zip(columns, (value.strip() for value in values), strict=False))
    except csv.Error as error:
        raise _unreadable(f"Line {reader.line_num} cannot be read: {error}.") from error


def _columns(head: list[str]) -> list[str]:
    columns = [column.strip().lower() for column in head]
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown or "name" not in columns or len(set(columns)) < len(columns):
        raise _unreadable(f"The first line must name the columns: {','.join(COLUMNS)}. `name` is needed.")
    return columns


def _faults(values: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with a row, by column."""
    found = {}
    if not values.get("name"):
        found["name"] = "A contact needs a name."
    limits = {"name": LONGEST_NAME, "company": LONGEST_NAME, "key": 200, "url": 500, "number": 64}
    for column, longest in limits.items():
        if len(values.get(column, "")) > longest:
            found[column] = f"At most {longest} characters."
    if values.get("kind", "").lower() not in ("", *ContactKind.values):
        found["kind"] = f"Choose one of {', '.join(ContactKind.values)}."
    if values.get("type", "").lower() not in ("", *NumberType.values):
        found["type"] = f"Choose one of {', '.join(NumberType.values)}."
    if values.get("url") and not values["url"].startswith(("https://", "http://")):
        found["url"] = "An address begins with https:// or http://."
    return found


def _details(values: Mapping[str, str]) -> Details:
    name, company = values["name"], values.get("company", "")
    return Details(
        name=name,
        company=company,
        kind=values.get("kind", "").lower() or ContactKind.CONTACT,
        url=values.get("url", ""),
        key=values.get("key") or f"{name}|{company}"[:200],
    )


def _dialled(values: Mapping[str, str], country: str) -> Dialled | None:
    """The number of a row, if any. Raises InvalidNumber."""
    raw = values.get("number", "")
    return contact_number(raw, values.get("type", "").lower() or NumberType.OTHER, country=country) if raw else None


def _with(details: Details, dialled: Dialled | None) -> Details:
    if dialled is None or any(known.number == dialled.number for known in details.numbers):
        return details
    return replace(details, numbers=(*details.numbers, dialled))


def _unreadable(sentence: str) -> Problem:
    return Problem("invalid", sentence, errors={"file": [sentence]})
