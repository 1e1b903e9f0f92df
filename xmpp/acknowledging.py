"""What a server may be told to forget: only what is in the database (XEP-0198)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count


class Unstored:
    """Stanzas of a session that came in and are not in the database yet, oldest first.

    Each has a ticket that no later one has, of whatever session: what a former session heard may be stored late.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._tickets = count(1)
        self._told = 0
        # The server asked, and there was nothing new to tell.
        self.owes_answer = False

    def begin(self, told: int) -> None:
        """A session begins, or goes on, of which the server knows that we have so many stanzas."""
        self._numbers.clear()
        self._told = told
        self.owes_answer = False

    def add(self, number: int) -> int:
        """The ticket of the stanza with this number."""
        ticket = next(self._tickets)
        self._numbers[ticket] = number
        return ticket

    def remove(self, tickets: Iterable[int]) -> None:
        for ticket in tickets:
            self._numbers.pop(ticket, None)

    def answer(self, handled: int) -> int | None:
        """How many stanzas the server may forget when so many came in. None: no more than it knows; ask again when
        something was stored."""
        waiting = next(iter(self._numbers.values()), None)
        safe = handled if waiting is None else waiting - 1
        self.owes_answer = safe != handled
        if waiting is not None and safe == self._told:
            return None
        self._told = safe
        return safe
