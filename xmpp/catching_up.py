"""What a new session does before it is online.

The order is carbons, roster, presence, and then the archive from where the last session stopped. What is said once we
are present comes live, and what was said before is in the archive by then. Where the first session begins is asked
before the presence: a text that came right after it would otherwise count as older, and be lost with the worker.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from xmpp.archive import Archive
from xmpp.building import ENABLE_CARBONS, FETCH_ROSTER, build_presence
from xmpp.client import Client
from xmpp.requests import RequestRefused
from xmpp.stanzas import read_roster

if TYPE_CHECKING:
    from xmpp.owner import Owner
    from xmpp.session import Session


async def catch_up(session: Session, owner: Owner, client: Client, archive: Archive) -> None:
    """Returns when all that was said meanwhile is stored. Raises RequestFailed, and what `owner` raises."""
    with suppress(RequestRefused):  # a server without carbons: then there are only the messages that are for us
        await client.requests.ask("set", ENABLE_CARBONS)
    owner.on_roster(session, read_roster(await client.requests.ask("get", FETCH_ROSTER)), whole=True)
    await owner.begin(session)
    await archive.begin()
    client.tell(build_presence(show=session.show, status=session.message))
    await archive.read()
