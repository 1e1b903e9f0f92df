"""What IM and presence add to the demo data. Nobody is online in it: that takes a client, and for XMPP a server."""

from __future__ import annotations

from collections.abc import Mapping

from cpaas.demo.cast import PROVIDERS
from portal.models import EndUser, PortalAccount
from xmpp.demo.broadworks import load_broadworks
from xmpp.demo.history import load_messages
from xmpp.demo.people import load_presence


def load(users: Mapping[str, EndUser], sandbox_port: int) -> None:
    """Into the demo's tenants; `users` are its users by login. Safe to repeat."""
    load_presence(users, PortalAccount.objects.get(username=PROVIDERS[0].accounts[0].username))
    load_messages(users)
    load_broadworks(sandbox_port)
