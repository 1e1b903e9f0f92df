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

from django.db import Error as DatabaseError

from portal.residents import in_database
from xmpp.client import Sent
from xmpp.peers import Peer
from xmpp.services import outbox, receiving, rosters, sessions
from xmpp.services.outbox import Outgoing
from xmpp.services.own_presence import shown_presence
from xmpp.services.receiving import Heard
from xmpp.services.sessions import StatusChange
from xmpp.session import Session
from xmpp.stanzas import News, Received, Refused, Said, build_message, build_receipt
from xmpp.states import AccountStatus, DeliveryState
from xmpp.together import BATCH, Pace, Together


@dataclass(frozen=True)
class _Page:
    """What the archive of a session's account told, and how far that goes."""

    session: Session
    news: Sequence[News]
    cursor: str


class Traffic:
    """Of the sessions in `living`, which `holder` acts for. `count(name, by)` adds to the bridge's counters.

    `news` is set when something waits to be stored, `work` when something may wait to be sent.
    """

    def __init__(self, living: Mapping[uuid.UUID, Session], holder: str, count: Callable[[str, int], None]) -> None:
        self.news, self.work = asyncio.Event(), asyncio.Event()
        self._sessions, self._holder, self._count = living, holder, count
        self._inbox: list[tuple[Session, News, int]] = []
        self._storing, self._storing_pace, self._sending_pace = asyncio.Lock(), Pace(), Pace()
        self._forget_peers: Together[uuid.UUID] = Together(lambda ids: in_database(rosters.forget_peers, ids))
        self._store_pages: Together[_Page] = Together(self._store_together)
        self._statuses: dict[uuid.UUID, StatusChange] = {}
        # What is known of stanzas and not stored yet; usually the server has them by the time it is.
        self._known: dict[uuid.UUID, DeliveryState] = {}
        self._peers: dict[tuple[uuid.UUID, str], Peer] = {}
        self._roster: deque[Callable[[], Awaitable[None]]] = deque()
        # Accounts with a new session: what the former one left is sent again.
        self._to_resend: set[uuid.UUID] = set()

    # --- what sessions tell -----------------------------------------------------------------------------------------
    def on_status(self, session: Session, status: AccountStatus, reason: str) -> None:
        self._statuses[session.account.id] = StatusChange(session.account.id, status, reason)
        self.news.set()

    def on_news(self, session: Session, news: News, number: int) -> None:
        self._inbox.append((session, news, number))
        self.news.set()

    def on_acked(self, session: Session, message_id: str) -> None:
        with suppress(ValueError):
            self._known[uuid.UUID(message_id)] = DeliveryState.ACKED
            self.news.set()

    def on_peer(self, session: Session, jid: str, peer: Peer) -> None:
        self._peers[session.account.id, jid] = peer

    def on_subscription(self, session: Session, jid: str, kind: str) -> None:
        account_id = session.account.id
        self._do(lambda: in_database(rosters.note_subscription, account_id, jid, kind))

    def on_roster(self, session: Session, items: list[dict[str, str]], *, whole: bool) -> None:
        account_id = session.account.id
        self._do(lambda: in_database(rosters.note_roster, account_id, items, whole=whole))

    def on_online(self, session: Session, *, fresh: bool) -> None:
        if fresh:
            self._to_resend.add(session.account.id)
        self.work.set()

    def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        self._roster.append(work)
        self.news.set()

    # --- inwards ----------------------------------------------------------------------------------------------------
    async def store(self) -> None:
        """Store all that was told. Raises DatabaseError; what was not stored waits for the next call."""
        async with self._storing:
            while self._inbox or self._statuses or self._known or self._roster:
                await self._storing_pace.begin()
                await self._store_statuses()
                await self._store_known()
                await self._store_inbox()
                await self._store_roster()
                self._storing_pace.done()

    async def begin(self, session: Session) -> None:
        """A new session is about to hear how its peers are; what an earlier one heard is no longer known."""
        account_id = session.account.id
        for key in [key for key in self._peers if key[0] == account_id]:
            del self._peers[key]
        await self._forget_peers(account_id)

    async def store_page(self, session: Session, page: Sequence[News], cursor: str) -> None:
        """A page of the archive, in the database when this returns."""
        await self._store_pages(_Page(session, page, cursor))
        for news in page:
            await self._store_answer(news)

    async def _store_together(self, pages: Sequence[_Page]) -> None:
        heard = [
            Heard(page.session.account.id, page.session.account.jid, news)
            for page in pages
            for news in page.news
            if isinstance(news, Said)
        ]
        cursors = {page.session.account.id: page.cursor for page in pages if page.cursor}
        await in_database(receiving.store_heard, heard, cursors=cursors, holder=self._holder)
        self._count("in", len(heard))

    async def _store_statuses(self) -> None:
        changes, self._statuses = self._statuses, {}
        try:
            if changes:
                await in_database(sessions.note_statuses, list(changes.values()), self._holder)
        except DatabaseError:
            self._statuses = {**changes, **self._statuses}
            raise

    async def _store_known(self) -> None:
        known, self._known = self._known, {}
        try:
            if known:
                await in_database(outbox.note_states, list(known.items()))
        except DatabaseError:
            self._known = {**known, **self._known}
            raise

    async def _store_inbox(self) -> None:
        batch, self._inbox = self._inbox[:BATCH], self._inbox[BATCH:]
        messages = [(session, news, number) for session, news, number in batch if isinstance(news, Said)]
        try:
            if messages:
                await self._store_messages(messages)
            for _, news, _ in batch:
                await self._store_answer(news)
        except DatabaseError:
            self._inbox = batch + self._inbox
            raise

    async def _store_messages(self, messages: Sequence[tuple[Session, Said, int]]) -> None:
        heard = [Heard(session.account.id, session.account.jid, said) for session, said, _ in messages]
        # Before it is online, a session is still reading the archive: its mark is the archive's.
        cursors = {
            session.account.id: said.stanza_id for session, said, _ in messages if session.is_online and said.stanza_id
        }
        await in_database(receiving.store_heard, heard, cursors=cursors, holder=self._holder)
        self._count("in", len(heard))
        stored: dict[Session, list[int]] = defaultdict(list)
        receipts: dict[Session, list[Sent]] = defaultdict(list)
        for session, said, number in messages:
            stored[session].append(number)
            if said.receipt_to:
                receipts[session].append(Sent(build_receipt(to=said.receipt_to, origin_id=said.origin_id)))
        for session, confirmed in receipts.items():
            session.say(confirmed)
        for session, numbers in stored.items():
            session.stored(numbers, cursors.get(session.account.id, ""))

    async def _store_answer(self, news: News) -> None:
        """What a peer, or a server, answered to a message of ours; ids of others say nothing to us."""
        if not isinstance(news, Received | Refused):
            return
        with suppress(ValueError):
            message_id = uuid.UUID(news.origin_id)
            if isinstance(news, Received):
                await in_database(outbox.note_received, message_id, news.peer)
            else:
                await in_database(outbox.note_refused, message_id, news.peer, news.reason)

    async def _store_roster(self) -> None:
        while self._roster:
            await self._roster[0]()
            self._roster.popleft()
            self.work.set()

    async def tell_peers(self) -> None:
        """Store the presence of peers; what changed and went back since the last call is not told."""
        peers, self._peers = self._peers, {}
        if peers:
            await in_database(rosters.note_peers, [(key, jid, peer) for (key, jid), peer in peers.items()])

    # --- outwards ---------------------------------------------------------------------------------------------------
    async def send(self) -> None:
        """Send what waits for sessions that are online. Raises DatabaseError."""
        online = {key for key, session in self._sessions.items() if session.is_online}
        await self._resend(self._to_resend & online)
        ready = list(online - self._to_resend)
        claimed = BATCH
        while ready and claimed > 1:
            await self._sending_pace.begin()
            texts = await in_database(outbox.claim_queued, ready, holder=self._holder, limit=BATCH)
            await self._write(texts)
            claimed = len(texts)
            if claimed > 1:
                self._sending_pace.done()
        if ready:
            await self._fulfil_wishes(ready)

    async def _resend(self, account_ids: set[uuid.UUID]) -> None:
        """What the former sessions of these accounts left."""
        self._to_resend -= account_ids
        try:
            if account_ids:
                await self._write(await in_database(outbox.claim_unfinished, account_ids, holder=self._holder))
        except DatabaseError:
            self._to_resend |= account_ids
            raise

    async def _write(self, texts: Sequence[Outgoing]) -> None:
        """Write what was claimed, of each account in one go; what finds no session any more waits for the next."""
        by_account: dict[uuid.UUID, list[Outgoing]] = defaultdict(list)
        for text in texts:
            by_account[text.account_id].append(text)
        unwritten: list[uuid.UUID] = []
        for account_id, its in by_account.items():
            session = self._sessions.get(account_id)
            if session is None or not session.is_online or not session.may_write():
                unwritten += [text.message_id for text in its]
                continue
            session.say([_stanza(text) for text in its])
            for text in its:
                self._known.setdefault(text.message_id, DeliveryState.SENT)
        self._count("out", len(texts) - len(unwritten))
        if texts:
            self.news.set()
        if unwritten:
            await in_database(outbox.release, unwritten)

    async def _fulfil_wishes(self, online: Sequence[uuid.UUID]) -> None:
        """Say to the servers what users decided about subscriptions."""
        for wish in await in_database(rosters.open_wishes, online):
            session = self._sessions.get(wish.account_id)
            if session is None or not session.is_online:
                continue
            if wish.forget:
                await session.forget_peer(wish.jid)
            else:
                session.say_subscription(wish.kind, wish.jid)
            await in_database(rosters.fulfilled, wish)

    async def tell_own(self) -> None:
        """Show users' own state to their contacts; what changed and went back since the last call is not told."""
        online = [key for key, session in self._sessions.items() if session.is_online]
        shown = await in_database(shown_presence, online) if online else {}
        for key, now in shown.items():
            session = self._sessions.get(key)
            if session is not None and now != (session.show, session.message):
                session.show_presence(*now)


def _stanza(text: Outgoing) -> Sent:
    key = str(text.message_id)
    return Sent(build_message(to=text.to_jid, text=text.text, origin_id=key), key)
