"""Hooks that carriers lost, or that lead to an old address of ours, set again without touching the number (R44)."""

from __future__ import annotations

from cpaas import transport
from cpaas.carriers.base import Hook
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber, CpaasPlatform
from cpaas.states import NumberStatus
from portal.logs import get_logger

logger = get_logger(__name__)


def set_missing_hooks(platform: CpaasPlatform) -> int:
    """Compare the platform's enabled numbers with the hooks at the carrier; returns how many were set again.

    A number whose texts somebody led elsewhere on purpose stays as it is. Raises CarrierError.
    """
    numbers = CpaasNumber.objects.filter(platform=platform, status=NumberStatus.ENABLED)
    if not numbers.exists():
        return 0
    carrier, account = get_carrier(platform.carrier), platform.account()
    rows: dict[str, list[Hook]] = {}
    for hook in transport.run(carrier.list_hooks(account)):
        rows.setdefault(hook.tn, []).append(hook)
    missing = [number for number in numbers.order_by("id") if _is_missing(platform, rows.get(number.number, []))]
    for number in missing:
        transport.run(carrier.set_hook(account, number.number))
    if missing:
        logger.info("hooks_set_again", platform=str(platform.pk), count=len(missing))
    return len(missing)


def _is_missing(platform: CpaasPlatform, hooks: list[Hook]) -> bool:
    """Whether no hook leads to us and none to a stranger; PORTAL_PUBLIC_URL may have been another one before."""
    if any(hook.url == platform.inbound_url for hook in hooks):
        return False
    return all(f"/webhooks/{platform.carrier}/{platform.pk}/" in hook.url for hook in hooks)
