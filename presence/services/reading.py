"""The presence of users as others see it: what all sources report, merged, and the note (contracts section 5)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from presence.merge import Presence, Report, merge
from presence.models import Note
from presence.sources import Pair, pair_reports, shared_reports


@dataclass(frozen=True, slots=True)
class NoteText:
    """A note that is there: `by` is its author's name."""

    text: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Shown:
    """What a viewer is shown of a user, and the reports it was made from. Two that are equal look alike."""

    user_id: uuid.UUID
    presence: Presence
    note: NoteText | None
    reports: tuple[Report, ...]


def presences(pairs: Collection[Pair]) -> dict[Pair, Shown]:
    """What each viewer is shown of each user, for many pairs in as many queries as for one.

    Who may look is the caller's to know. What no source shows to that viewer alone is merged once for all of them.
    """
    user_ids = {user_id for _, user_id in pairs}
    shared, notes, special = shared_reports(user_ids), notes_of(user_ids), pair_reports(pairs)
    common: dict[uuid.UUID, Shown] = {}
    found: dict[Pair, Shown] = {}
    for pair in pairs:
        user_id = pair[1]
        if pair in special:
            found[pair] = _shown(user_id, [*shared.get(user_id, ()), *special[pair]], notes)
            continue
        if user_id not in common:
            common[user_id] = _shown(user_id, shared.get(user_id, ()), notes)
        found[pair] = common[user_id]
    return found


def notes_of(user_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, NoteText]:
    """The notes on these users; those without one are left out."""
    rows = Note.objects.filter(pk__among=list(user_ids)).exclude(text="")
    return {key: NoteText(text, by, at) for key, text, by, at in rows.values_list("pk", "text", "author_name", "at")}


def _shown(user_id: uuid.UUID, reports: Collection[Report], notes: dict[uuid.UUID, NoteText]) -> Shown:
    return Shown(user_id, merge(reports), notes.get(user_id), tuple(reports))
