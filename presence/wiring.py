"""What presence plugs into the portal."""

from __future__ import annotations

from portal.events import register_live_source
from presence.live import LivePresence
from presence.own_clients import OwnClients
from presence.sources import register_shared_source


def connect() -> None:
    register_shared_source(OwnClients())
    register_live_source(LivePresence())
