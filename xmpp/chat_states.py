"""Chat states between the sessions of a bridge and the database: best effort, the newest word of each alone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import suppress

from slixmpp.xmlstream.xmlstream import NotConnectedError

from portal.residents import in_database
from xmpp.building import build_chat_state
from xmpp.client import Passing
from xmpp.services import chat_states
from xmpp.session import Session
from xmpp.stanzas import ChatState, Said

# What changes and goes back within so long is not told, however fast somebody changes their mind.
COALESCE_S = 1.0
# So many peers at a time; while the database is away, what comes after them is lost.
MOST_HEARD = 10_000
# By the account that heard it and the peer who said it.
Writing = dict[tuple[uuid.UUID, str], ChatState]


class ChatStates:
    """Of the sessions in `living`, which `holder` acts for. `work` is set when a word may wait to be said."""

    def __init__(self, living: Mapping[uuid.UUID, Session], holder: str) -> None:
        self.work = asyncio.Event()
        self.heard: Writing = {}
        self._sessions, self._holder = living, holder
        self._next = 0.0

    def hear(self, session: Session, heard: ChatState) -> None:
        if len(self.heard) < MOST_HEARD:
            self.heard[session.account.id, heard.peer] = heard

    def end(self, session: Session, said: Said) -> None:
        """The message itself is heard, which ends the writing when it is stored."""
        if not said.outgoing:
            self.heard.pop((session.account.id, said.peer), None)

    @property
    def is_due(self) -> bool:
        return bool(self.heard) and asyncio.get_running_loop().time() >= self._next

    def take(self) -> Writing:
        """What is to be stored now, which is once a second at most."""
        if not self.is_due:
            return {}
        self._next = asyncio.get_running_loop().time() + COALESCE_S
        taken, self.heard = self.heard, {}
        return taken

    async def store(self, taken: Writing) -> None:
        """Raises DatabaseError; then it is lost, and a message or a later word follows."""
        if taken:
            heard = [(account_id, each) for (account_id, _), each in taken.items()]
            await in_database(chat_states.note_heard, heard, holder=self._holder)

    async def say(self) -> None:
        """Say what users of ours began or ended to write. Where no session is online nobody hears of it. Raises
        DatabaseError."""
        if not self._sessions:
            return
        due = await in_database(chat_states.claim_due, holder=self._holder)
        for word in due:
            session = self._sessions.get(word.account_id)
            if session is not None:
                stanza = build_chat_state(to=word.to_jid, state=word.state, stanza_id=str(word.conversation_id))
                with suppress(NotConnectedError):  # its lease was lost meanwhile
                    session.say([Passing(stanza)])
        if due:
            await asyncio.sleep(COALESCE_S)
