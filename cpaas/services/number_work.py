"""The background half of a number's life: set its hook at the carrier, or take it away (S4.31, S4.40, R29).

A worker claims a due number for two minutes, talks to the carrier without a transaction, and writes only while its
claim still stands. A killed worker's number is due again when the claim runs out; both operations are safe to repeat.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet

from cpaas import transport
from cpaas.carriers.base import CarrierError, CarrierNumber, Doubtful, NotTaken
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber
from cpaas.services.held import deliver_held
from cpaas.services.surveying import Finding, campaign_of, warnings_of
from cpaas.states import HookState, NumberStatus
from portal import clock
from portal.background import few_at_once
from portal.events import News
from portal.logs import get_logger
from portal.services import audit

logger = get_logger(__name__)
_CLAIM = timedelta(minutes=2)
_WORK = (NumberStatus.PROVISIONING, NumberStatus.REMOVING)


@few_at_once(2)
def work_due_numbers() -> int:
    """Work on every number that is due; returns how many. Any number of workers may run at once.

    One of each platform in turn, so that nobody's single number waits for a thousand at a carrier that is slow or away.
    """
    done = 0
    while worked := sum(_work_one(_due().filter(platform_id=key)) for key in _due_platforms()):
        done += worked
    return done


def _due() -> QuerySet[CpaasNumber]:
    return CpaasNumber.objects.filter(status__in=_WORK, next_try_at__lte=clock.now())


def _due_platforms() -> list[uuid.UUID]:
    return list(_due().order_by("platform_id").values_list("platform_id", flat=True).distinct())


def _work_one(due: QuerySet[CpaasNumber]) -> int:
    """Work on one of these numbers; 0 when others have them all."""
    number = _claim_one(due)
    if number is None:
        return 0
    if number.status == NumberStatus.PROVISIONING:
        _provision(number)
    else:
        _remove(number)
    return 1


def _claim_one(due: QuerySet[CpaasNumber]) -> CpaasNumber | None:
    for key in due.order_by("next_try_at").values_list("pk", flat=True)[:20]:
        claim = uuid.uuid4()
        # Conditional UPDATE, not a lock: it works the same on SQLite (architecture, rule 3).
        if due.filter(pk=key).update(claim=claim, next_try_at=clock.now() + _CLAIM):
            return CpaasNumber.objects.select_related("platform").filter(pk=key, claim=claim).first()
    return None


def _provision(number: CpaasNumber) -> None:
    carrier, account = get_carrier(number.platform.carrier), number.platform.account()
    try:
        found = transport.run(carrier.find_number(account, number.number))
        if not found.sms:
            reason = f"Messaging is not switched on for this number at {carrier.label}. Switch it on there, then retry."
            _finish(number, NumberStatus.FAILED, reason)
            return
        _remember_former_hook(number, found)
        transport.run(carrier.set_hook(account, number.number))
        campaign = campaign_of(number, found, None)
    except (NotTaken, Doubtful) as error:
        _later(number, error)
    except CarrierError as error:
        _finish(number, NumberStatus.FAILED, error.detail)
    else:
        warnings = warnings_of(number, found, campaign)
        finding = Finding(HookState.OK, True, found.messaging_class, campaign or "", warnings)
        if not _finish(number, NumberStatus.ENABLED, found.note, finding):
            take_back(number)


def _remember_former_hook(number: CpaasNumber, found: CarrierNumber) -> None:
    """Before ours takes its place, so that a worker that is killed in between does not lose it."""
    if found.former_hook:
        number.former_hook = dict(found.former_hook)
        CpaasNumber.objects.filter(pk=number.pk, claim=number.claim).update(former_hook=number.former_hook)


def take_back(number: CpaasNumber) -> None:
    """Our claim is gone. If the number was deleted while we set its hook, its removal may have come too early; if
    another worker has enabled it, the carrier may have both our hooks, and setting it once more leaves one."""
    of_tn = CpaasNumber.objects.filter(number=number.number, platform=number.platform)
    of_tn.filter(status=NumberStatus.REMOVING).update(next_try_at=clock.now(), claim=None)
    enabled = of_tn.filter(status=NumberStatus.ENABLED)
    carrier, account = get_carrier(number.platform.carrier), number.platform.account()
    try:
        if enabled.exists():
            transport.run(carrier.set_hook(account, number.number))
            if not enabled.exists():
                take_back(number)
        elif not of_tn.exists():
            _unhook(number)
    except CarrierError as error:
        logger.warning("hook_left_behind", number=number.number, error=error.code)


def _remove(number: CpaasNumber) -> None:
    try:
        _unhook(number)
    except CarrierError as error:
        _later(number, error)
        return
    gone, _ = CpaasNumber.objects.filter(pk=number.pk, claim=number.claim, status=NumberStatus.REMOVING).delete()
    if not gone:
        _set_again(number.number)


def _unhook(number: CpaasNumber) -> None:
    """Take the number's hook away. One that the numbers of an application share stays while another needs it.

    One may be added while we are at the carrier: seeing it afterwards, we set the hook again. Raises CarrierError.
    """
    carrier, account = get_carrier(number.platform.carrier), number.platform.account()
    others = CpaasNumber.objects.filter(platform=number.platform).exclude(pk=number.pk)
    others = others.exclude(status=NumberStatus.REMOVING)
    shared = carrier.hook_scope == "application"
    if shared and (heir := others.order_by("id").first()) is not None:
        if number.former_hook:
            others.filter(pk=heir.pk).update(former_hook=number.former_hook)
        return
    transport.run(carrier.remove_hook(account, number.number, number.former_hook))
    if shared and others.exists():
        transport.run(carrier.set_hook(account, number.number))


def _set_again(tn: str) -> None:
    """The number was added again while we were at the carrier: what we removed there may have been its new hook.

    An enabled number stays so; only when its hook cannot be set at once does it go back to be provisioned.
    """
    added = CpaasNumber.objects.filter(number=tn).exclude(status=NumberStatus.REMOVING)
    due = {"status": NumberStatus.PROVISIONING, "next_try_at": clock.now(), "claim": None}
    added.exclude(status=NumberStatus.ENABLED).update(**due)
    enabled = added.filter(status=NumberStatus.ENABLED).select_related("platform").first()
    if enabled is None:
        return
    try:
        transport.run(get_carrier(enabled.platform.carrier).set_hook(enabled.platform.account(), tn))
    except CarrierError as error:
        logger.warning("hook_not_set_again", number=tn, error=error.code)
        added.update(**due)
    if not added.filter(pk=enabled.pk).exists():
        take_back(enabled)


def _finish(number: CpaasNumber, status: str, detail: str, finding: Finding | None = None) -> bool:
    """Write the outcome with its audit row and event if the claim still stands; False when it does not."""
    with transaction.atomic():
        # FOR UPDATE waits for texts that are just coming in, so that none stays held.
        claimed = CpaasNumber.objects.filter(pk=number.pk, claim=number.claim, status=NumberStatus.PROVISIONING)
        row = claimed.select_for_update().first()
        if row is None:
            return False
        row.status, row.status_detail, row.claim = status, detail[:400], None
        columns = finding.columns if finding else {}
        for name, value in columns.items():
            setattr(row, name, value)
        row.save(update_fields=["status", "status_detail", "claim", *columns])
        audit.record(None, status, row, after={"detail": row.status_detail})
        news = News()
        if row.is_usable:
            deliver_held(row, news)
        news.add(row.user_id, "number.updated", row.pk)
        news.write()
    return True


def _later(number: CpaasNumber, error: CarrierError) -> None:
    """The carrier could not be asked: again in 5 s, doubling to 5 min, with the reason on the number's page."""
    wait = timedelta(seconds=min(5 * 2 ** min(number.tries, 10), 300))
    CpaasNumber.objects.filter(pk=number.pk, claim=number.claim).update(
        status_detail=error.detail[:400], tries=number.tries + 1, next_try_at=clock.now() + wait, claim=None
    )
