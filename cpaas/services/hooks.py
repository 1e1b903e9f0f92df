"""Hooks set again without touching the number: those that carriers lost, that lead to an old address of ours (R44), or
that sign with a key that was replaced."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from cpaas import transport
from cpaas.carriers.base import Carrier, CarrierError
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber, CpaasPlatform
from cpaas.services.surveying import Survey, hook_state, hooks_of, list_hooks
from cpaas.states import HookState, NumberStatus
from portal import clock
from portal.background import few_at_once
from portal.logs import get_logger

logger = get_logger(__name__)
_TRY_AGAIN = timedelta(minutes=5)
# As long as a carrier may send a call again that was signed with the former key.
FORMER_KEYS_HOLD = timedelta(hours=24)


@few_at_once(1)
def set_due_hooks() -> int:
    """Give the new key to the hooks of platforms whose key was replaced, now and again when the former one ends;
    returns of how many platforms.

    The second time is for numbers that somebody was setting up with the former key during the change.
    """
    due, done = CpaasPlatform.objects.filter(hooks_due_at__lte=clock.now()), 0
    for key in due.order_by("hooks_due_at").values_list("pk", flat=True)[:20]:
        # Claimed until the next try: a killed worker's work and a carrier that is away come up again.
        next_try = clock.now() + _TRY_AGAIN
        if due.filter(pk=key).update(hooks_due_at=next_try):
            _set_every_hook(CpaasPlatform.objects.get(pk=key))
            done += 1
    return done


def _set_every_hook(platform: CpaasPlatform) -> None:
    carrier, account = get_carrier(platform.carrier), platform.account()
    enabled = CpaasNumber.objects.filter(platform=platform, status=NumberStatus.ENABLED).order_by("id")
    try:
        for tn in _hooked_by(carrier, list(enabled.values_list("number", flat=True))):
            transport.run(carrier.set_hook(account, tn))
    except CarrierError as error:
        logger.warning("hooks_not_set", platform=str(platform.pk), reason=error.detail)
        return
    assert platform.keys_changed_at is not None
    ends = platform.keys_changed_at + FORMER_KEYS_HOLD
    # Nothing when the key was replaced once more meanwhile.
    unchanged = CpaasPlatform.objects.filter(pk=platform.pk, keys_changed_at=platform.keys_changed_at)
    if clock.now() < ends:
        unchanged.update(hooks_due_at=ends)
    else:
        unchanged.update(hooks_due_at=None, former_keys={})


def set_missing_hooks(platform: CpaasPlatform) -> int:
    """Compare the platform's enabled numbers with the hooks at the carrier; returns how many were set again.

    A number whose texts somebody led elsewhere on purpose stays as it is. Raises CarrierError.
    """
    numbers = CpaasNumber.objects.filter(platform=platform, status=NumberStatus.ENABLED)
    if not numbers.exists():
        return 0
    carrier, account = get_carrier(platform.carrier), platform.account()
    seen = Survey(list_hooks(platform))
    own = list(numbers.order_by("id").values_list("number", flat=True))
    missing = [tn for tn in own if hook_state(platform, hooks_of(platform, tn, seen)) == HookState.MISSING]
    for tn in _hooked_by(carrier, missing):
        transport.run(carrier.set_hook(account, tn))
    if missing:
        logger.info("hooks_set_again", platform=str(platform.pk), count=len(missing))
    return len(missing)


def _hooked_by(carrier: Carrier, numbers: Sequence[str]) -> Sequence[str]:
    """The numbers whose hooks are to be set for all of `numbers` to have one: of an application's one will do."""
    return numbers[:1] if carrier.hook_scope == "application" else numbers
