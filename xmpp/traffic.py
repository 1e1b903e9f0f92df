"""What passes between the sessions of a bridge and the database, many at a time.

What comes in is stored before the server may forget it; what goes out is `sending` in the database before it leaves.
With the database away everything stays where it is and is tried again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from django.db import Error as DatabaseError
from slixmpp.xmlstream.xmlstream import NotConnectedError

from portal.residents import in_database
from portal.scoping import parse_id
from xmpp.building import build_receipt
from xmpp.chat_states import ChatStates
from xmpp.client import Sent
from xmpp.peers import Peer
from xmpp.sender import Sender
from xmpp.services import outbox, receiving, rosters, sessions
from xmpp.services.own_presence import shown_presence
from xmpp.services.receiving import Heard
from xmpp.services.rosters import Wish
from xmpp.services.sessions import StatusChange
from xmpp.session import Session
from xmpp.stanzas import LONGEST_JID, ChatState, News, Received, Refused, Said
from xmpp.states import AccountStatus
from xmpp.together import AWAY, BATCH, Pace, Together, do_all

# With so many stanzas to be stored, the sessions that bring more are not read until half of them are. A stanza may have
# 256 kB, and what is not read stays with the server, which is told to forget only what is stored.
MOST_WAITING = 5000


class _Told(NamedTuple):
    """What a session heard, with its number in the stream."""

    session: Session
    news: News
    number: int


@dataclass(frozen=True)
class _Page:
    """What the archive of a session's account told, and how far that goes."""

    session: Session
    news: Sequence[News]
    cursor: str


