"""What the SMS gateway hears on one connection: texts are taken in the order their sender wrote them, and whatever
wants an answer gets one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol
from xml.etree.ElementTree import Element

from django.db import Error as DatabaseError

from portal.logs import get_logger
from portal.residents import in_database
from xmpp import gateway_stanzas as stanzas
from xmpp.gateway_stanzas import Asked, Bounced, Confirmed, Refusal, Unwelcome, Written
from xmpp.services import gateway_intake, gateway_outbox

logger = get_logger(__name__)

# So many texts are being taken at a time, so many wait; what is more is asked to come again.
TAKEN_AT_ONCE = 3
MOST_WAITING = 2000
FINISH_S = 5

BUSY = Refusal("wait", "resource-constraint", "Too many texts at once. Send it again in a moment.")
AWAY = Refusal("wait", "internal-server-error", "The text could not be stored just now. Send it again in a moment.")
LET_THROUGH = "Allow this number, or its texts cannot reach you here."


class Speaker(Protocol):
    """The connection that answers go to."""

    @property
    def closed(self) -> asyncio.Event: ...

    def say(self, element: Element) -> None: ...


class Hearing:
    """Ears of one connection. `count(name)` is told of texts taken (`in`), `refused` and `bounced`."""

    def __init__(self, *, system_provider_id: uuid.UUID, domain: str, count: Callable[[str], None]) -> None:
        self._provider_id, self._domain, self._count = system_provider_id, domain, count
        self.speaker: Speaker | None = None
        self._taking = asyncio.Semaphore(TAKEN_AT_ONCE)
        # The last text of each sender.
        self._lines: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def on_message(self, stanza: Element) -> None:
        news = stanzas.read_message(stanza, self._domain)
        if isinstance(news, Written):
            self._take_in_line(news)
        elif isinstance(news, Unwelcome):
            self._refuse(news, news.refusal)
        elif isinstance(news, Confirmed):
            self._do(self._note_confirmed(news))
        elif isinstance(news, Bounced):
            self._do(self._note_bounced(news))

    def on_presence(self, stanza: Element) -> None:
        asked = stanzas.read_presence(stanza, self._domain)
        if asked is not None:
            self._do(self._answer(asked))

    async def finish(self) -> None:
        """What is being taken is taken, and answered."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=FINISH_S)

    def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    # --- texts ------------------------------------------------------------------------------------------------------
    def _take_in_line(self, text: Written) -> None:
        if len(self._tasks) >= MOST_WAITING:
            self._refuse(text, BUSY)
            return
        sender = text.sender.partition("/")[0]
        task = self._do(self._take(text, self._lines.get(sender)))
        self._lines[sender] = task
        task.add_done_callback(lambda done: self._leave_line(sender, done))

    def _leave_line(self, sender: str, task: asyncio.Task[None]) -> None:
        if self._lines.get(sender) is task:
            del self._lines[sender]

    async def _take(self, text: Written, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        try:
            async with self._taking:
                refusal = await in_database(gateway_intake.take_text, system_provider_id=self._provider_id, text=text)
        except DatabaseError as error:
            logger.warning("sms_gateway_database", error=type(error).__name__)
            refusal = AWAY
        if refusal is None:
            self._count("in")
        else:
            self._refuse(text, refusal)

    def _refuse(self, news: Written | Unwelcome, refusal: Refusal) -> None:
        self._count("refused")
        self._say(stanzas.build_error(to=news.sender, sender=news.to, id=news.id, refusal=refusal))

    # --- what became of ours ----------------------------------------------------------------------------------------
    async def _note_confirmed(self, news: Confirmed) -> None:
        with suppress(ValueError):
            await in_database(gateway_outbox.note_confirmed, news.sender, uuid.UUID(news.id))

    async def _note_bounced(self, news: Bounced) -> None:
        try:
            stanza_id = uuid.UUID(news.id)
        except ValueError:
            return  # of a receipt or an error of ours: nothing is said to that
        hint = await in_database(gateway_outbox.note_bounced, news.sender, stanza_id, news.reason)
        self._count("bounced")
        if hint is not None:
            self._say_presence(*hint, ["subscribe"], LET_THROUGH)

    # --- presence ---------------------------------------------------------------------------------------------------
    async def _answer(self, asked: Asked) -> None:
        account = await in_database(gateway_intake.account_of, self._provider_id, asked.sender)
        if account is None or asked.kind == "unsubscribe":
            self._say_presence(asked.sender, asked.remote, ["unsubscribed"])
        elif asked.kind == "probe":
            self._say_presence(asked.sender, asked.remote, [""])
        else:
            # Servers that pass on only what stands in the roster want it both ways (facts 5 #8).
            self._say_presence(asked.sender, asked.remote, ["subscribed", "", "subscribe"])

    def _say_presence(self, jid: str, remote: str, kinds: Sequence[str], status: str = "") -> None:
        sender = f"{remote}@{self._domain}"
        for presence in stanzas.build_presence(to=jid, sender=sender, kinds=kinds, status=status):
            self._say(presence)

    def _say(self, stanza: Element) -> None:
        """An answer. With the connection gone nobody waits for it."""
        if self.speaker is not None and not self.speaker.closed.is_set():
            self.speaker.say(stanza)

    def _do(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.create_task(_guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _guarded(work: Awaitable[None]) -> None:
    try:
        await work
    except DatabaseError as error:
        logger.warning("sms_gateway_database", error=type(error).__name__)
    except Exception:
        logger.exception("sms_gateway_failed")
