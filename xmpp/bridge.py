"""The XMPP bridge: a resident that keeps the sessions of its shards online and moves messages between them and the
database. Any number of workers may run it; each account is served by the one that has the lease of its shard.

Nothing is decided in memory alone: what comes in is stored before the server may forget it, what goes out is `sending`
in the database before it leaves, and a shard's new owner finds both as they were left.
"""

from __future__ import annotations

import asyncio
import math
import random
import ssl
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import lru_cache

from django.conf import settings
from django.db import Error as DatabaseError

from portal.logs import get_logger
from portal.residents import Resident, in_database
from portal.residents.keeper import LeaseKeeper
from xmpp.client import Sent, make_ssl_context
from xmpp.services import members, outbox, receiving, rosters, sessions
from xmpp.services.accounts_news import ACCOUNTS_TOPIC
from xmpp.services.outbox import Outgoing
from xmpp.services.own_presence import shown_presence
from xmpp.services.ownership import shard_lease
from xmpp.services.receiving import Heard
from xmpp.services.sending import XMPP_TOPIC
from xmpp.services.sessions import StatusChange
from xmpp.session import Account, Peer, Session
from xmpp.stanzas import News, Received, Refused, Said, build_message, build_receipt
from xmpp.states import AccountStatus, DeliveryState

logger = get_logger(__name__)

# How often is looked for shards to take, and for accounts that changed without a wake-up.
LOOK_S = 1.0
CHORES_S = 20.0
# Presence that changed and went back within so long is not told (facts: gateways flood).
COALESCE_S = 1.0
# Stored together at most, and sent together at most: a transaction costs nearly the same for ten as for one.
BATCH = 500
# So many log in at the same time: each takes a key derivation and a TLS handshake.
LOGINS = 20


