"""One account's XMPP session, kept up as long as the account is ours: log in, catch up, be online, and again.

No database and no Celery in here: what happens is told to an `Owner` (the bridge), which says back what it has stored.
The order at a new session is carbons, roster, presence, and then the archive from where the last session stopped. What
is said once we are present comes live, and what was said before is in the archive by then; live messages move the mark
in the archive only when it was read to its end.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from xml.etree.ElementTree import Element

from django.conf import settings
from slixmpp.exceptions import IqError, IqTimeout, XMPPError

from portal.logs import get_logger
from xmpp import stanzas
from xmpp.archive import Archive
from xmpp.client import Client, Sent
from xmpp.peers import Peer, Peers
from xmpp.stanzas import News, Said
from xmpp.states import AccountStatus

logger = get_logger(__name__)

LOGIN_S = 30.0
FORGET_S = 10.0
# Of the time after which a silent connection is dead, the part after which it is asked.
ASK_AFTER = 0.5
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
# A certificate does not mend itself within seconds, and another place that uses our resource is another worker of ours.
TLS_PAUSE_S = 300.0
CONFLICT_PAUSE_S = 20.0
# The server may be restarted with all accounts at once: nobody comes back in the first moment.
SPREAD_S = 3.0
# What the server says when it is not the password's fault (RFC 6120 §6.5).
_PASSING = frozenset({"temporary-auth-failure", "aborted"})


@dataclass(frozen=True)
class Account:
    """What a session needs to know. `host` "" means: as the domain's SRV records say."""

    id: uuid.UUID
    jid: str
    password: str = field(repr=False)
    host: str
    port: int
    authority: str = field(repr=False)
    cursor: str
    slot: int
    version: tuple[int, int]

    @property
    def domain(self) -> str:
        return self.jid.partition("@")[2]

    @property
    def resource(self) -> str:
        """The same at every worker, so that the server ends an old session of ours when a new one comes."""
        return f"portal-{self.id.hex[-8:]}"


class Owner(Protocol):
    """Who owns sessions. All but `begin` and `store` return at once."""

    def may_act_for(self, session: Session) -> bool: ...
    def on_status(self, session: Session, status: AccountStatus, reason: str) -> None: ...
    def on_news(self, session: Session, news: News, number: int) -> None:
        """Something was said; for a message the owner calls `session.stored(number)` once it is in the database."""

    def on_acked(self, session: Session, message_id: str) -> None: ...
    def on_peer(self, session: Session, jid: str, peer: Peer) -> None: ...
    def on_subscription(self, session: Session, jid: str, kind: str) -> None: ...
    def on_roster(self, session: Session, items: list[dict[str, str]], *, whole: bool) -> None: ...
    def on_online(self, session: Session, *, fresh: bool) -> None: ...
    async def begin(self, session: Session) -> None:
        """A new session is about to hear how its peers are."""

    async def store(self, session: Session, said: Sequence[News], cursor: str) -> None:
        """Store a page of the archive, and then its end as the account's cursor."""

    def login_place(self, session: Session) -> AbstractAsyncContextManager[Any]:
        """A place among those who log in to the same server at the same time."""

    def ssl_context(self, authority: str) -> ssl.SSLContext: ...


