"""The SMS gateway: a resident that connects a system provider's XMPP server with its carriers (XEP-0114).

Any user of the system provider with an XMPP account texts `+12015550100@<domain>`; what their numbers receive comes
from there. The texts are cpaas's: here they only cross over, and each crossing is a row in a state.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Collection
from contextlib import suppress

from django.conf import settings
from django.db import Error as DatabaseError

from portal.logs import get_logger
from portal.residents import Resident, in_database
from xmpp import gateway_stanzas as stanzas
from xmpp.component import Component, Refused, Unreachable
from xmpp.gateway_hearing import Hearing
from xmpp.services import gateway_collecting, gateway_members, gateway_outbox, gateways
from xmpp.services.gateway_outbox import Ending, ToSay, Turn
from xmpp.services.gateways import GATEWAY_TOPIC, Settings
from xmpp.states import GatewayStatus

logger = get_logger(__name__)

# How often is looked for news without a wake-up: of the settings and members, of everybody's texts.
LOOK_S = 2.0
SWEEP_S = 30.0
LONGEST_PAUSE_S = 0.1
TIDY_S = 3600.0
LONGEST_BACK_OFF_S = 60.0
# Members looked through in one question; lots of texts sent before a look at anything else.
TOGETHER = 200
LOTS = 10


class SmsGatewayResident(Resident):
    """Counters: in (texts from XMPP), refused, out (to XMPP), told (receipts and failures), bounced, dropped (of what
    came, beyond what may wait), logins."""

    name = gateway_outbox.GATEWAY
    title = "SMS gateway"
    per_tenant = True
    leased = True

    def __init__(self, *, holder: str, system_provider_id: uuid.UUID | None = None, epoch: int | None = None) -> None:
        super().__init__(holder=holder, system_provider_id=system_provider_id, epoch=epoch)
        assert system_provider_id is not None
        self._provider_id = system_provider_id
        self._turn = Turn(system_provider_id, epoch or 0)
        self._settings: Settings | None = None
        self._hearing: Hearing | None = None
        self._members: set[uuid.UUID] = set()
        self._due: set[uuid.UUID] = set()
        self._news = asyncio.Event()
        self._failures = 0
        self._swept_at = self._tidied_at = 0.0

    # --- life -------------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        while not self.stopping.is_set():
            try:
                await self._live()
            except DatabaseError as error:
                logger.warning("sms_gateway_database", error=type(error).__name__)
                await self._wait(LOOK_S)
        await self._stop_hearing()

    async def stop(self) -> None:
        await super().stop()
        self._news.set()

    def on_wake(self, topics: frozenset[str]) -> None:
        if "*" in topics:
            self._swept_at = 0.0
        elif GATEWAY_TOPIC not in topics:
            woken = {user for user in map(_user_of, topics) if user in self._members}
            if not woken:
                return
            self._due |= woken
        self._news.set()

    async def _live(self) -> None:
        """One connection from start to end, or a moment without any."""
        self._settings = await in_database(gateways.settings_of, self._provider_id)
        if self._settings is None:
            await self._rest()
            return
        try:
            await self._connected(self._settings)
        except (Unreachable, Refused) as error:
            status = GatewayStatus.REFUSED if isinstance(error, Refused) else GatewayStatus.UNREACHABLE
            await in_database(gateways.note_status, self._provider_id, self._settings.version, status, str(error))
            self._failures += 1
            await self._wait_for_change(_back_off(self._failures))

    async def _rest(self) -> None:
        """No gateway here: whoever had one is forgotten."""
        self._members = set()
        await self._stop_hearing()
        await in_database(gateway_members.forget_members, self._provider_id)
        await in_database(gateways.note_off, self._provider_id)
        await self._wait(LOOK_S * 5)

    async def _connected(self, chosen: Settings) -> None:
        if chosen.secret is None:
            raise Refused(gateways.SECRET_UNDECRYPTABLE)
        hearing = await self._hearing_for(chosen.domain)
        component = Component(
            domain=chosen.domain,
            secret=chosen.secret,
            host=chosen.host,
            port=chosen.port,
            listener=hearing,
            may_be_private=chosen.may_be_private,
            patience_s=settings.LEASE_TTL_S,
        )
        try:
            await component.open()
            hearing.answer_to(component)
            await in_database(gateways.note_status, self._provider_id, chosen.version, GatewayStatus.ONLINE)
            self.count("logins")
            await in_database(gateway_outbox.release, self._turn)
            self._swept_at = 0.0
            await self._serve(component, chosen)
            await self._stop_hearing()
            await component.close()
            note = "The connection was ended in order; another worker may go on."
            await in_database(gateways.note_status, self._provider_id, chosen.version, GatewayStatus.CONNECTING, note)
        except Unreachable:
            if component.offended:
                await in_database(gateway_outbox.blame, self._turn)
                raise Unreachable(f"The server ended the connection: {component.stream_error}.") from None
            raise
        finally:
            component.cut()

    async def _hearing_for(self, domain: str) -> Hearing:
        """The same over all connections, until there is another domain."""
        if self._hearing is not None and self._hearing.domain != domain:
            await self._stop_hearing()
        if self._hearing is None:
            self._hearing = Hearing(system_provider_id=self._provider_id, domain=domain, count=self.count)
        return self._hearing

    async def _stop_hearing(self) -> None:
        hearing, self._hearing = self._hearing, None
        if hearing is not None:
            await hearing.finish()

    async def _serve(self, component: Component, chosen: Settings) -> None:
        """Until the settings change, or we are to end. Raises Unreachable when the connection is gone."""
        while not self.stopping.is_set():
            if component.closed.is_set():
                raise Unreachable("The connection broke.")
            began = time.monotonic()
            try:
                if await in_database(gateways.settings_of, self._provider_id) != chosen:
                    return
                await self._pass_on(component)
            except DatabaseError as error:
                # The connection stays: who writes meanwhile is told to try again.
                logger.warning("sms_gateway_database", error=type(error).__name__)
            took = time.monotonic() - began
            self._failures = 0
            await self._wait(LOOK_S)
            # Texts that are taken in wake us too: under load half of the time is left to them.
            await asyncio.sleep(min(took, LONGEST_PAUSE_S))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()

    async def _wait_for_change(self, seconds: float) -> None:
        """Before the next try: not longer than until somebody changes the settings."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopping.is_set():
            await self._wait(min(LOOK_S, end - time.monotonic()))
            if await in_database(gateways.settings_of, self._provider_id) != self._settings:
                self._failures = 0
                return

    # --- to XMPP ----------------------------------------------------------------------------------------------------
    async def _pass_on(self, component: Component) -> None:
        now = time.monotonic()
        due, self._due = self._due, set()
        if now - self._swept_at >= SWEEP_S:
            self._members = await in_database(gateway_members.settle_members, self._provider_id)
            await in_database(gateway_outbox.try_deferred_again, self._turn)
            due, self._swept_at = set(self._members), now
            await component.said()  # also when there is nothing to say: a dead connection is noticed so
        elif not due:
            self._members = await in_database(gateway_members.settle_members, self._provider_id)
        try:
            await self._look_through(component, due)
            has_more = await self._send(component) + await self._tell(component, due)
        except (DatabaseError, Unreachable):
            self._due |= due
            raise
        if has_more:
            # After a look at the settings, and at what came meanwhile.
            self._due |= due
            self._news.set()
        if now - self._tidied_at >= TIDY_S:
            self._tidied_at = now
            await in_database(gateway_outbox.tidy)

    async def _look_through(self, component: Component, due: Collection[uuid.UUID]) -> None:
        """Make rows of what they received, and send them as they come."""
        users = list(due)
        for start in range(0, len(users), TOGETHER):
            some = users[start : start + TOGETHER]
            page = await in_database(gateway_collecting.collect, self._turn, some)
            while page is not None and not self.stopping.is_set():
                if page.made:
                    await self._send(component)
                page = await in_database(gateway_collecting.collect, self._turn, some, page.after)

    async def _send(self, component: Component) -> int:
        """A few lots of texts; returns how many the server has now."""
        sent = 0
        for _ in range(LOTS):
            texts = await in_database(gateway_outbox.claim, self._turn)
            if not texts:
                break
            component.say("".join(_stanza_of(text, component.boundjid.bare) for text in texts))
            await component.said()
            await in_database(gateway_outbox.confirm, self._turn, [text.id for text in texts])
            sent += len(texts)
        self.count("out", sent)
        return sent

    async def _tell(self, component: Component, due: Collection[uuid.UUID]) -> int:
        """Receipts for what the carrier delivered, errors for what it did not (XEP-0184)."""
        endings = await in_database(gateway_outbox.endings, self._turn, due) if due else []
        if endings:
            component.say("".join(_word_on(ending, component.boundjid.bare) for ending in endings))
            await component.said()
            await in_database(gateway_outbox.note_told, self._turn, [ending.id for ending in endings])
            self.count("told", len(endings))
        return len(endings)


def _stanza_of(text: ToSay, domain: str) -> str:
    sender = stanzas.address_of(text.remote, domain)
    return stanzas.build_text(id=str(text.id), to=text.jid, sender=sender, text=text.text, link=text.link, at=text.at)


def _word_on(ending: Ending, domain: str) -> str:
    """Nothing when all went well and nobody asked."""
    sender = stanzas.address_of(ending.remote, domain)
    if ending.refusal is not None:
        return stanzas.build_error(to=ending.jid, sender=sender, id=ending.stanza_id, refusal=ending.refusal)
    if ending.wants_receipt:
        return stanzas.build_receipt(to=ending.jid, sender=sender, id=ending.stanza_id)
    return ""


def _user_of(topic: str) -> uuid.UUID | None:
    kind, _, key = topic.partition(":")
    return uuid.UUID(key) if kind == "user" else None


def _back_off(failures: int) -> float:
    """1 s doubling to a minute, with jitter."""
    return min(2.0 ** (failures - 1), LONGEST_BACK_OFF_S) * random.uniform(0.5, 1.5)  # noqa: S311