class Traffic:
    """Of the sessions in `living`, which `holder` acts for. `count(name, by)` adds to the bridge's counters.

    `news` is set when something waits to be stored, `wishes` when a word about a subscription may wait to be said.
    `sender` is where messages go out, `chat_states` who is writing one.
    """

    def __init__(self, living: Mapping[uuid.UUID, Session], holder: str, count: Callable[[str, int], None]) -> None:
        self.news, self.wishes = asyncio.Event(), asyncio.Event()
        self.sender = Sender(living, holder, count, self.news)
        self.chat_states = ChatStates(living, holder)
        self._sessions, self._holder, self._count = living, holder, count
        self._inbox: list[_Told] = []
        # Those not read until less waits.
        self._paused: set[Session] = set()
        self._storing, self._pace = asyncio.Lock(), Pace()
        self._forget_peers: Together[uuid.UUID] = Together(lambda ids: in_database(rosters.forget_peers, ids))
        self._store_pages: Together[_Page] = Together(self._store_together)
        self._statuses: dict[uuid.UUID, StatusChange] = {}
        self._peers: dict[tuple[uuid.UUID, str], Peer] = {}
        self._roster: deque[Callable[[], Awaitable[None]]] = deque()

    # --- what sessions tell -----------------------------------------------------------------------------------------
    def on_status(self, session: Session, status: AccountStatus, reason: str) -> None:
        account = session.account
        self._statuses[account.id] = StatusChange(account.id, status, reason, account.version)
        self.news.set()

    def on_news(self, session: Session, news: News, number: int) -> None:
        self._inbox.append(_Told(session, news, number))
        if len(self._inbox) >= MOST_WAITING:
            session.pause_reading()
            self._paused.add(session)
        if isinstance(news, Said) and self.chat_states.heard:
            self.chat_states.end(session, news)
        self.news.set()

    def on_chat_state(self, session: Session, heard: ChatState) -> None:
        self.chat_states.hear(session, heard)
        self.news.set()

    def on_peer(self, session: Session, jid: str, peer: Peer) -> None:
        self._peers[session.account.id, jid] = peer

    def on_subscription(self, session: Session, jid: str, kind: str) -> None:
        account_id = session.account.id
        if len(jid) <= LONGEST_JID:
            self._do(lambda: in_database(rosters.note_subscription, account_id, jid, kind))

    def on_roster(self, session: Session, items: list[dict[str, str]], *, whole: bool) -> None:
        account_id = session.account.id
        self._do(lambda: in_database(rosters.note_roster, account_id, items, whole=whole))

    def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        self._roster.append(work)
        self.news.set()

    # --- inwards ----------------------------------------------------------------------------------------------------
    async def store(self) -> None:
        """Store all that was told. Raises DatabaseError; what was not stored waits for the next call."""
        async with self._storing:
            while self._has_news():
                await self._pace.begin()
                count = len(self._inbox)
                await self._store_statuses()
                await self.sender.store_states()
                # What was said before is stored with this batch: it would end the writing that was heard after it.
                writing = self.chat_states.take() if len(self._inbox) <= BATCH else {}
                await self._store_inbox()
                await self.chat_states.store(writing)
                await self._store_roster()
                self._pace.done(count)

    def _has_news(self) -> bool:
        waiting = self._inbox or self._statuses or self.sender.has_states or self._roster
        return bool(waiting) or self.chat_states.is_due

    async def begin(self, session: Session) -> None:
        """A new session is about to hear how its peers are; what an earlier one heard is no longer known."""
        account_id = session.account.id
        for key in [key for key in self._peers if key[0] == account_id]:
            del self._peers[key]
        await self._forget_peers(account_id)

    async def store_page(self, session: Session, page: Sequence[News], cursor: str) -> None:
        """A page of the archive, in the database when this returns."""
        await self._store_pages(_Page(session, page, cursor))

    async def _store_together(self, pages: Sequence[_Page]) -> None:
        # Before the cursors: what was answered is told by nothing else.
        for page in pages:
            await do_all(self._store_answers, page.news)
        heard = [_heard(page.session, news) for page in pages for news in page.news if isinstance(news, Said)]
        cursors = {page.session.account.id: page.cursor for page in pages if page.cursor}
        await do_all(self._store_heard, heard)
        await in_database(receiving.store_heard, [], cursors=cursors, holder=self._holder)

    async def _store_statuses(self) -> None:
        changes, self._statuses = self._statuses, {}
        try:
            if changes:
                await in_database(sessions.note_statuses, list(changes.values()), self._holder)
        except DatabaseError:
            self._statuses = {**changes, **self._statuses}
            raise

    async def _store_inbox(self) -> None:
        batch, self._inbox = self._inbox[:BATCH], self._inbox[BATCH:]
        try:
            await do_all(self._store_told, batch)
        except AWAY:
            self._inbox = batch + self._inbox
            raise
        marks = _marks(batch)
        numbers: dict[Session, list[int]] = defaultdict(list)
        for told in batch:
            numbers[told.session].append(told.number)
        for session, its in numbers.items():
            session.stored(its, marks.get(session.account.id, ""))
        if len(self._inbox) <= MOST_WAITING // 2:
            paused, self._paused = self._paused, set()
            for session in paused:
                session.resume_reading()

    async def _store_told(self, batch: Sequence[_Told]) -> None:
        messages = [(told.session, told.news) for told in batch if isinstance(told.news, Said)]
        await self._store_heard([_heard(session, said) for session, said in messages], _marks(batch))
        await self._store_answers([told.news for told in batch])
        receipts: dict[Session, list[Sent]] = defaultdict(list)
        for session, said in messages:
            if said.receipt_to:
                receipts[session].append(Sent(build_receipt(to=said.receipt_to, origin_id=said.origin_id)))
        for session, confirmed in receipts.items():
            with suppress(NotConnectedError):  # its lease was lost meanwhile; the messages are stored
                session.say(confirmed)

    async def _store_heard(self, heard: Sequence[Heard], cursors: Mapping[uuid.UUID, str] | None = None) -> None:
        if heard:
            await in_database(receiving.store_heard, heard, cursors=cursors or {}, holder=self._holder)
            self._count("in", len(heard))

    async def _store_answers(self, news: Sequence[News]) -> None:
        """What peers, or a server, answered to messages of ours; ids of others say nothing to us."""
        answers = [(parse_id(each.origin_id), each) for each in news if isinstance(each, Received | Refused)]
        received = [(key, each.peer) for key, each in answers if key is not None and isinstance(each, Received)]
        if received:
            await in_database(outbox.note_received, received)
        for key, each in answers:
            if key is not None and isinstance(each, Refused):
                await in_database(outbox.note_refused, key, each.peer, each.reason)

    async def _store_roster(self) -> None:
        while self._roster:
            await do_all(_call_each, [self._roster[0]])
            self._roster.popleft()
            if not self._roster:
                self.wishes.set()

    async def tell_peers(self) -> None:
        """Store the presence of peers; what changed and went back since the last call is not told."""
        peers, self._peers = self._peers, {}
        try:
            if peers:
                await in_database(rosters.note_peers, [(key, jid, peer) for (key, jid), peer in peers.items()])
        except DatabaseError:
            self._peers = {**peers, **self._peers}
            raise

    # --- about subscriptions and presence, outwards ---------------------------------------------------------------
    async def fulfil_wishes(self) -> None:
        """Say to the servers what users decided about subscriptions. Raises DatabaseError."""
        online = [key for key, session in self._sessions.items() if session.is_online]
        if online:
            await asyncio.gather(*map(self._fulfil, await in_database(rosters.open_wishes, online)))

    async def _fulfil(self, wish: Wish) -> None:
        session = self._sessions.get(wish.account_id)
        if session is None or not session.is_online:
            return
        if wish.forget:
            said = await session.forget_peer(wish.jid)
        else:
            said = session.say_subscription(wish.kind, wish.jid)
        if said:
            await in_database(rosters.fulfilled, wish)

    async def tell_own(self) -> None:
        """Show users' own state to their contacts; what changed and went back since the last call is not told."""
        online = [key for key, session in self._sessions.items() if session.is_online]
        shown = await in_database(shown_presence, online) if online else {}
        for key, now in shown.items():
            session = self._sessions.get(key)
            if session is not None and now != (session.show, session.message):
                session.show_presence(*now)


def _marks(batch: Sequence[_Told]) -> dict[uuid.UUID, str]:
    """How far the archives of accounts are known with these. Before it is online, a session is still reading its
    archive, and says that itself."""
    return {
        told.session.account.id: told.news.stanza_id
        for told in batch
        if isinstance(told.news, Said) and told.news.stanza_id and told.session.is_online
    }


def _heard(session: Session, said: Said) -> Heard:
    return Heard(session.account.id, session.account.jid, said)


async def _call_each(works: Sequence[Callable[[], Awaitable[None]]]) -> None:
    for work in works:
        await work()
