"""What a new session does before it is online.

The order is carbons, roster, presence, and then the archive from where the last session stopped. What is said once we
are present comes live, and what was said before is in the archive by then. Where the first session begins is asked
before the presence: a text that came right after it would otherwise count as older, and be lost with the worker.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from slixmpp.exceptions import IqError

from xmpp.archive import Archive
from xmpp.client import Client
from xmpp.stanzas import CARBONS

if TYPE_CHECKING:
    from xmpp.owner import Owner
    from xmpp.session import Session


async def catch_up(session: Session, owner: Owner, client: Client, archive: Archive) -> None:
    """Returns when all that was said meanwhile is stored. Raises slixmpp's IqError and IqTimeout, and what `owner`
    raises."""
    with suppress(IqError):  # a server without carbons: then there are only the messages that are for us
        await client.ask("set", Element(f"{{{CARBONS}}}enable"))
    owner.on_roster(session, await _fetch_roster(client), whole=True)
    await owner.begin(session)
    await archive.begin()
    client.say_presence({}, session.show, session.message)
    await archive.read()


async def _fetch_roster(client: Client) -> list[dict[str, str]]:
    answer = await client.ask("get", Element("{jabber:iq:roster}query"))
    items = answer.iterfind("{jabber:iq:roster}query/{jabber:iq:roster}item")
    return [dict(item.attrib) for item in items]
