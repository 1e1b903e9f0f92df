"""The presence of users as others see it: what all sources report, merged, and the note (contracts section 5)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from weakref import WeakValueDictionary

from presence.merge import Presence, Report, merge
from presence.models import Note
from presence.sources import Pair, pair_reports, shared_reports


@dataclass(frozen=True, slots=True)
class NoteText:
    """A note that is there: `by` is its author's name."""

    text: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Shown:
    """What a viewer is shown of a user, and the reports it was made from. Two that are equal look alike, whatever the
    reports."""

    user_id: uuid.UUID
    presence: Presence
    note: NoteText | None
    reports: tuple[Report, ...] = field(compare=False)


# As long as somebody holds what a user looked like, the same looks are the same object: so thousands of streams see
# by identity that nothing is new.
_looks: WeakValueDictionary[uuid.UUID, Shown] = WeakValueDictionary()


def presences(pairs: Collection[Pair]) -> dict[Pair, Shown]:
    """What each viewer is shown of each user, for many pairs in as many queries as for one.

    Who may look is the caller's to know.
    """
    wanted: dict[uuid.UUID | None, list[uuid.UUID]] = {}
    for viewer_id, user_id in pairs:
        wanted.setdefault(viewer_id, []).append(user_id)
    found = presences_by_viewer(wanted)
    return {pair: found[pair[0]][pair[1]] for pair in pairs}


def presences_by_viewer(
    wanted: Mapping[uuid.UUID | None, Collection[uuid.UUID]],
) -> dict[uuid.UUID | None, dict[uuid.UUID, Shown]]:
    """The same by viewer and user. What no source shows to a viewer alone is merged once for all of them."""
    user_ids = {user_id for users in wanted.values() for user_id in users}
    pairs = [(viewer_id, user_id) for viewer_id, users in wanted.items() for user_id in users]
    shared, notes, special = shared_reports(user_ids), notes_of(user_ids), pair_reports(pairs)
    common = {key: _common(key, tuple(shared.get(key, ())), notes) for key in user_ids}
    found: dict[uuid.UUID | None, dict[uuid.UUID, Shown]] = {}
    for viewer_id, users in wanted.items():
        # The id of the kept object is the same one each time, too.
        found[viewer_id] = {shown.user_id: shown for shown in map(common.__getitem__, users)}
    for (viewer_id, user_id), reports in special.items():
        found[viewer_id][user_id] = _shown(user_id, [*shared.get(user_id, ()), *reports], notes)
    return found


def notes_of(user_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, NoteText]:
    """The notes on these users; those without one are left out."""
    rows = Note.objects.filter(pk__among=list(user_ids)).exclude(text="")
    return {key: NoteText(text, by, at) for key, text, by, at in rows.values_list("pk", "text", "author_name", "at")}


def _shown(user_id: uuid.UUID, reports: Collection[Report], notes: Mapping[uuid.UUID, NoteText]) -> Shown:
    return Shown(user_id, merge(reports), notes.get(user_id), tuple(reports))


def _common(user_id: uuid.UUID, reports: tuple[Report, ...], notes: Mapping[uuid.UUID, NoteText]) -> Shown:
    """What everybody is shown: the object of last time when nothing it is made from has changed."""
    known = _looks.get(user_id)
    if known is None or (known.reports, known.note) != (reports, notes.get(user_id)):
        known = _looks[user_id] = _shown(user_id, reports, notes)
    return known
