"""The SMS dispatcher: a resident that hands queued texts to carriers, many in flight, one at a time per conversation.

Any number of them may run: texts are claimed in the database (cpaas.services.claiming). One cycle at a time stores the
answers that came in and claims as many texts as there are free places, so that a busy dispatcher writes in batches.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable

import aiohttp
from django.conf import settings

from cpaas.carriers.base import CarrierError, Doubtful, NotTaken, Sent
from cpaas.carriers.registry import get_carrier
from cpaas.services import sweeping, vigil
from cpaas.services.claiming import Claimed, claim_texts
from cpaas.services.receipts import settle_parked
from cpaas.services.settling import Outcome, store_outcomes
from cpaas.transport import client_session, run_async
from portal.logs import get_logger
from portal.residents import Resident, in_database

logger = get_logger(__name__)

SWEEP_S = 1.0
CHORES_S = 2.0
# A dispatcher that slept this long between claim and request gives the text back instead of sending it late: by then
# others take it for dead, and the text may have been sent again by its user.
STALE_S = min(15.0, settings.LEASE_TTL_S)
# Ways a carrier says "slower": it is there, so it is not probed.
_THROTTLES = frozenset({"429", "431", "throttled"})


class Dispatcher(Resident):
    """Counters: sent, failed, unknown, retried."""

    name = "sms-dispatcher"
    title = "SMS dispatcher"

    def __init__(self, *, holder: str, system_provider_id: uuid.UUID | None = None, epoch: int | None = None) -> None:
        super().__init__(holder=holder, system_provider_id=system_provider_id, epoch=epoch)
        self._claim = uuid.uuid4()
        self._news = asyncio.Event()
        self._answers: list[Outcome] = []
        self._flying: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        await in_database(vigil.sign_of_life, self._claim, self.holder)
        async with client_session() as session:
            helpers = [
                asyncio.create_task(_again_and_again(self._tidy, session, CHORES_S)),
                asyncio.create_task(_again_and_again(self._probe_platforms, session, CHORES_S)),
                asyncio.create_task(_again_and_again(self._look_up_unknown, session, CHORES_S)),
                asyncio.create_task(_again_and_again(self._live, session, settings.LEASE_TTL_S / 3)),
            ]
            try:
                await self._dispatch(session)
            finally:
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
        await in_database(vigil.sign_off, self._claim)

    async def stop(self) -> None:
        await super().stop()
        self._news.set()

    def on_wake(self, topics: frozenset[str]) -> None:
        if topics & {"dispatch", "*"}:
            self._news.set()

    async def _dispatch(self, session: aiohttp.ClientSession) -> None:
        """Claim and send until asked to stop, then only finish what is in flight."""
        while not self.stopping.is_set() or self._flying or self._answers:
            self._news.clear()
            busy = await self._cycle(session)
            if not busy:
                await _wait(self._news, SWEEP_S)

    async def _cycle(self, session: aiohttp.ClientSession) -> bool:
        """Store what was answered, claim what is due; False when there was neither."""
        answers, self._answers = self._answers, []
        stored = bool(answers)
        free = 0 if self.stopping.is_set() else settings.DISPATCH_IN_FLIGHT - len(self._flying)
        # From before the claim: we may be held up between its commit and here.
        asked_at = time.monotonic()
        try:
            claimed = await in_database(self._store_and_claim, answers, free)
        except Exception as error:
            # With the database away nothing is claimed; answers not yet stored are stored when it is back.
            logger.warning("dispatcher_cycle_failed", error=type(error).__name__)
            self.count("database_errors")
            self._answers = answers + self._answers
            await asyncio.sleep(SWEEP_S)
            return True
        for text in claimed:
            task = asyncio.create_task(self._send(session, text, asked_at))
            self._flying.add(task)
            task.add_done_callback(self._flying.discard)
        return stored or bool(claimed)

    async def _send(self, session: aiohttp.ClientSession, text: Claimed, claimed_at: float) -> None:
        """Hand one text over; whatever happens becomes an outcome (R32)."""
        answer: Sent | CarrierError
        try:
            if time.monotonic() - claimed_at > STALE_S:
                raise NotTaken("The dispatcher was held up before it could send this text.", "late")
            operation = get_carrier(text.carrier).send(text.account, text.text)
            answer = await run_async(operation, session, timeout_s=settings.CARRIER_TIMEOUT_S)
        except CarrierError as error:
            answer = error
        except Exception as error:
            logger.exception("send_broke", attempt=str(text.attempt_id))
            answer = Doubtful(f"Sending broke off ({type(error).__name__}).", "internal")
        self._count(answer)
        self._answers.append(Outcome(text, answer))
        self._news.set()
        if _may_be_away(answer):
            await in_database(sweeping.mark_unreachable, text.platform_id)

    def _count(self, answer: Sent | CarrierError) -> None:
        if isinstance(answer, Sent):
            self.count("sent")
        elif isinstance(answer, NotTaken):
            self.count("retried")
        elif isinstance(answer, Doubtful):
            self.count("unknown")
        else:
            self.count("failed")

    def _store_and_claim(self, answers: list[Outcome], free: int) -> list[Claimed]:
        """Empties `answers` once they are stored."""
        if answers:
            store_outcomes(answers)
            answers.clear()
        return claim_texts(free, self._claim) if free > 0 else []

    async def _live(self, session: aiohttp.ClientSession) -> None:
        await in_database(vigil.sign_of_life, self._claim, self.holder)

    async def _tidy(self, session: aiohttp.ClientSession) -> None:
        """Expiry, dead dispatchers, parked receipts: nothing that waits for a carrier."""
        await in_database(sweeping.expire_due)
        await in_database(vigil.abandon_texts_of_the_dead)
        await in_database(settle_parked)

    async def _probe_platforms(self, session: aiohttp.ClientSession) -> None:
        """All at once: a carrier that hangs must not hold up the others."""
        probes = await in_database(sweeping.claim_probes)
        await asyncio.gather(*(self._probe(session, probe) for probe in probes))

    async def _look_up_unknown(self, session: aiohttp.ClientSession) -> None:
        due = await in_database(sweeping.claim_look_ups)
        await asyncio.gather(*(self._look_up(session, each) for each in due))

    async def _probe(self, session: aiohttp.ClientSession, probe: sweeping.Probe) -> None:
        try:
            await run_async(get_carrier(probe.carrier).verify(probe.account), session, timeout_s=10)
        except (NotTaken, Doubtful):
            return
        except CarrierError:
            logger.info("platform_answers_but_refuses", platform=str(probe.platform_id))
        await in_database(sweeping.mark_reachable, probe.platform_id)

    async def _look_up(self, session: aiohttp.ClientSession, due: sweeping.DueLookUp) -> None:
        try:
            matches = await run_async(get_carrier(due.carrier).look_up(due.account, due.query), session, timeout_s=20)
        except CarrierError as error:
            logger.info("look_up_failed", attempt=str(due.attempt_id), error=error.code)
            return
        if await in_database(sweeping.store_look_up, due.attempt_id, matches):
            self.count("looked_up")


async def _again_and_again(
    work: Callable[[aiohttp.ClientSession], Awaitable[None]], session: aiohttp.ClientSession, seconds: float
) -> None:
    """Do `work` every so many seconds; a failure is logged and does not end it."""
    while True:
        try:
            await work(session)
        except Exception as error:
            logger.warning("dispatcher_chore_failed", error=type(error).__name__)
        await asyncio.sleep(seconds)


def _may_be_away(answer: Sent | CarrierError) -> bool:
    """Whether the answer looks as if nobody is there, so that the platform is probed before more texts go to it."""
    return isinstance(answer, NotTaken | Doubtful) and answer.code not in _THROTTLES and answer.code != "late"


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
