"""Presence on event streams: `presence.updated` of whom a user monitors, `note.updated` of the whole organisation
(contracts sections 4 and 5).

A stream is told everything it has not been told: all monitored users after `hello`, then whoever looks different. Notes
are told in the minute after they change, to whoever listens then.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from portal import clock
from portal.events import LiveNews, Viewer
from portal.events.live import LiveState
from portal.services.organisation import Organisation, organisations_of, same_organisation
from presence.models import Note
from presence.objects import gone_object, presence_object
from presence.services.online import note_online
from presence.services.reading import Shown, presences
from presence.services.telling import Monitoring

# Longer than a change takes to be committed and looked for.
NEWS_FOR = timedelta(seconds=60)
_Notes = Mapping[uuid.UUID, datetime]


class LivePresence:
    """An open event stream is also its user's sign of life. What a stream was told: the shown presence of each
    monitored user under that user's id, and the time of each new note under `("note", id)`."""

    def listening(self, user_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        note_online(user_ids)
        monitoring = Monitoring.objects.filter(from_enduser__among=list(user_ids))
        return {*monitoring.values_list("from_enduser_id", flat=True).distinct(), *_new_notes(user_ids)}

    def news(self, wanted: Sequence[tuple[Viewer, LiveState]]) -> list[LiveNews]:
        viewer_ids = {viewer.pk for viewer, _ in wanted}
        watched, noted = watched_by(viewer_ids), _new_notes(viewer_ids)
        pairs = {(key, other) for key in viewer_ids for other in (*watched.get(key, ()), *noted.get(key, ()))}
        shown = presences(pairs)
        rendered: dict[int, dict[str, Any]] = {}
        return [
            _news(
                told,
                {key: shown[viewer.pk, key] for key in watched.get(viewer.pk, ())},
                [(key, at, shown[viewer.pk, key]) for key, at in noted.get(viewer.pk, {}).items()],
                rendered,
            )
            for viewer, told in wanted
        ]


def watched_by(viewer_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[uuid.UUID]]:
    """The active users of their organisation whom each of these monitors (R42)."""
    rows = Monitoring.objects.filter(from_enduser__among=list(viewer_ids), to_enduser__is_active=True)
    rows = rows.filter(same_organisation("from_enduser", "to_enduser")).order_by("from_enduser_id", "-to_enduser_id")
    found: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for viewer_id, user_id in rows.values_list("from_enduser_id", "to_enduser_id"):
        found[viewer_id].append(user_id)
    return found


def _new_notes(viewer_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, _Notes]:
    """The notes of each viewer's organisation that changed just now; mostly there are none anywhere."""
    new = Note.objects.filter(at__gt=clock.now() - NEWS_FOR, user__is_active=True).order_by("at")
    changed = dict(new.values_list("pk", "at"))
    if not changed:
        return {}
    organisations = organisations_of({*viewer_ids, *changed})
    of_organisation: dict[Organisation, dict[uuid.UUID, datetime]] = defaultdict(dict)
    for key in changed.keys() & organisations.keys():
        of_organisation[organisations[key]][key] = changed[key]
    return {
        viewer_id: of_organisation[organisations[viewer_id]]
        for viewer_id in viewer_ids
        if organisations.get(viewer_id) in of_organisation
    }


def _news(
    told: LiveState,
    watched: Mapping[uuid.UUID, Shown],
    notes: Sequence[tuple[uuid.UUID, datetime, Shown]],
    rendered: dict[int, dict[str, Any]],
) -> LiveNews:
    """What is different for one stream. `rendered` keeps the objects of what several streams are told."""

    def data(shown: Shown) -> dict[str, Any]:
        return rendered.setdefault(id(shown), presence_object(shown))

    found = LiveNews({**watched, **{("note", key): at for key, at, _ in notes}})
    found.events += [("note.updated", data(shown)) for key, at, shown in notes if told.get(("note", key)) != at]
    found.events += [("presence.updated", data(shown)) for key, shown in watched.items() if told.get(key) != shown]
    gone = [key for key in told if isinstance(key, uuid.UUID) and key not in watched]
    found.events += [("presence.updated", gone_object(key)) for key in gone]
    return found
