"""The nightly comparison of all numbers with their carriers (R44).

A platform is claimed by moving its due time on and compared number by number in the order of their ids. A killed
worker's platform is due again when the claim runs out and goes on where it was.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from cpaas.carriers.base import CarrierError, Refused
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber, CpaasPlatform
from cpaas.services import drift
from cpaas.services.surveying import Survey, list_hooks, survey
from cpaas.states import HookState, NumberStatus
from portal import clock
from portal.background import few_at_once, run_soon
from portal.logs import get_logger
from portal.scoping import Actor, require_writer
from portal.services import audit

logger = get_logger(__name__)
ROUND_TASK = "cpaas.tasks.compare_numbers"
_CLAIM = timedelta(minutes=10)
_BATCH = 100
# So often a round says that it goes on: at a slow carrier a batch takes longer than the claim.
_HOLD_EVERY_S = 60.0
# Between two calls about single numbers, so that a round is no burden to a carrier that lists nothing.
_PAUSE_S = 0.2


def begin_rounds() -> None:
    """Make every platform due whose round is not under way."""
    CpaasPlatform.objects.filter(comparing_due_at=None).update(comparing_due_at=clock.now(), compared_up_to=None)


def compare_now(*, actor: Actor | None, platform: CpaasPlatform) -> None:
    """Compare the numbers of one platform soon, on demand."""
    require_writer(actor)
    with transaction.atomic():
        idle = CpaasPlatform.objects.filter(pk=platform.pk, comparing_due_at=None)
        idle.update(comparing_due_at=clock.now(), compared_up_to=None)
        audit.record(actor, "compare_numbers", platform)
        run_soon(ROUND_TASK)


@few_at_once(1)
def work_due_rounds() -> int:
    """Compare the numbers of every platform that is due; returns how many numbers. Any number of workers may run."""
    due = CpaasPlatform.objects.filter(comparing_due_at__lte=clock.now())
    compared = 0
    for key in list(due.order_by("comparing_due_at").values_list("pk", flat=True)[:20]):
        claim = clock.now() + _CLAIM
        if due.filter(pk=key).update(comparing_due_at=claim):
            compared += _Round(CpaasPlatform.objects.get(pk=key), claim).run()
    return compared


class _Round:
    """One platform's round under a claim."""

    def __init__(self, platform: CpaasPlatform, claim: datetime) -> None:
        self._platform, self._claim = platform, claim
        self._held_at = time.monotonic()

    def run(self) -> int:
        """Returns how many numbers were compared. A carrier that is away is asked again when the claim runs out."""
        compared = 0
        is_shared = get_carrier(self._platform.carrier).hook_scope == "application"
        try:
            seen = survey(self._platform)
            while batch := self._next_numbers():
                for number in batch:
                    if self._compare(number, seen) and is_shared:
                        seen = replace(seen, hooks=list_hooks(self._platform))
                    compared += 1
                    is_time = number is batch[-1] or time.monotonic() - self._held_at > _HOLD_EVERY_S
                    if is_time and not self._hold(compared_up_to=number.pk):
                        return compared
        except CarrierError as error:
            logger.warning("numbers_not_compared", platform=str(self._platform.pk), reason=error.detail)
            return compared
        self._mine().update(comparing_due_at=None, compared_up_to=None, compared_at=clock.now())
        return compared

    def _next_numbers(self) -> list[CpaasNumber]:
        numbers = CpaasNumber.objects.filter(platform=self._platform, status=NumberStatus.ENABLED)
        if self._platform.compared_up_to is not None:
            numbers = numbers.filter(pk__gt=self._platform.compared_up_to)
        return list(numbers.select_related("platform").order_by("pk")[:_BATCH])

    def _compare(self, number: CpaasNumber, seen: Survey) -> bool:
        """Whether the hook was set again."""
        try:
            finding = drift.look_at(number, seen)
        except Refused as error:
            # Only of this number: a round begins with the keys being taken.
            logger.warning("number_not_compared", number=str(number.pk), reason=error.detail)
            return False
        drift.write_finding(number, finding, always=False)
        if seen.numbers is None or finding.hook == HookState.SET_AGAIN:
            time.sleep(_PAUSE_S)
        return finding.hook == HookState.SET_AGAIN

    def _hold(self, compared_up_to: uuid.UUID) -> bool:
        """Note how far the round is and keep the claim; False when it is another worker's by now."""
        until = clock.now() + _CLAIM
        if not self._mine().update(comparing_due_at=until, compared_up_to=compared_up_to):
            return False
        self._claim, self._platform.compared_up_to = until, compared_up_to
        self._held_at = time.monotonic()
        return True

    def _mine(self) -> QuerySet[Any]:
        return CpaasPlatform.objects.filter(pk=self._platform.pk, comparing_due_at=self._claim)
