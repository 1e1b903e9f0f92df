"""The XMPP bridge: a resident that keeps the sessions of its shards online and moves messages between them and the
database. Any number of workers may run it; each account is served by the one that has the lease of its shard.

Nothing is decided in memory alone, so that a shard's new owner finds everything as it was left (xmpp.traffic).
"""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import lru_cache

from django.conf import settings
from django.db import Error as DatabaseError

from portal.logs import get_logger
from portal.residents import Resident, in_database
from xmpp.client import make_ssl_context
from xmpp.owner import Account
from xmpp.peers import Peer
from xmpp.services import outbox, sessions
from xmpp.services.accounts_news import ACCOUNTS_TOPIC
from xmpp.services.chat_states import CHAT_STATES_TOPIC
from xmpp.services.own_presence import shown_presence
from xmpp.services.sending import XMPP_TOPIC
from xmpp.session import Session
from xmpp.shards import Shards, shard_of
from xmpp.stanzas import ChatState, News
from xmpp.states import AccountStatus
from xmpp.traffic import Traffic

logger = get_logger(__name__)

# How often is looked for shards to take, and for accounts that changed without a wake-up.
LOOK_S = 1.0
CHORES_S = 20.0
# Presence that changed and went back within so long is not told (facts: gateways flood).
COALESCE_S = 1.0
# So many log in to a server at the same time: each takes a key derivation and a TLS handshake.
LOGINS = 20


