"""Talking to the outside: never with a transaction open, which would hold its locks for as long as a stranger likes."""

from __future__ import annotations

from django.db import connections


class TransactionOpen(RuntimeError):
    """Somebody outside was about to be called while a database transaction is open: a programming error
    (architecture 3.3)."""


def refuse_open_transaction() -> None:
    """Raises TransactionOpen when any database connection of this thread is inside `atomic`."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            raise TransactionOpen("Nobody outside is called while a database transaction is open.")
