"""Presence as the API and its events show it (contracts section 5)."""

from __future__ import annotations

import uuid
from typing import Any

from portal.clock import iso
from presence.merge import Report
from presence.models import Note
from presence.services.reading import NoteText, Shown


def presence_object(shown: Shown) -> dict[str, Any]:
    """A user's presence as its viewer sees it."""
    presence = shown.presence
    return {
        "user": str(shown.user_id),
        "status": presence.status.value,
        "label": presence.status.label,
        "message": presence.message,
        "note": _note(shown.note),
        "rich": _rich(presence.rich),
        "telephony": _telephony(presence.telephony),
        "why": list(presence.why),
    }


def gone_object(user_id: uuid.UUID) -> dict[str, Any]:
    """What is said of a user who is not monitored any more, or may not be seen."""
    return {"user": str(user_id), "gone": True}


def note_object(note: Note) -> dict[str, Any]:
    """A note by itself; without a text there is none."""
    by, at = (note.author_name, iso(note.at)) if note.text else (None, None)
    return {"user": str(note.user_id), "text": note.text, "by": by, "at": at}


def _note(note: NoteText | None) -> dict[str, Any] | None:
    return {"text": note.text, "by": note.by, "at": iso(note.at)} if note else None


def _rich(report: Report | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "status": report.status.value,
        "label": report.status.label,
        "message": report.message,
        "source": report.source,
        "at": iso(report.at),
    }


def _telephony(report: Report | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "status": report.status.value,
        "label": report.status.label,
        "detail": report.detail.value if report.detail else None,
        "forwarded_to": report.forwarded_to or None,
        "source": report.source,
        "at": iso(report.at),
    }
