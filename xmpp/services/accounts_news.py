"""Telling the bridge that an account, or the server it is at, has changed."""

from __future__ import annotations

from django.db import transaction

from portal.events import wake

# The topic the bridge listens to for accounts; messages have their own.
ACCOUNTS_TOPIC = "xmpp-accounts"


def tell_accounts_changed() -> None:
    """After the caller's transaction, have the bridge look for accounts whose version, or state, is another now."""
    transaction.on_commit(lambda: wake(ACCOUNTS_TOPIC), robust=True)