class Session:
    """The session of one account. `run` until `close`; it ends by itself only when the login is refused."""

    def __init__(self, account: Account, owner: Owner) -> None:
        self.account = account
        self._archive = Archive(account.cursor, self._ask, lambda page, end: owner.store(self, page, end))
        self.is_online = False
        self.is_refused = False
        self.show, self.message = "", ""
        # The stream error that ended the last connection, "" when none did (RFC 6120 §4.9.3).
        self.broken_off_by = ""
        self._owner = owner
        self._client: Client | None = None
        self._ended = asyncio.Event()
        self._why = ""
        self._refused = ""
        self._no_tls = ""
        self._closing = False
        self._catching_up: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        # Numbers of messages that came in and are not in the database yet: what the server is told stops before them.
        self._unstored: deque[int] = deque()
        self._owes_ack = False
        self._peers = Peers()

    # --- life -------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Stay connected. Returns after `close`, or when the server refused the password (terminal, S0.12)."""
        failures = 0
        try:
            while True:
                was_online = await self._connect_once()
                if self._closing:
                    return
                if self._refused and self._refused not in _PASSING:
                    self.is_refused = True
                    self._tell(AccountStatus.AUTHENTICATION_FAILED, "The XMPP server refused the password.")
                    return
                failures = 1 if was_online else failures + 1
                await self._pause(failures, was_online)
        finally:
            self.is_online = False
            self._dispose()

    async def _connect_once(self) -> bool:
        """One connection from beginning to end; whether it was online."""
        self._ended.clear()
        self._why = self._refused = self._no_tls = ""
        was_online = False
        try:
            async with self._owner.login_place(self):
                if self._closing:
                    return False
                self._tell(AccountStatus.CONNECTING, "")
                client = self._client_at_hand()
                client.heard_at = client.loop.time()
                await client.open(self.account.host, self.account.port)
                await self._until_online_or_ended()
            if not self._ended.is_set() and not self.is_online:
                client.cut()
                self._end("The server did not let us in within 30 s.")
            was_online = self.is_online
            await self._ended.wait()
        except ssl.SSLError as error:
            self._no_tls = f"The certificate authority is not one: {error.reason}"
        finally:
            self.is_online = False
            self._stop_catching_up()
        return was_online

    def _client_at_hand(self) -> Client:
        """The one we have, which may resume its session, or a new one."""
        if self._client is None:
            account = self.account
            context = self._owner.ssl_context(account.authority)
            self._client = Client(f"{account.jid}/{account.resource}", account.password, context, self)
        return self._client

    async def _until_online_or_ended(self) -> None:
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOGIN_S):
                while not (self.is_online or self._ended.is_set()):
                    await self._wake.wait()
                    self._wake.clear()

    async def _pause(self, failures: int, was_online: bool) -> None:
        pause = min(FIRST_PAUSE_S * 2.0 ** (failures - 1), LONGEST_PAUSE_S) * random.uniform(0.5, 1.5)  # noqa: S311
        if self._no_tls:
            pause = TLS_PAUSE_S * random.uniform(0.8, 1.2)  # noqa: S311
            self._tell(AccountStatus.TLS_FAILED, self._no_tls)
        else:
            if was_online:
                pause = random.uniform(0.1, SPREAD_S)  # noqa: S311
            if self._why == "conflict":
                pause = CONFLICT_PAUSE_S
            self._tell(AccountStatus.RECONNECTING, self._why or "The connection was lost.")
        self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause)

    async def close(self) -> None:
        """Leave in order, within a second or two."""
        self._closing = True
        if self._client is not None and self.is_online:
            self._client.close()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 2)
        self.drop()

    def drop(self) -> None:
        """Leave at once: what was not written will not be."""
        self._closing = True
        if self._client is not None:
            self._client.cut()
        self._end("")

    def _dispose(self) -> None:
        self._stop_catching_up()
        if self._client is not None:
            self._client.dispose()
            self._client = None

    def _end(self, why: str) -> None:
        self._why = self._why or why
        self._ended.set()
        self._wake.set()

    def _tell(self, status: AccountStatus, reason: str) -> None:
        self._owner.on_status(self, status, reason)

    def check_alive(self) -> None:
        """Called now and then: a connection that answers nothing is dead, whatever TCP says."""
        client = self._client
        if client is None or not self.is_online:
            return
        silent_s = client.loop.time() - client.heard_at
        if silent_s > settings.XMPP_SILENCE_S:
            self._why = "The server did not answer."
            client.cut()
        elif silent_s > settings.XMPP_SILENCE_S * ASK_AFTER:
            client.ask_for_acknowledgement()

    # --- what we say ------------------------------------------------------------------------------------------------
    def say(self, messages: Sequence[Sent]) -> None:
        """Send message stanzas, if there is anybody to send them to."""
        if self._client is not None and self.is_online:
            self._client.say(messages)

    def show_presence(self, show: str, message: str) -> None:
        """Our own presence from now on: `show` is "" (available), away, dnd or xa."""
        self.show, self.message = show, message
        if self._client is not None and self.is_online:
            self._client.say_presence({}, show, message)

    def say_subscription(self, kind: str, jid: str) -> bool:
        """`subscribe`, `unsubscribe`, `subscribed` or `unsubscribed`; whether it was said."""
        if self._client is None or not self.is_online:
            return False
        self._client.say_presence({"to": jid, "type": kind})
        return True

    async def forget_peer(self, jid: str) -> bool:
        """Take `jid` off the roster, which ends subscriptions both ways; whether it is off now."""
        query = Element("{jabber:iq:roster}query")
        query.append(Element("{jabber:iq:roster}item", {"jid": jid, "subscription": "remove"}))
        try:
            async with asyncio.timeout(FORGET_S):
                await self._ask("set", query)
        except IqError:
            return True  # it was not on it
        except (XMPPError, TimeoutError):
            return False
        return True

    # --- what is stored ---------------------------------------------------------------------------------------------
    def stored(self, numbers: Sequence[int], cursor: str) -> None:
        """These messages are in the database: the server may forget them. `cursor`: how far its archive is known now,
        "" for as before."""
        self._archive.cursor = cursor or self._archive.cursor
        done = set(numbers)
        while self._unstored and self._unstored[0] in done:
            self._unstored.popleft()
        if done and self._unstored:
            self._unstored = deque(number for number in self._unstored if number not in done)
        if self._owes_ack:
            self.on_acknowledgement_wanted()

    # --- Listener ---------------------------------------------------------------------------------------------------
    def may_write(self) -> bool:
        return self._owner.may_act_for(self)

    def on_ready(self) -> None:
        self._unstored.clear()
        self._owes_ack = False
        self._peers.clear()
        self._stop_catching_up()
        self._catching_up = asyncio.create_task(self._go_online())

    def on_resumed(self) -> None:
        self._be_online(fresh=False)

    def on_message(self, stanza: Element) -> None:
        try:
            news = stanzas.read_message(stanza, self.account.jid)
        except Exception:
            # One stanza that we cannot read must not end the session; its content stays out of the log.
            logger.exception("stanza_not_read", account=str(self.account.id))
            return
        if news is None or self._client is None:
            return
        if stanza.find(f"{{{stanzas.ARCHIVE}}}result") is not None:
            self._archive.add(news)
            return
        number = self._client.handled
        if isinstance(news, Said):
            self._unstored.append(number)
        self._owner.on_news(self, news, number)

    def on_presence(self, stanza: Element) -> None:
        sender, kind = stanza.get("from", ""), stanza.get("type", "")
        jid, _, resource = sender.partition("/")
        jid = jid.lower()
        if not jid or jid == self.account.jid:
            return
        if kind in ("subscribe", "subscribed", "unsubscribe", "unsubscribed"):
            self._owner.on_subscription(self, jid, kind)
        elif kind in ("", "unavailable"):
            peer = self._peers.note(jid, resource, stanza)
            if peer is not None:
                self._owner.on_peer(self, jid, peer)

    def on_roster(self, items: list[dict[str, str]]) -> None:
        self._owner.on_roster(self, items, whole=False)

    def on_acknowledgement_wanted(self) -> None:
        """Answered once all that came is stored, a moment later: what the server forgets must not be lost with us."""
        self._owes_ack = bool(self._unstored)
        if self._client is not None and not self._owes_ack:
            self._client.acknowledge(self._client.handled)

    def on_acked(self, stanza_id: str) -> None:
        self._owner.on_acked(self, stanza_id)

    def on_refused(self, condition: str) -> None:
        self._refused = condition

    def on_no_tls(self, reason: str) -> None:
        self._no_tls = self._no_tls or reason

    def on_stream_error(self, condition: str) -> None:
        self._why = self.broken_off_by = condition

    def on_unreachable(self, reason: str) -> None:
        self._end(reason)

    def on_disconnected(self) -> None:
        self.is_online = False
        self._end("")

    # --- a new session ----------------------------------------------------------------------------------------------
    async def _go_online(self) -> None:
        try:
            await self._enable_carbons()
            await self._fetch_roster()
            await self._owner.begin(self)
            if self._client is not None:
                self._client.say_presence({}, self.show, self.message)
            await self._archive.read()
            self._be_online(fresh=True)
        except (IqError, IqTimeout, XMPPError) as error:
            self._give_up(f"The server did not answer as it should ({type(error).__name__}).")
        except Exception as error:
            # With the database away nothing can be stored: the next session reads it again.
            logger.warning("xmpp_session_not_begun", account=str(self.account.id), error=type(error).__name__)
            self._give_up("What came in meanwhile could not be stored.")

    def _give_up(self, why: str) -> None:
        self._why = why
        if self._client is not None:
            self._client.cut()

    def _be_online(self, *, fresh: bool) -> None:
        self.is_online = True
        self._tell(AccountStatus.ONLINE, "")
        self._wake.set()
        self._owner.on_online(self, fresh=fresh)

    async def _enable_carbons(self) -> None:
        with suppress(IqError):  # a server without carbons: then there are only the messages that are for us
            await self._ask("set", Element(f"{{{stanzas.CARBONS}}}enable"))

    async def _fetch_roster(self) -> None:
        answer = await self._ask("get", Element("{jabber:iq:roster}query"))
        items = answer.iterfind("{jabber:iq:roster}query/{jabber:iq:roster}item")
        self._owner.on_roster(self, [dict(item.attrib) for item in items], whole=True)

    async def _ask(self, kind: str, payload: Element) -> Element:
        if self._client is None:
            raise XMPPError("remote-server-timeout")
        return await self._client.ask(kind, payload)

    def _stop_catching_up(self) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
            self._catching_up = None
