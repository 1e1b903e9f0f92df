"""Messages on their way from the database to the sessions of a bridge, many at a time.

A message is `sending` in the database before it leaves. What a session that ended left unconfirmed is sent again by the
next one, with the same id.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from django.db import Error as DatabaseError

from portal.residents import in_database
from xmpp.building import build_message
from xmpp.client import Sent
from xmpp.services import outbox
from xmpp.services.outbox import Outgoing
from xmpp.session import Session
from xmpp.states import DeliveryState
from xmpp.together import BATCH, Pace

# After so many streams that a server ended over what was sent, the message that came first each time is given up.
MOST_BROKEN_OFF = 3
# RFC 6120 §4.9.3
_POISON = frozenset({"policy-violation", "not-well-formed", "invalid-xml", "bad-format", "restricted-xml"})


class Sender:
    """For the sessions in `living`, which `holder` acts for. `count(name, by)` adds to the bridge's counters.

    `work` is set when a message may wait to be sent, `news` when there are states to store.
    """

    def __init__(
        self,
        living: Mapping[uuid.UUID, Session],
        holder: str,
        count: Callable[[str, int], None],
        news: asyncio.Event,
    ) -> None:
        self.work = asyncio.Event()
        self._sessions, self._holder, self._count, self._news = living, holder, count, news
        self._pace, self._storing = Pace(), asyncio.Lock()
        # What is known of stanzas and not stored yet; usually the server has them by the time it is.
        self._known: dict[uuid.UUID, DeliveryState] = {}
        # Accounts with a new session: what the former one left is sent again.
        self._to_resend: set[uuid.UUID] = set()
        # How often in a row the server broke off when an account's messages were sent.
        self._broken_off: Counter[uuid.UUID] = Counter()
        # Whether messages may be claimed and not written: the database went away when asked, or a lease was lost.
        self._unsure = False

    @property
    def has_states(self) -> bool:
        return bool(self._known)

    def on_online(self, session: Session, *, fresh: bool) -> None:
        if fresh:
            self._to_resend.add(session.account.id)
        self.work.set()

    def on_acked(self, session: Session, message_id: str) -> None:
        self._broken_off.pop(session.account.id, None)
        with suppress(ValueError):
            self._known[uuid.UUID(message_id)] = DeliveryState.ACKED
            self._news.set()

    async def store_states(self) -> None:
        """Store what is known of stanzas. Raises DatabaseError; then it waits for the next call."""
        async with self._storing:
            known, self._known = self._known, {}
            try:
                if known:
                    await in_database(outbox.note_states, list(known.items()))
            except DatabaseError:
                self._known = {**known, **self._known}
                raise

    async def send(self) -> None:
        """Send what waits for sessions that are online, a batch of it. Raises DatabaseError."""
        await self._pace.begin()
        online = {key for key, session in self._sessions.items() if session.is_online}
        try:
            if self._unsure:
                await self._release_unwritten(online)
            await self._resend(self._to_resend & online)
            await self._send_queued(online - self._to_resend)
        except Exception:
            self._unsure = True
            raise

    async def _send_queued(self, ready: set[uuid.UUID]) -> None:
        if not ready:
            return
        texts = await in_database(outbox.claim_queued, ready, holder=self._holder, limit=BATCH)
        if await self._write(texts) > 1:
            # There may be more, for sessions that are online by then.
            self._pace.done(len(texts))
            self.work.set()

    async def _release_unwritten(self, online: set[uuid.UUID]) -> None:
        """What was claimed without our hearing of it waits as before; nothing is being written meanwhile."""
        async with self._storing:
            await in_database(outbox.release_unwritten, online, written=set(self._known), holder=self._holder)
        self._unsure = False

    async def _resend(self, account_ids: set[uuid.UUID]) -> None:
        """What the former sessions of these accounts left."""
        if not account_ids:
            return
        self._to_resend -= account_ids
        try:
            left = await in_database(outbox.with_unfinished, account_ids)
            if left:
                await self._send_unfinished(left)
        except Exception:
            self._to_resend |= account_ids
            raise
        # Others come online at about the same time.
        self._pace.done(len(account_ids))

    async def _send_unfinished(self, account_ids: set[uuid.UUID]) -> None:
        await in_database(outbox.expire, account_ids)
        texts = await in_database(outbox.claim_unfinished, account_ids, holder=self._holder)
        refused = self._refused_by_server(texts)
        for text in refused:
            await in_database(outbox.give_up, text.message_id, "The XMPP server does not take this message.")
        await self._write([text for text in texts if text not in refused])

    def _refused_by_server(self, texts: Sequence[Outgoing]) -> list[Outgoing]:
        """Of each account over whose messages the server ended its stream again and again, the first to go."""
        first = {text.account_id: text for text in reversed(texts)}
        found = []
        for account_id, text in first.items():
            session = self._sessions.get(account_id)
            if session is None or session.broken_off_by not in _POISON:
                self._broken_off.pop(account_id, None)
                continue
            self._broken_off[account_id] += 1
            if self._broken_off[account_id] > MOST_BROKEN_OFF:
                del self._broken_off[account_id]
                found.append(text)
        return found

    async def _write(self, texts: Sequence[Outgoing]) -> int:
        """Write what was claimed, of each account in one go; how many. What finds no session waits for the next."""
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
        written = len(texts) - len(unwritten)
        self._count("out", written)
        if written:
            self._news.set()
        if unwritten:
            await in_database(outbox.release, unwritten)
        return written


def _stanza(text: Outgoing) -> Sent:
    key = str(text.message_id)
    return Sent(build_message(to=text.to_jid, text=text.text, origin_id=key), key)