class Bridge(Resident):
    """Counters: in, out, logins, refused_logins."""

    name = "xmpp-bridge"
    title = "XMPP bridge"

    def __init__(self, *, holder: str, system_provider_id: uuid.UUID | None = None, epoch: int | None = None) -> None:
        super().__init__(holder=holder, system_provider_id=system_provider_id, epoch=epoch)
        # Of this run, not of the process: a restart must not find the leases of its predecessor.
        self._holder = f"{holder}/{uuid.uuid4().hex[:6]}"
        self._shards = Shards(self._holder, on_lost=self._on_lost, give_up=self._give_up)
        self._sessions: dict[uuid.UUID, Session] = {}
        self._lives: dict[uuid.UUID, asyncio.Task[None]] = {}
        # By server: one that hangs must not keep the accounts of others waiting.
        self._logins: dict[tuple[str, int], asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(LOGINS))
        # Those whose password the server refused, with the version it was refused in: one attempt each.
        self._refused: dict[uuid.UUID, tuple[int, int]] = {}
        self._traffic = Traffic(self._sessions, self._holder, self.count)
        self._look_again = asyncio.Event()

    async def run(self) -> None:
        traffic = self._traffic
        loops = [
            _again(self._shards.keeper.keep, LOOK_S),
            _again(self._look, LOOK_S, self._look_again),
            _again(traffic.store, COALESCE_S, traffic.news),
            _again(traffic.sender.send, LOOK_S, traffic.sender.work),
            _again(traffic.chat_states.say, CHORES_S, traffic.chat_states.work),
            _again(traffic.fulfil_wishes, LOOK_S, traffic.wishes),
            _again(traffic.tell_peers, COALESCE_S),
            _again(traffic.tell_own, COALESCE_S),
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
            self._traffic.sender.work.set()
            self._traffic.wishes.set()
        if topics & {CHAT_STATES_TOPIC, "*"}:
            self._traffic.chat_states.work.set()
        if topics & {ACCOUNTS_TOPIC, "*"}:
            self._look_again.set()

    async def _look(self) -> None:
        """Have our share of the shards, and serve the accounts of those we have."""
        if self.stopping.is_set():
            return
        await self._shards.share()
        wanted = await in_database(sessions.versions_of, self._shards.held)
        await asyncio.gather(*map(self._end, set(self._sessions) - wanted.keys()))
        changed = [key for key, now in wanted.items() if now not in (self._version(key), self._refused.get(key))]
        if not changed:
            return
        shown = await in_database(shown_presence, changed)
        found = await in_database(sessions.accounts, changed)
        await asyncio.gather(*(self._serve(account, *shown[account.id]) for account in found))

    def _version(self, account_id: uuid.UUID) -> tuple[int, int] | None:
        session = self._sessions.get(account_id)
        return session.account.version if session is not None else None

    async def _serve(self, account: Account, show: str, message: str) -> None:
        await self._end(account.id)
        former = self._lives.get(account.id)
        if former is not None:
            await asyncio.wait({former}, timeout=3)
        session = self._sessions[account.id] = Session(account, self)
        session.show_presence(show, message)
        self._lives[account.id] = asyncio.create_task(self._live(session), name=f"xmpp {account.id}")

    async def _live(self, session: Session) -> None:
        account = session.account
        try:
            await session.run()
        except Exception:
            logger.exception("xmpp_session_failed", account=str(account.id))
            # Taken up again by the look after that, which finds no session.
            await asyncio.sleep(LOOK_S * 5)
        if session.is_refused:
            self._refused[account.id] = account.version
        if self._sessions.get(account.id) is session:
            del self._sessions[account.id]
        if self._lives.get(account.id) is asyncio.current_task():
            del self._lives[account.id]

    async def _end(self, account_id: uuid.UUID) -> None:
        session = self._sessions.pop(account_id, None)
        if session is not None:
            await session.close()

    async def _give_up(self, shard: int) -> None:
        """Another bridge shall have it: end its sessions in order."""
        await asyncio.gather(*(self._end(session.account.id) for session in self._of_shard(shard)))

    def _on_lost(self, shard: int) -> None:
        """Another bridge has it by now, or soon: stop at once."""
        for session in self._of_shard(shard):
            session.drop()
            del self._sessions[session.account.id]

    def _of_shard(self, shard: int) -> list[Session]:
        return [session for session in self._sessions.values() if shard_of(session.account.slot) == shard]

    async def _leave(self) -> None:
        """Store what came, end all sessions in order, and let others have the shards."""
        online = [key for key, session in self._sessions.items() if session.is_online]
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        with suppress(DatabaseError):
            await self._traffic.store()
            await in_database(sessions.leave, online, self._holder)
            await self._shards.release_all()

    # --- Owner of the sessions --------------------------------------------------------------------------------------
    def may_act_for(self, session: Session) -> bool:
        return self._shards.holds(session.account.slot)

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
        self._traffic.on_status(session, status, reason)

    def on_news(self, session: Session, news: News, number: int) -> None:
        self._traffic.on_news(session, news, number)

    def on_chat_state(self, session: Session, heard: ChatState) -> None:
        self._traffic.on_chat_state(session, heard)

    def on_acked(self, session: Session, message_id: str) -> None:
        self._traffic.sender.on_acked(session, message_id)

    def on_peer(self, session: Session, jid: str, peer: Peer) -> None:
        self._traffic.on_peer(session, jid, peer)

    def on_subscription(self, session: Session, jid: str, kind: str) -> None:
        self._traffic.on_subscription(session, jid, kind)

    def on_roster(self, session: Session, items: list[dict[str, str]], *, whole: bool) -> None:
        self._traffic.on_roster(session, items, whole=whole)

    def on_online(self, session: Session, *, fresh: bool) -> None:
        self._traffic.sender.on_online(session, fresh=fresh)

    async def begin(self, session: Session) -> None:
        await self._traffic.begin(session)

    async def store(self, session: Session, page: Sequence[News], cursor: str) -> None:
        await self._traffic.store_page(session, page, cursor)

    # --- chores -----------------------------------------------------------------------------------------------------
    async def _check_alive(self) -> None:
        for session in list(self._sessions.values()):
            session.check_alive()

    async def _chores(self) -> None:
        await in_database(outbox.expire)
        await in_database(sessions.settle_unserved)


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
