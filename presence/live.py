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

from django.db.models import Exists, OuterRef

from portal import clock
from portal.events import LiveNews, Viewer
from portal.events.live import LiveState
from portal.models import EndUser
from portal.services.organisation import Organisation, organisations_of, same_organisation
from presence.models import Note
from presence.objects import gone_object, presence_object
from presence.services.online import note_online
from presence.services.reading import Shown, presences, presences_by_viewer
from presence.services.telling import Monitoring

# Longer than a change takes to be committed and looked for.
NEWS_FOR = timedelta(seconds=60)
WATCHED, NOTES = "watched", "notes"
_Notes = Mapping[uuid.UUID, datetime]
# By the identity of what is shown.
_Rendered = dict[int, dict[str, Any]]


class LivePresence:
    """An open event stream is also its user's sign of life. What a stream was told: the shown presence of each
    monitored user (`WATCHED`), and the time of each new note (`NOTES`), by user."""

    def listening(self, user_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        note_online(user_ids)
        # One probe of an index for each user, however many each monitors.
        monitored = Monitoring.objects.filter(from_enduser=OuterRef("pk"))
        monitoring = EndUser.objects.filter(Exists(monitored), pk__among=list(user_ids))
        return {*monitoring.values_list("pk", flat=True), *_new_notes(user_ids)}

    def news(self, wanted: Sequence[tuple[Viewer, LiveState]]) -> list[LiveNews]:
        viewer_ids = {viewer.pk for viewer, _ in wanted}
        watched, noted = watched_by(viewer_ids), _new_notes(viewer_ids)
        shown = presences_by_viewer(watched)
        new = presences([(viewer_id, key) for viewer_id, notes in noted.items() for key in notes])
        rendered: _Rendered = {}
        return [
            _news(
                told,
                shown.get(viewer.pk, {}),
                [(new[viewer.pk, key], at) for key, at in noted.get(viewer.pk, {}).items()],
                rendered,
            )
            for viewer, told in wanted
        ]


def watched_by(viewer_ids: Collection[uuid.UUID]) -> dict[uuid.UUID | None, list[uuid.UUID]]:
    """The active users of their organisation whom each of these monitors (R42)."""
    rows = Monitoring.objects.filter(from_enduser__among=list(viewer_ids), to_enduser__is_active=True)
    rows = rows.filter(same_organisation("from_enduser", "to_enduser")).order_by("from_enduser_id", "-to_enduser_id")
    found: dict[uuid.UUID | None, list[uuid.UUID]] = defaultdict(list)
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
    for key, at in changed.items():
        # Somebody may be deleted between the two queries.
        if key in organisations:
            of_organisation[organisations[key]][key] = at
    return {
        viewer_id: of_organisation[organisations[viewer_id]]
        for viewer_id in viewer_ids
        if organisations.get(viewer_id) in of_organisation
    }


def _news(
    told: LiveState, watched: Mapping[uuid.UUID, Shown], notes: Sequence[tuple[Shown, datetime]], rendered: _Rendered
) -> LiveNews:
    """What is different for one stream."""
    seen, heard = told.get(WATCHED, {}), told.get(NOTES, {})
    found = LiveNews({})
    if watched:
        found.told[WATCHED] = watched
    if notes:
        found.told[NOTES] = {shown.user_id: at for shown, at in notes}
    if watched != seen:
        found.events += [
            ("presence.updated", _data(shown, rendered)) for key, shown in watched.items() if seen.get(key) != shown
        ]
        found.events += [("presence.updated", gone_object(key)) for key in seen if key not in watched]
    found.events += [("note.updated", _data(shown, rendered)) for shown, at in notes if heard.get(shown.user_id) != at]
    return found


def _data(shown: Shown, rendered: _Rendered) -> dict[str, Any]:
    """The object, made once for all streams that are told the same."""
    if id(shown) not in rendered:
        rendered[id(shown)] = presence_object(shown)
    return rendered[id(shown)]
