"""The SMS dispatcher: a resident that hands queued texts to carriers, many in flight, one at a time per conversation.

Any number of them may run: texts are claimed in the database (cpaas.services.claiming). Three loops work side by side,
each in batches: one reserves texts, so that some are ready when a place becomes free, one begins as many of them as
there are free places, and one stores the answers that came in.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import nullcontext
from typing import Any

import aiohttp
from django.conf import settings

from cpaas.carriers.base import CarrierError, Doubtful, NotTaken, Sent
from cpaas.carriers.registry import get_carrier
from cpaas.ready_texts import Ready, ReadyTexts
from cpaas.services import sweeping, vigil
from cpaas.services.claiming import Claimed, begin_texts, release_texts, reserve_texts
from cpaas.services.exchanges import said
from cpaas.services.receipts import settle_parked
from cpaas.services.settling import Outcome, store_outcomes
from cpaas.transport import Trace, client_session, run_async
from portal.logs import get_logger
from portal.residents import Resident, in_database

logger = get_logger(__name__)

SWEEP_S = 1.0
CHORES_S = 2.0
# So far ahead texts are reserved, by how many places became free lately; with a slow carrier that is next to nothing.
AHEAD_S = 0.1
# One in so many of those is also begun ahead, because its place would be empty for as long as that transaction takes.
BEGUN_AHEAD = 8
# One in so many places is there besides, for platforms that have not even so many texts in flight: a carrier that
# answers late, or not at all, keeps the places of its own texts only.
GUEST_PLACES = 4
# Under load, answers gather so long: a transaction costs nearly the same for ten as for one.
GATHER_S = 0.01
# A dispatcher that slept this long between claim and request gives the text back instead of sending it late: by then
# others take it for dead, and the text may have been sent again by its user.
STALE_S = min(15.0, settings.LEASE_TTL_S)
# Ways a carrier says "slower": it is there, so it is not probed. One that does not say for how long is left alone for
# a moment.
_THROTTLES = frozenset({"429", "431", "20429", "21611", "30001", "30022", "throttled"})
PAUSE_S = 1.0


class Dispatcher(Resident):
    """Counters: sent, failed, unknown, retried."""

    name = "sms-dispatcher"
    title = "SMS dispatcher"

    def __init__(self, *, holder: str, system_provider_id: uuid.UUID | None = None, epoch: int | None = None) -> None:
        super().__init__(holder=holder, system_provider_id=system_provider_id, epoch=epoch)
        self._claim = uuid.uuid4()
        self._work = asyncio.Event()
        self._answered = asyncio.Event()
        self._ready = ReadyTexts()
        self._may_begin = asyncio.Event()
        self._beginning = 0
        self._landings: deque[float] = deque(maxlen=settings.DISPATCH_IN_FLIGHT)
        self._answers: list[Outcome] = []
        # Begun: with the carrier, or waiting for one of its places. `_at` counts them by platform, `_guests` are those
        # on places of their own.
        self._flying: set[asyncio.Task[None]] = set()
        self._at: Counter[uuid.UUID] = Counter()
        self._places = asyncio.Semaphore(settings.DISPATCH_IN_FLIGHT)
        self._guest_places = max(int(settings.DISPATCH_IN_FLIGHT) // GUEST_PLACES, 1)
        self._guests = 0
        self._more_is_due = False
        self._all_landed = False

    async def run(self) -> None:
        await in_database(vigil.sign_of_life, self._claim, self.holder)
        async with client_session() as session:
            helpers = [
                asyncio.create_task(_again_and_again(self._tidy, session, CHORES_S)),
                asyncio.create_task(_again_and_again(self._probe_platforms, session, CHORES_S)),
                asyncio.create_task(_again_and_again(self._look_up_unknown, session, CHORES_S)),
                asyncio.create_task(_again_and_again(self._live, session, settings.LEASE_TTL_S / 3)),
            ]
            reserving = asyncio.create_task(self._reserve_ahead())
            storing = asyncio.create_task(self._store_answers())
            try:
                await self._begin_and_send(session)
                await reserving
                await storing
            finally:
                reserving.cancel()
                storing.cancel()
                for helper in helpers:
                    helper.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)
        await in_database(vigil.sign_off, self._claim)

    async def stop(self) -> None:
        await super().stop()
        self._work.set()
        self._may_begin.set()
        self._answered.set()

    def on_wake(self, topics: frozenset[str]) -> None:
        if topics & {"dispatch", "*"}:
            self._work.set()

    async def _reserve_ahead(self) -> None:
        """Have texts ready for the places that become free, until asked to stop; then let others have them."""
        while not self.stopping.is_set():
            self._work.clear()
            wanted = self._wanted()
            if wanted > 0:
                self._more_is_due = await self._reserve_some(wanted)
            elif guests := self._guests_wanted():
                await self._reserve_some(guests, [key for key, n in self._at.items() if n >= self._guest_places])
            if wanted <= 0 or not self._more_is_due:
                await _wait(self._work, SWEEP_S)
        await in_database(release_texts, self._ready.take_all())

    def _wanted(self) -> int:
        """How many texts to reserve now: for all free places and, several at a time, for those free next."""
        ahead = self._ahead()
        missing = self._room() + ahead - len(self._ready)
        return missing if missing > ahead // 2 else 0

    def _guests_wanted(self) -> int:
        """How many texts of other platforms to reserve while all places are taken and none becomes free."""
        return 0 if self._ready or self._ahead() else self._guest_places - self._guests

    def _room(self) -> int:
        """How many texts may be begun now: for the free places, and a few for those free next."""
        places = int(settings.DISPATCH_IN_FLIGHT) + self._ahead() // BEGUN_AHEAD
        return max(places - (len(self._flying) - self._guests) - self._beginning, 0)

    def _ahead(self) -> int:
        """How many places are expected to become free next: as many as lately, and not more than there are."""
        recent = time.monotonic() - AHEAD_S
        return sum(landed_at > recent for landed_at in self._landings)

    async def _reserve_some(self, wanted: int, passed: Collection[uuid.UUID] = ()) -> bool:
        """Reserve up to `wanted` texts, none of the platforms `passed` over; whether there may be more."""
        # From before the claim: we may be held up between its commit and here.
        asked_at = time.monotonic()
        try:
            reserved = await in_database(reserve_texts, wanted, self._claim, passed)
        except Exception as error:
            # With the database away nothing is claimed.
            await self._database_failed(error)
            return True
        self._ready.add(reserved, asked_at)
        self._may_begin.set()
        return len(reserved) == wanted

    async def _begin_and_send(self, session: aiohttp.ClientSession) -> None:
        """Fill the free places until asked to stop, then only finish what is in flight."""
        while not self.stopping.is_set():
            self._may_begin.clear()
            if texts := self._ready.take(self._room(), self._at):
                await self._begin(session, texts, are_guests=False)
            elif texts := self._ready.take_guests(self._guest_places - self._guests, self._at, self._guest_places):
                await self._begin(session, texts, are_guests=True)
            else:
                await self._may_begin.wait()
        while self._flying:
            await asyncio.wait(set(self._flying))
        self._all_landed = True
        self._answered.set()

    async def _begin(self, session: aiohttp.ClientSession, texts: Sequence[Ready], *, are_guests: bool) -> None:
        self._beginning = 0 if are_guests else len(texts)
        try:
            begun = await in_database(begin_texts, [text for text, _ in texts])
        except Exception as error:
            await self._database_failed(error)
            return
        finally:
            self._beginning = 0
            if self._more_is_due:
                self._work.set()
        asked_at = min(asked_at for _, asked_at in texts)
        for text in begun:
            self._fly(self._send(session, text, asked_at, is_guest=are_guests), text.platform_id, are_guests)

    def _fly(self, sending: Coroutine[Any, Any, None], platform_id: uuid.UUID, is_guest: bool) -> None:
        self._at[platform_id] += 1
        self._guests += is_guest
        task = asyncio.create_task(sending)
        self._flying.add(task)
        task.add_done_callback(lambda done: self._landed(done, platform_id, is_guest))

    def _landed(self, task: asyncio.Task[None], platform_id: uuid.UUID, is_guest: bool) -> None:
        self._flying.discard(task)
        self._at -= Counter((platform_id,))
        self._guests -= is_guest
        if not is_guest:
            self._landings.append(time.monotonic())
        if self._ready:
            self._may_begin.set()
        elif self._more_is_due:
            self._work.set()

    async def _store_answers(self) -> None:
        """Store what was answered, all that came meanwhile at once; ends when nothing more can come."""
        while self._answers or not self._all_landed:
            await self._answered.wait()
            self._answered.clear()
            answers, self._answers = self._answers, []
            try:
                if answers:
                    await in_database(store_outcomes, answers)
                    # Their conversations are free for their next text.
                    self._work.set()
                if len(answers) > 1:
                    await asyncio.sleep(GATHER_S)
            except Exception as error:
                # They are stored when the database is back; storing one twice changes nothing.
                self._answers = answers + self._answers
                self._answered.set()
                await self._database_failed(error)

    async def _database_failed(self, error: Exception) -> None:
        logger.warning("dispatcher_cycle_failed", error=type(error).__name__)
        self.count("database_errors")
        await asyncio.sleep(SWEEP_S)

    async def _send(self, session: aiohttp.ClientSession, text: Claimed, claimed_at: float, *, is_guest: bool) -> None:
        """Hand one text over as soon as there is a place; whatever happens becomes an outcome (R32)."""
        async with nullcontext() if is_guest else self._places:
            traces: list[Trace] = []
            answer = await self._exchange(session, text, claimed_at, traces)
        self._count(answer)
        self._answers.append(Outcome(text, answer, said(traces, text.account, text.text.text)))
        self._answered.set()
        pause_s = _pause_s(answer)
        if pause_s:
            self._ready.give_up(text.platform_id)
            await in_database(sweeping.pause_platform, text.platform_id, pause_s)
        elif _may_be_away(answer):
            self._ready.give_up(text.platform_id)
            await in_database(sweeping.mark_unreachable, text.platform_id)

    async def _exchange(
        self, session: aiohttp.ClientSession, text: Claimed, claimed_at: float, traces: list[Trace]
    ) -> Sent | CarrierError:
        try:
            if time.monotonic() - claimed_at > STALE_S:
                raise NotTaken("The dispatcher was held up before it could send this text.", "late")
            operation = get_carrier(text.carrier).send(text.account, text.text)
            return await run_async(operation, session, timeout_s=settings.CARRIER_TIMEOUT_S, traces=traces)
        except CarrierError as error:
            return error
        except Exception as error:
            logger.exception("send_broke", attempt=str(text.attempt_id))
            return Doubtful(f"Sending broke off ({type(error).__name__}).", "internal")

    def _count(self, answer: Sent | CarrierError) -> None:
        if isinstance(answer, Sent):
            self.count("sent")
        elif isinstance(answer, NotTaken):
            self.count("retried")
        elif isinstance(answer, Doubtful):
            self.count("unknown")
        else:
            self.count("failed")

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
        if await in_database(sweeping.store_look_up, due.attempt_id, matches, due.query.sid):
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


def _pause_s(answer: Sent | CarrierError) -> float:
    """For how long the whole platform sends nothing, because the carrier asked for it (facts 4.7)."""
    if not isinstance(answer, NotTaken):
        return 0
    return answer.retry_after_s or (PAUSE_S if answer.code in _THROTTLES else 0)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
