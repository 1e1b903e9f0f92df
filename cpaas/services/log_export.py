"""The message log as CSV: streamed, bounded, and written down in the audit trail before its first line (S1.57)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cpaas.models import Message
from cpaas.services import message_log
from cpaas.services.message_log import UNASSIGNED, Entry, LogFilter
from cpaas.services.story import Story, stories
from cpaas.states import MessageStatus
from portal.clock import iso
from portal.csv_export import csv_line
from portal.models import PortalAccount

# More than anybody reads; narrower dates give the rest.
MOST_EXPORTED = 10_000
_AT_ONCE = 500
COLUMNS = ("id", "at", "from", "to", "direction", "status", "sid", "segments", "characters", "error", "text")


def export_log(*, actor: PortalAccount, wanted: LogFilter) -> Iterator[str]:
    """The lines of a CSV of what `wanted`, from `check_filter`, finds, newest first, at most `MOST_EXPORTED` of them.

    Texts are left out where the account may not read them. Who exported what is recorded at once.
    """
    message_log.note_export(actor=actor, wanted=wanted)
    return _lines(actor, wanted)


def _lines(actor: PortalAccount, wanted: LogFilter) -> Iterator[str]:
    readable = message_log.may_read_texts(actor)
    yield csv_line(COLUMNS)
    beyond, left = None, MOST_EXPORTED
    while left > 0:
        count = min(_AT_ONCE, left)
        page = message_log.find_entries(actor=actor, wanted=wanted, beyond=beyond, count=count).entries
        told = {story.message.pk: story for story in stories([row for row in page if isinstance(row, Message)])}
        yield "".join(csv_line(_cells(row, told, readable=readable)) for row in page)
        if len(page) < count:
            return
        beyond, left = page[-1].pk, left - len(page)


def _cells(entry: Entry, told: dict[Any, Story], *, readable: bool) -> tuple[object, ...]:
    if not isinstance(entry, Message):
        text = entry.text if readable else ""
        counts = message_log.counted(entry.text)
        parties = (entry.sender, entry.recipient)
        said = (entry.sid, counts["segments"], counts["characters"], "", text)
        return (entry.pk, iso(entry.created_at), *parties, "in", UNASSIGNED, *said)
    own = entry.number.number
    parties = (entry.remote, own) if entry.direction == "in" else (own, entry.remote)
    text = entry.text if readable and entry.status != MessageStatus.SUPPRESSED else ""
    error = " ".join(filter(None, (entry.error_code, entry.error_text)))
    said = (told[entry.pk].sid, entry.segments, entry.characters, error, text)
    return (entry.pk, iso(entry.created_at), *parties, entry.direction, entry.status, *said)
