"""One account's XMPP session, kept up as long as the account is ours: log in, catch up, be online, and again.

No database and no Celery in here: what happens is told to an `Owner` (the bridge), which says back what it has stored.
Live messages move the mark in the archive only when it was read to its end (xmpp.catching_up); a session of which that
was not done is not gone on with.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from xml.etree.ElementTree import Element

from django.conf import settings
from slixmpp.jid import InvalidJID

from portal.logs import get_logger
from xmpp import stanzas
from xmpp.acknowledging import Unstored
from xmpp.archive import Archive
from xmpp.building import build_presence, build_roster_removal, build_subscription
from xmpp.catching_up import catch_up
from xmpp.client import MOST_ROUNDS, Client, Sent
from xmpp.owner import Account, Owner
from xmpp.peers import Peers
from xmpp.reconnecting import pause_s
from xmpp.requests import RequestFailed, RequestRefused
from xmpp.states import AccountStatus

logger = get_logger(__name__)

LOGIN_S = 30.0
FORGET_S = 10.0
# Of the time after which a silent connection is dead, the part after which it is asked.
ASK_AFTER = 0.5
# What the server says when it is not the password's fault (RFC 6120 §6.5).
_PASSING = {
    "temporary-auth-failure": "The XMPP server cannot check the password now.",
    # By us: nobody else ends an exchange so.
    "aborted": f"The XMPP server asks for more than {MOST_ROUNDS:,} rounds of SCRAM, or its challenge is not valid.",
}
_UNDECRYPTABLE = "The password cannot be decrypted. Set it anew."


class Session:
    """The session of one account. `run` until `close`; it ends by itself only when the login is refused."""

    def __init__(self, account: Account, owner: Owner) -> None:
        self.account = account
        self._archive = Archive(
            account.cursor, account.begins, account.since, self._ask, lambda page, end: owner.store(self, page, end)
        )
        self.is_online = False
        self.is_refused = False
        self.show, self.message = "", ""
        # The stream error that ended the last connection on which we were online, "" when none did (RFC 6120 §4.9.3).
        self.broken_off_by = ""
        self._owner = owner
        self._client: Client | None = None
        self._ended = asyncio.Event()
        self._why = ""
        self._refused = ""
        self._no_tls = ""
        self._stream_error = ""
        self._closing = False
        self._catching_up: asyncio.Task[None] | None = None
        self._is_caught_up = False
        self._wake = asyncio.Event()
        self._unstored = Unstored()
        self._peers = Peers()

    # --- life -------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Stay connected. Returns after `close`, or when nothing but a change of the account helps (S0.12)."""
        failures = 0
        if self.account.password is None:
            # Not refused for good: the next worker may have the key.
            self.is_refused = True
            self._tell(AccountStatus.OFFLINE, _UNDECRYPTABLE)
            return
        self._tell(AccountStatus.CONNECTING, "")
        try:
            while True:
                was_online = await self._connect_once()
                if self._closing:
                    return
                if self._refused:
                    self.is_refused = True
                    self._tell(AccountStatus.AUTHENTICATION_FAILED, self._refused)
                    return
                failures = 1 if was_online else failures + 1
                await self._pause(failures, was_online)
        finally:
            self.is_online = False
            self._dispose()

    async def _connect_once(self) -> bool:
        """One connection from beginning to end; whether it was online."""
        self._ended.clear()
        self._why = self._refused = self._no_tls = self._stream_error = ""
        try:
            async with self._owner.login_place(self):
                if self._closing:
                    return False
                client = self._client_at_hand()
                client.heard_at = client.loop.time()
                await client.open(self.account.host, self.account.port)
                await self._until_online_or_ended(client)
            was_online = self.is_online
            await self._ended.wait()
        except ssl.SSLError as error:
            self._no_tls = f"The certificate authority is not one: {error.reason}"
            return False
        except InvalidJID:
            self._refused = "The IM&P ID is not a valid JID."
            return False
        finally:
            self.is_online = False
            self._stop_catching_up()
        if not (self._is_caught_up and client.can_resume):
            self._dispose()
        return was_online

    def _client_at_hand(self) -> Client:
        """The one we have, which may resume its session, or a new one."""
        if self._client is None:
            account = self.account
            context = self._owner.ssl_context(account.authority)
            self._client = Client(f"{account.jid}/{account.resource}", account.password or "", context, self)
        return self._client

    async def _until_online_or_ended(self, client: Client) -> None:
        """The login has its time. How long catching up takes depends on how much there is; each step of it has its own
        time (Requests.ask)."""
        is_over = lambda: self._catching_up is not None or self.is_online or self._ended.is_set()  # noqa: E731
        try:
            async with asyncio.timeout(LOGIN_S):
                await self._wait_until(is_over)
        except TimeoutError:
            client.cut()
            self._end(f"The server did not let us in within {LOGIN_S:.0f} s.")
        await self._wait_until(lambda: self.is_online or self._ended.is_set())

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._wake.clear()
            await self._wake.wait()

    async def _pause(self, failures: int, was_online: bool) -> None:
        if self._no_tls:
            self._tell(AccountStatus.TLS_FAILED, self._no_tls)
        else:
            self._tell(AccountStatus.RECONNECTING, self._why or "The connection was lost.")
        pause = pause_s(failures, was_online, has_tls=not self._no_tls, is_conflict=self._why == "conflict")
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wait_until(lambda: self._closing)

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
        if client is None or not self.is_online or client.is_paused:
            return
        silent_s = client.loop.time() - client.heard_at
        if silent_s > settings.XMPP_SILENCE_S:
            self._why = "The server did not answer."
            client.cut()
        elif silent_s > settings.XMPP_SILENCE_S * ASK_AFTER:
            client.ask_if_alive()

    # --- what we say ------------------------------------------------------------------------------------------------
    def say(self, messages: Sequence[Sent]) -> None:
        """Send message stanzas, if there is anybody to send them to."""
        if self._client is not None and self.is_online:
            self._client.say(messages)

    def show_presence(self, show: str, message: str) -> None:
        """Our own presence from now on: `show` is "" (available), away, dnd or xa."""
        self.show, self.message = show, message
        if self._client is not None and self.is_online:
            self._client.tell(build_presence(show=show, status=message))

    def say_subscription(self, kind: str, jid: str) -> bool:
        """`subscribe`, `unsubscribe`, `subscribed` or `unsubscribed`; whether it was said."""
        if self._client is None or not self.is_online:
            return False
        return self._client.tell(build_subscription(to=jid, kind=kind))

    async def forget_peer(self, jid: str) -> bool:
        """Take `jid` off the roster, which ends subscriptions both ways; whether it is off now."""
        try:
            async with asyncio.timeout(FORGET_S):
                await self._ask("set", build_roster_removal(jid))
        except RequestRefused:
            return True  # it was not on it
        except (RequestFailed, TimeoutError):
            return False
        return True

    # --- what is stored ---------------------------------------------------------------------------------------------
    def stored(self, numbers: Sequence[int], cursor: str) -> None:
        """What has these numbers is in the database: the server may forget it. `cursor`: how far its archive is known
        now, "" for as before."""
        self._archive.cursor = cursor or self._archive.cursor
        self._unstored.remove(numbers)
        if self._unstored.owes_answer:
            self.on_acknowledgement_wanted()

    def pause_reading(self) -> None:
        """More came than can be stored: what else the server has for us stays there."""
        if self._client is not None:
            self._client.pause_reading()

    def resume_reading(self) -> None:
        if self._client is not None:
            self._client.resume_reading()

    # --- Listener ---------------------------------------------------------------------------------------------------
    def may_write(self) -> bool:
        return self._owner.may_act_for(self)

    def on_ready(self) -> None:
        self._unstored.begin(0)
        self._peers.clear()
        self._stop_catching_up()
        self._is_caught_up = False
        self._catching_up = asyncio.create_task(self._go_online())
        self._wake.set()

    def on_resumed(self) -> None:
        if self._client is not None:
            self._unstored.begin(self._client.handled)
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
        if isinstance(news, stanzas.ChatState):
            # The server may forget it at once: it is worth nothing later.
            self._owner.on_chat_state(self, news)
            return
        result = stanza.find(f"{{{stanzas.ARCHIVE}}}result")
        if result is not None:
            self._archive.add(news, stanzas.archived_at(result))
        else:
            self._owner.on_news(self, news, self._unstored.add(self._client.handled))

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
        """Answered when more of what came is stored, if it is not yet: what the server forgets must not be lost with
        us."""
        if self._client is not None:
            handled = self._unstored.answer(self._client.handled)
            if handled is not None:
                self._client.acknowledge(handled)

    def on_acked(self, stanza_id: str) -> None:
        self._owner.on_acked(self, stanza_id)

    def on_refused(self, condition: str) -> None:
        if condition in _PASSING:
            self._why = _PASSING[condition]
        else:
            self._refused = "The XMPP server refused the password."

    def on_no_tls(self, reason: str) -> None:
        self._no_tls = self._no_tls or reason

    def on_stream_error(self, condition: str) -> None:
        self._why = self._stream_error = condition

    def on_unreachable(self, reason: str) -> None:
        self._end(reason)

    def on_disconnected(self) -> None:
        if self.is_online:
            self.broken_off_by = self._stream_error
        self.is_online = False
        self._end("")

    # --- a new session ----------------------------------------------------------------------------------------------
    async def _go_online(self) -> None:
        try:
            assert self._client is not None
            await catch_up(self, self._owner, self._client, self._archive)
            self._be_online(fresh=True)
        except RequestFailed as error:
            self._give_up(f"The server did not answer as it should ({error.condition}).")
        except Exception as error:
            # With the database away nothing can be stored: the next session reads it again.
            logger.warning("xmpp_session_not_begun", account=str(self.account.id), error=type(error).__name__)
            self._give_up("What came in meanwhile could not be stored.")

    def _give_up(self, why: str) -> None:
        self._why = why
        if self._client is not None:
            self._client.cut()

    def _be_online(self, *, fresh: bool) -> None:
        self.is_online = self._is_caught_up = True
        self._tell(AccountStatus.ONLINE, "")
        self._wake.set()
        self._owner.on_online(self, fresh=fresh)

    async def _ask(self, kind: str, payload: str) -> Element:
        if self._client is None:
            raise RequestFailed("remote-server-timeout")
        return await self._client.requests.ask(kind, payload)

    def _stop_catching_up(self) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
            self._catching_up = None
