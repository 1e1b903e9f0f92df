"""Whether a number is at the carrier what it is here: whose it is, where its texts go, its class and campaign (R44)."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from django.db import transaction

from cpaas import transport
from cpaas.carriers.base import CarrierError, CarrierNumber, NumberNotOnAccount
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber
from cpaas.services.number_work import take_back
from cpaas.services.numbers import tell_number_changed
from cpaas.services.platforms import carrier_problem
from cpaas.services.surveying import Finding, Survey, campaign_of, hook_state, hooks_of, list_hooks, warnings_of
from cpaas.states import HookState, NumberStatus
from portal import clock
from portal.problems import conflict
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.services.accounts import alert_accounts, branch_alert_accounts
from portal.services.mail import queue_mail

_CHECKED = (NumberStatus.ENABLED, NumberStatus.FAILED)
_GONE = """\
The CPaaS number {number} is not on the account of {platform} at {carrier} any more. It can neither send nor receive
texts and was set to Failed.

Assigned to:  {owner}
Group:        {group}

When it is back at the carrier, choose Retry on its page in the portal; otherwise delete it there.
"""


def check_number(*, actor: Actor | None, number: CpaasNumber) -> Finding:
    """Compare a number with the carrier now, set its hook again when it is missing, and write down what was found.

    Raises Problem `number_not_ready` (409), `carrier_rejected`, `carrier_unreachable`.
    """
    require_writer(actor)
    if not may_be_checked(number):
        raise conflict(
            "number_not_ready", f"{number.display} is {number.get_status_display().lower()}. Check it after that."
        )
    try:
        finding = look_at(number, Survey(list_hooks(number.platform)))
    except CarrierError as error:
        raise carrier_problem(error) from error
    write_finding(number, finding, actor=actor)
    return finding


def may_be_checked(number: CpaasNumber) -> bool:
    """Whether the carrier is through with it, for better or worse."""
    return number.status in _CHECKED


def take_hook(*, actor: Actor | None, number: CpaasNumber) -> CpaasNumber:
    """Lead the texts of a number here though somebody led them elsewhere; where the carrier tells, that is remembered
    to be given back. Raises Problem as `check_number`."""
    require_writer(actor)
    if number.status != NumberStatus.ENABLED:
        raise conflict("number_not_ready", f"{number.display} is not enabled.")
    carrier = get_carrier(number.platform.carrier)
    try:
        found = transport.run(carrier.find_number(number.platform.account(), number.number))
        # Before it is set: who is killed or gets no answer then may have led the texts here.
        with transaction.atomic():
            if found.former_hook:
                number.former_hook = dict(found.former_hook)
                CpaasNumber.objects.filter(pk=number.pk).update(former_hook=number.former_hook)
            audit.record(actor, "take_hook", number)
        _set_hook(number)
        finding = look_at(number, Survey(list_hooks(number.platform)))
    except CarrierError as error:
        raise carrier_problem(error) from error
    write_finding(number, finding, actor=actor)
    return number


def look_at(number: CpaasNumber, seen: Survey) -> Finding:
    """Compare one number with what the carrier says; of an enabled one a missing hook is set again.

    No transaction may be open. Raises CarrierError.
    """
    carrier = get_carrier(number.platform.carrier)
    try:
        known = _known(number, seen)
    except NumberNotOnAccount as error:
        return Finding(HookState.MISSING, owned=False, warnings=[error.detail])
    campaign = campaign_of(number, known, seen.campaigns)
    warnings = warnings_of(number, known, campaign)
    hooks = hooks_of(number.platform, number.number, seen)
    hook = hook_state(number.platform, hooks)
    if hook == HookState.MISSING and number.status == NumberStatus.ENABLED:
        try:
            _set_hook(number)
            hook = HookState.SET_AGAIN
        except CarrierError as error:
            warnings.append(f"Its webhook is missing at {carrier.label} and could not be set again: {error.detail}")
    elif hook == HookState.MISSING:
        warnings.append(f"Its webhook is missing at {carrier.label}. Retry sets it.")
    elif hook == HookState.FOREIGN:
        where = ", ".join(sorted({_host(row.url) for row in hooks}))
        warnings.append(
            f"At {carrier.label} its texts are led to {where}, so they do not arrive here. Nothing was changed there."
        )
    return Finding(hook, True, known.messaging_class, campaign or "", warnings)


def write_finding(number: CpaasNumber, finding: Finding, *, actor: Actor | None = None, always: bool = True) -> bool:
    """Store what was found, unless the number has gone on meanwhile; returns whether it was stored.

    With `always` False only what differs is written, so that a nightly round leaves a million rows alone. A number
    that is gone at the carrier fails, and the tenant's alert accounts are told.
    """
    with transaction.atomic():
        row = CpaasNumber.objects.select_for_update().filter(pk=number.pk, status__in=_CHECKED).first()
        if row is None:
            return False
        after = finding.columns
        before = {name: getattr(row, name) for name in after}
        is_lost = not finding.owned and row.status == NumberStatus.ENABLED
        if not always and before == after and not is_lost:
            return True
        for name, value in after.items():
            setattr(row, name, value)
        row.checked_at = clock.now()
        if is_lost:
            row.status, row.status_detail = NumberStatus.FAILED, finding.warnings[0][:400]
            _mail_loss(row)
        row.save(update_fields=[*after, "checked_at", "status", "status_detail"])
        if is_lost or finding.hook == HookState.SET_AGAIN or before["warnings"] != after["warnings"]:
            audit.record(actor, "check", row, before=before, after={**after, "owned": finding.owned})
        if is_lost:
            tell_number_changed(row)
    return True


def _known(number: CpaasNumber, seen: Survey) -> CarrierNumber:
    carrier = get_carrier(number.platform.carrier)
    if seen.numbers is None:
        return transport.run(carrier.find_number(number.platform.account(), number.number))
    known = seen.numbers.get(number.number)
    if known is None:
        raise NumberNotOnAccount.for_carrier(carrier.label)
    return known


def _set_hook(number: CpaasNumber) -> None:
    """Set it, and take it back when the number was deleted meanwhile."""
    transport.run(get_carrier(number.platform.carrier).set_hook(number.platform.account(), number.number))
    if not CpaasNumber.objects.filter(pk=number.pk, status=NumberStatus.ENABLED).exists():
        take_back(number)


def _mail_loss(row: CpaasNumber) -> None:
    owner = row.user or row.media_stream
    text = _GONE.format(
        number=row.national,
        platform=row.platform.name,
        carrier=get_carrier(row.platform.carrier).label,
        owner=owner,
        group=row.group.name,
    )
    recipients = alert_accounts(row.system_provider_id) + branch_alert_accounts(row.reseller_id, row.group_id)
    for account in recipients:
        queue_mail(to=account.email, subject=f"CPaaS number gone at the carrier: {row.national}", text=text)


def _host(url: str) -> str:
    """The part of a foreign address that gives nobody's secrets away."""
    with suppress(ValueError):
        if host := urlsplit(url).hostname:
            return host
    return "an unreadable address"
