"""What the SMS gateway hears: texts are taken in the order they come, and whatever wants an answer gets one."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
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
from xmpp.together import Together

logger = get_logger(__name__)

# So many texts are taken together, so many wait; what is more is asked to come again. As much else may be under way
# (receipts, presence); what is more is dropped then, as it is when the database is away.
TOGETHER = 400
MOST_WAITING = 2000
FINISH_S = 5

BUSY = Refusal("wait", "resource-constraint", "Too many texts at once. Send it again in a moment.")
AWAY = Refusal("wait", "internal-server-error", "The text could not be stored just now. Send it again in a moment.")
LET_THROUGH = "Allow this number, or its texts cannot reach you here."


class Speaker(Protocol):
    """The connection that answers go to."""

    @property
    def closed(self) -> asyncio.Event: ...

    def say(self, stanzas: str) -> None: ...


class Hearing:
    """Ears for one domain, over any number of connections one after the other: what was heard on one that broke is
    taken all the same, and answered on the next. `count(name)` is told of texts taken (`in`), `refused`, `bounced`,
    `dropped`."""

    def __init__(self, *, system_provider_id: uuid.UUID, domain: str, count: Callable[[str], None]) -> None:
        self.domain = domain
        self._provider_id, self._count = system_provider_id, count
        self._speaker: Speaker | None = None
        self._unsaid: deque[str] = deque(maxlen=MOST_WAITING)
        self._waiting: deque[Written] = deque()
        self._taking: asyncio.Task[None] | None = None
        self._closing = False
        self._confirm = Together(self._note_confirmed)
        self._tasks: set[asyncio.Task[None]] = set()

    def answer_to(self, speaker: Speaker) -> None:
        """From now on; also what could not be said before."""
        self._speaker = speaker
        unsaid, self._unsaid = self._unsaid, deque(maxlen=MOST_WAITING)
        for stanza in unsaid:
            self._say(stanza)

    def on_message(self, stanza: Element) -> None:
        news = stanzas.read_message(stanza, self.domain)
        if isinstance(news, Written):
            self._take_in_line(news)
        elif isinstance(news, Unwelcome):
            self._refuse(news, news.refusal)
        elif news is not None and self._is_overwhelmed:
            self._count("dropped")
        elif isinstance(news, Confirmed):
            with suppress(ValueError):
                self._do(self._confirm((news.sender, uuid.UUID(news.id))))
        elif isinstance(news, Bounced):
            self._do(self._note_bounced(news))

    def on_presence(self, stanza: Element) -> None:
        asked = stanzas.read_presence(stanza, self.domain)
        if asked is not None and self._is_overwhelmed:
            self._count("dropped")
        elif asked is not None:
            self._do(self._answer(asked))

    async def finish(self) -> None:
        """What is being taken is taken and answered. What waits goes back to its writers, as does what comes from now
        on; without a connection they could not be told, so it is taken too."""
        self._closing = True
        if self._can_say:
            while self._waiting:
                self._refuse(self._waiting.popleft(), AWAY)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=FINISH_S)
        for task in list(self._tasks):
            task.cancel()

    # --- texts ------------------------------------------------------------------------------------------------------
    def _take_in_line(self, text: Written) -> None:
        if self._closing:
            self._refuse(text, AWAY)
        elif len(self._waiting) >= MOST_WAITING:
            self._refuse(text, BUSY)
        else:
            self._waiting.append(text)
            if self._taking is None or self._taking.done():
                self._taking = self._do(self._take_waiting())

    async def _take_waiting(self) -> None:
        """One after the other, so that each writer's texts keep their order."""
        while self._waiting:
            texts = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER))]
            for text, refusal in zip(texts, await self._take(texts), strict=True):
                if refusal is None:
                    self._count("in")
                else:
                    self._refuse(text, refusal)

    async def _take(self, texts: Sequence[Written]) -> Sequence[Refusal | None]:
        try:
            return await in_database(gateway_intake.take_texts, system_provider_id=self._provider_id, texts=texts)
        except DatabaseError as error:
            logger.warning("sms_gateway_database", error=type(error).__name__)
        except Exception:
            logger.exception("sms_gateway_failed")
        return [AWAY] * len(texts)

    def _refuse(self, news: Written | Unwelcome, refusal: Refusal) -> None:
        self._count("refused")
        self._say(stanzas.build_error(to=news.sender, sender=news.to, id=news.id, refusal=refusal))

    # --- what became of ours ----------------------------------------------------------------------------------------
    async def _note_confirmed(self, confirmed: Sequence[tuple[str, uuid.UUID]]) -> None:
        await in_database(gateway_outbox.note_confirmed, confirmed)

    async def _note_bounced(self, news: Bounced) -> None:
        try:
            stanza_id = uuid.UUID(news.id)
        except ValueError:
            return  # of a receipt or an error of ours: nothing is said to that
        hint = await in_database(
            gateway_outbox.note_bounced, news.sender, stanza_id, news.reason, is_final=news.is_final
        )
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
        sender = stanzas.address_of(remote, self.domain)
        self._say(stanzas.build_presence(to=jid, sender=sender, kinds=kinds, status=status))

    @property
    def _is_overwhelmed(self) -> bool:
        return len(self._tasks) >= MOST_WAITING

    @property
    def _can_say(self) -> bool:
        return self._speaker is not None and not self._speaker.closed.is_set()

    def _say(self, stanza: str) -> None:
        """An answer: now, or on the next connection."""
        if self._speaker is not None and not self._speaker.closed.is_set():
            self._speaker.say(stanza)
        else:
            self._unsaid.append(stanza)

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
