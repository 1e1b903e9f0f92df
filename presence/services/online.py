"""Who is online in our own platform: an open event stream, or polls, are the sign of life (S0.3)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import timedelta

from portal import clock
from portal.sql import as_uuid, execute_for, share_lock
from presence.models import SignOfLife
from presence.services.telling import tell_presence_changed

# Whoever is gone, or was served by a process that was killed, is offline after this. A client that reloads is back by
# then. Renewed at half of it, so that a slow look at the open streams loses nobody.
ONLINE_FOR = timedelta(seconds=25)
_RENEW_BEFORE = timedelta(seconds=12)
# Bridges ask it every second.
_ONLINE = "SELECT user_id FROM presence_signoflife WHERE user_id {among} AND online_until > %(now)s"
# A user who is just being deleted gets no sign: an error here would end the look at everybody's streams.
_SIGNS = """
    INSERT INTO presence_signoflife (user_id, online_until)
    SELECT u.id, %(until)s FROM portal_enduser u WHERE u.id {among} ORDER BY u.id {lock}
    ON CONFLICT (user_id) DO UPDATE SET online_until = excluded.online_until
"""


def online_among(user_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these users who have a client open now."""
    rows = execute_for(_ONLINE, user_ids, {"now": clock.now()}) if user_ids else []
    return {as_uuid(key) for (key,) in rows}


def note_online(user_ids: Collection[uuid.UUID]) -> None:
    """These users have a client open now. Writes only for those whose last sign is some seconds old, and tells of those
    who were offline."""
    now = clock.now()
    known = dict(SignOfLife.objects.filter(pk__among=list(user_ids)).values_list("pk", "online_until"))
    due = [key for key in user_ids if key not in known or known[key] < now + _RENEW_BEFORE]
    if not due:
        return
    execute_for(_SIGNS.replace("{lock}", share_lock("u")), due, {"until": now + ONLINE_FOR})
    tell_presence_changed([key for key in due if key not in known or known[key] <= now])