class Bridge(Resident):
    """Counters: in, out, logins, refused_logins."""

    name = "xmpp-bridge"
    title = "XMPP bridge"

    def __init__(self, *, holder: str, system_provider_id: uuid.UUID | None = None, epoch: int | None = None) -> None:
        super().__init__(holder=holder, system_provider_id=system_provider_id, epoch=epoch)
        # Of this run, not of the process: a restart must not find the leases of its predecessor.
        self._holder = f"{holder}/{uuid.uuid4().hex[:6]}"
        self._keeper = LeaseKeeper(self._holder, settings.LEASE_TTL_S)
        self._sessions: dict[uuid.UUID, Session] = {}
        self._lives: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._shards: set[int] = set()
        # By server: one that hangs must not keep the accounts of others waiting.
        self._logins: dict[tuple[str, int], asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(LOGINS))
        # Those whose password the server refused, with the version it was refused in: one attempt each.
        self._refused: dict[uuid.UUID, tuple[int, int]] = {}
        self._inbox: list[tuple[Session, News, int]] = []
        self._statuses: dict[uuid.UUID, StatusChange] = {}
        # What is known of stanzas and not stored yet; usually the server has them by the time it is.
        self._known: dict[uuid.UUID, DeliveryState] = {}
        self._peers: dict[tuple[uuid.UUID, str], Peer] = {}
        self._to_resend: set[uuid.UUID] = set()
        self._roster_work: deque[Callable[[], Awaitable[None]]] = deque()
        self._something_came = asyncio.Event()
        self._work = asyncio.Event()
        self._look_again = asyncio.Event()

    async def run(self) -> None:
        loops = [
            self._keeper.keep(),
            _again(self._look, LOOK_S, self._look_again),
            _again(self._store, COALESCE_S, self._something_came),
            _again(self._send, LOOK_S, self._work),
            _again(self._tell_peers, COALESCE_S),
            _again(self._tell_own, COALESCE_S),
            _again(self._check_alive, settings.XMPP_SILENCE_S / 5),
            _again(self._chores, CHORES_S),
        ]
        tasks = [asyncio.create_task(loop) for loop in loops]
        try:
            await self.stopping.wait()
            await self._leave()
        finally:
            for task in tasks:
                task.cancel()
            for session in self._sessions.values():
                session.drop()
            for life in self._lives.values():
                life.cancel()
            await asyncio.gather(*tasks, *self._lives.values(), return_exceptions=True)

    def on_wake(self, topics: frozenset[str]) -> None:
        if topics & {XMPP_TOPIC, "*"}:
            self._work.set()
        if topics & {ACCOUNTS_TOPIC, "*"}:
            self._look_again.set()

    # --- shards and accounts ----------------------------------------------------------------------------------------
    async def _look(self) -> None:
        """Take and give shards so that every bridge has its share, then serve the accounts of those we have."""
        if self.stopping.is_set():
            return
        await self._share()
        wanted = await in_database(sessions.versions_of, self._shards)
        for account_id in set(self._sessions) - wanted.keys():
            await self._end(account_id)
        changed = [
            key for key, version in wanted.items() if version not in (self._version(key), self._refused.get(key))
        ]
        if changed:
            shown = await in_database(shown_presence, changed)
            for account in await in_database(sessions.accounts, changed):
                await self._serve(account, *shown[account.id])

    def _version(self, account_id: uuid.UUID) -> tuple[int, int] | None:
        session = self._sessions.get(account_id)
        return session.account.version if session is not None else None

    async def _share(self) -> None:
        living = await in_database(members.sign_of_life, self._holder, settings.LEASE_TTL_S)
        share = math.ceil(settings.XMPP_SHARDS / max(living, 1))
        for shard in sorted(self._shards, reverse=True)[: max(len(self._shards) - share, 0)]:
            await self._give_up(shard)
        missing = share - len(self._shards)
        if missing > 0:
            free = await in_database(members.free_shards)
            for shard in random.sample(free, min(missing, len(free))):
                await self._take(shard)

    async def _take(self, shard: int) -> None:
        epoch = await self._keeper.acquire(shard_lease(shard), lambda: self._on_lost(shard))
        if epoch is not None:
            self._shards.add(shard)

    async def _give_up(self, shard: int) -> None:
        """In order: end the sessions, then let go."""
        self._shards.discard(shard)
        going = [key for key, session in self._sessions.items() if self._shard_of(session) == shard]
        await asyncio.gather(*(self._end(key) for key in going))
        await self._keeper.release(shard_lease(shard))

    def _on_lost(self, shard: int) -> None:
        """Another has it by now, or soon: stop at once."""
        self._shards.discard(shard)
        for key, session in list(self._sessions.items()):
            if self._shard_of(session) == shard:
                session.drop()
                del self._sessions[key]

    async def _serve(self, account: Account, show: str, message: str) -> None:
        await self._end(account.id)
        former = self._lives.get(account.id)
        if former is not None:
            await asyncio.wait({former}, timeout=3)
        session = self._sessions[account.id] = Session(account, self)
        session.show_presence(show, message)
        self._lives[account.id] = asyncio.create_task(self._live(session), name=f"xmpp {account.id}")

    async def _live(self, session: Session) -> None:
        try:
            await session.run()
        except Exception:
            logger.exception("xmpp_session_failed", account=str(session.account.id))
            # Taken up again by the next look, which finds no session.
            await asyncio.sleep(LOOK_S * 5)
        if session.is_refused:
            self._refused[session.account.id] = session.account.version
        if self._sessions.get(session.account.id) is session:
            del self._sessions[session.account.id]

    async def _end(self, account_id: uuid.UUID) -> None:
        session = self._sessions.pop(account_id, None)
        if session is not None:
            await session.close()

    async def _leave(self) -> None:
        """Store what came, end all sessions in order, and let others have the shards."""
        online = [key for key, session in self._sessions.items() if session.is_online]
        with suppress(DatabaseError):
            await self._store()
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        with suppress(DatabaseError):
            await self._store()
            await in_database(sessions.leave, online, self._holder)
        for shard in list(self._shards):
            await self._keeper.release(shard_lease(shard))
        with suppress(DatabaseError):
            await in_database(members.sign_off, self._holder)

    def _shard_of(self, session: Session) -> int:
        return session.account.slot % int(settings.XMPP_SHARDS)

    # --- Owner ------------------------------------------------------------------------------------------------------
    def may_act_for(self, session: Session) -> bool:
        return self._keeper.holds(shard_lease(self._shard_of(session)))

    def login_place(self, session: Session) -> asyncio.Semaphore:
        account = session.account
        return self._logins[account.host or account.domain, account.port]

    def ssl_context(self, authority: str) -> ssl.SSLContext:
        return _context(authority)

    def on_status(self, session: Session, status: AccountStatus, reason: str) -> None:
        if status == AccountStatus.ONLINE:
            self.count("logins")
        elif status == AccountStatus.AUTHENTICATION_FAILED:
            self.count("refused_logins")
        self._statuses[session.account.id] = StatusChange(session.account.id, status, reason)
        self._something_came.set()

    def on_news(self, session: Session, news: News, number: int) -> None:
        self._inbox.append((session, news, number))
        self._something_came.set()

    def on_acked(self, session: Session, message_id: str) -> None:
        with suppress(ValueError):
            self._known[uuid.UUID(message_id)] = DeliveryState.ACKED
            self._something_came.set()

    def on_peer(self, session: Session, jid: str, peer: Peer) -> None:
        self._peers[session.account.id, jid] = peer

    def on_subscription(self, session: Session, jid: str, kind: str) -> None:
        account = session.account
        self._do(lambda: in_database(rosters.note_subscription, account.id, jid, kind))

    def on_roster(self, session: Session, items: list[dict[str, str]], *, whole: bool) -> None:
        account = session.account
        self._do(lambda: in_database(rosters.note_roster, account.id, items, whole=whole))

    def on_online(self, session: Session, *, fresh: bool) -> None:
        if fresh:
            self._to_resend.add(session.account.id)
        self._work.set()

    async def store(self, session: Session, said: Sequence[News], cursor: str) -> None:
        """A page of the archive, in the database when this returns."""
        account = session.account
        heard = [Heard(account.id, account.jid, news) for news in said if isinstance(news, Said)]
        cursors = {account.id: cursor} if cursor else {}
        await in_database(receiving.store_heard, heard, cursors=cursors, holder=self._holder)
        self.count("in", len(heard))
        for news in said:
            if isinstance(news, Received):
                await self._note_receipt(news)

    def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        self._roster_work.append(work)
        self._something_came.set()

    # --- inwards ----------------------------------------------------------------------------------------------------
    async def _store(self) -> None:
        """Store all that came since last time; on a database error it stays and is tried again."""
        while self._inbox or self._statuses or self._known or self._roster_work:
            await self._store_statuses()
            await self._store_known()
            await self._store_inbox()
            await self._store_roster()

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
        except DatabaseError:
            self._inbox = batch + self._inbox
            raise
        for _, news, _ in batch:
            if isinstance(news, Received):
                await self._note_receipt(news)
            elif isinstance(news, Refused):
                with suppress(ValueError):
                    await in_database(outbox.note_refused, uuid.UUID(news.origin_id), news.peer, news.reason)

    async def _store_messages(self, messages: Sequence[tuple[Session, Said, int]]) -> None:
        heard = [Heard(session.account.id, session.account.jid, said) for session, said, _ in messages]
        # Before it is online, a session is still reading the archive: its mark is the archive's.
        cursors = {
            session.account.id: said.stanza_id for session, said, _ in messages if session.is_online and said.stanza_id
        }
        await in_database(receiving.store_heard, heard, cursors=cursors, holder=self._holder)
        self.count("in", len(heard))
        stored: dict[Session, list[int]] = {}
        receipts: dict[Session, list[Sent]] = defaultdict(list)
        for session, said, number in messages:
            stored.setdefault(session, []).append(number)
            if session.account.id in cursors:
                session.cursor = cursors[session.account.id]
            if said.receipt_to:
                receipts[session].append(Sent(build_receipt(to=said.receipt_to, origin_id=said.origin_id)))
        for session, confirmed in receipts.items():
            session.say(confirmed)
        for session, numbers in stored.items():
            session.stored(numbers)

    async def _note_receipt(self, receipt: Received) -> None:
        with suppress(ValueError):
            await in_database(outbox.note_received, uuid.UUID(receipt.origin_id), receipt.peer)

    async def _store_roster(self) -> None:
        while self._roster_work:
            await self._roster_work[0]()
            self._roster_work.popleft()
            self._work.set()

    async def _tell_own(self) -> None:
        """Show users' own state to their XMPP contacts; what changed and went back in between is not told."""
        online = [key for key, session in self._sessions.items() if session.is_online]
        shown = await in_database(shown_presence, online) if online else {}
        for key, now in shown.items():
            session = self._sessions.get(key)
            if session is not None and now != (session.show, session.message):
                session.show_presence(*now)

    async def _tell_peers(self) -> None:
        peers, self._peers = self._peers, {}
        if peers:
            await in_database(rosters.note_peers, [(key, jid, peer) for (key, jid), peer in peers.items()])

    # --- outwards ---------------------------------------------------------------------------------------------------
    async def _send(self) -> None:
        online = {key for key, session in self._sessions.items() if session.is_online}
        for account_id in self._to_resend & online:
            self._to_resend.discard(account_id)
            await self._write(await in_database(outbox.claim_unfinished, account_id, holder=self._holder))
        ready = list(online - self._to_resend)
        claimed = BATCH
        while ready and claimed == BATCH:
            texts = await in_database(outbox.claim_queued, ready, holder=self._holder, limit=BATCH)
            await self._write(texts)
            claimed = len(texts)
        await self._fulfil_wishes(ready)

    async def _write(self, texts: Sequence[Outgoing]) -> None:
        """Write what was claimed, of each account in one go; what finds no session any more waits for the next."""
        by_account: dict[uuid.UUID, list[Outgoing]] = defaultdict(list)
        for text in texts:
            by_account[text.account_id].append(text)
        unwritten: list[uuid.UUID] = []
        for account_id, its in by_account.items():
            session = self._sessions.get(account_id)
            if session is None or not session.is_online or not self.may_act_for(session):
                unwritten += [text.message_id for text in its]
                continue
            session.say([_stanza(text) for text in its])
            for text in its:
                self._known.setdefault(text.message_id, DeliveryState.SENT)
        self.count("out", len(texts) - len(unwritten))
        if texts:
            self._something_came.set()
        if unwritten:
            await in_database(outbox.release, unwritten)

    async def _fulfil_wishes(self, online: Sequence[uuid.UUID]) -> None:
        """Say to the server what staff and users decided about subscriptions."""
        for wish in await in_database(rosters.open_wishes, online):
            session = self._sessions.get(wish.account_id)
            if session is None or not session.is_online:
                continue
            session.say_subscription(wish.kind, wish.jid)
            await in_database(rosters.fulfilled, wish)

    # --- chores -----------------------------------------------------------------------------------------------------
    async def _check_alive(self) -> None:
        for session in list(self._sessions.values()):
            session.check_alive()

    async def _chores(self) -> None:
        await in_database(outbox.expire_queued)
        await in_database(sessions.settle_unserved)


def _stanza(text: Outgoing) -> Sent:
    key = str(text.message_id)
    return Sent(build_message(to=text.to_jid, text=text.text, origin_id=key), key)


@lru_cache(maxsize=64)
def _context(authority: str) -> ssl.SSLContext:
    """One for all sessions of a server: making it takes 50 ms and as many kilobytes as a session."""
    return make_ssl_context(authority)


async def _again(work: Callable[[], Awaitable[None]], seconds: float, news: asyncio.Event | None = None) -> None:
    """Do `work` at news and every so many seconds; a failure is logged and does not end it."""
    while True:
        try:
            if news is not None:
                news.clear()
            await work()
        except DatabaseError as error:
            logger.warning("xmpp_bridge_database", work=work.__name__, error=type(error).__name__)
            await asyncio.sleep(LOOK_S)
        except Exception:
            logger.exception("xmpp_bridge_cycle_failed", work=work.__name__)
            await asyncio.sleep(LOOK_S)
        if news is None:
            await asyncio.sleep(seconds)
            continue
        with suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), seconds)
