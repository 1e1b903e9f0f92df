"""What a user's XMPP session shows of the user: as they are in our own platform (S0.1)."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from portal.sql import as_uuid, execute_for
from presence.services.online import online_among
from presence.states import Status

# RFC 6121 §4.7.2.1; "" is available. There is no word for busy there, and UC-One says Busy for dnd.
_SHOWS = {Status.AVAILABLE: "", Status.AWAY: "away", Status.BUSY: "dnd", Status.DND: "dnd"}
NOT_HERE = "xa"

# Asked every second.
_CHOSEN = "SELECT user_id, status, message FROM presence_ownstatus WHERE user_id {among}"


def shown_presence(account_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, tuple[str, str]]:
    """(`show`, status message) of each of these accounts, in two queries however many.

    Not to be disturbed stays so without an open client of ours; else who has none is away for long: messages reach
    them, since we keep them.
    """
    chosen = execute_for(_CHOSEN, account_ids, {}) if account_ids else []
    said = {as_uuid(key): (_SHOWS[Status(status)], message) for key, status, message in chosen}
    online = online_among(account_ids)
    return {key: _shown(said.get(key, ("", "")), key in online) for key in account_ids}


def _shown(said: tuple[str, str], is_online: bool) -> tuple[str, str]:
    show, message = said
    return (show, message) if is_online or show == "dnd" else (NOT_HERE, message)
