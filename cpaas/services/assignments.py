"""The history of who had which number (S4.6). Each function runs in the transaction of the change it writes down."""

from __future__ import annotations

from datetime import datetime

from cpaas.models import CpaasNumber, NumberAssignment
from portal import clock
from portal.models import EndUser


def begin_assignment(number: CpaasNumber, at: datetime | None = None) -> None:
    """The user of `number` has it from now on, or from `at`. A media stream's number carries no charge."""
    if number.user is None:
        return
    NumberAssignment.objects.create(
        number_id=number.pk,
        tn=number.number,
        carrier=number.platform.carrier,
        user_id=number.user.pk,
        user_name=number.user.name,
        user_login=number.user.login,
        licence=number.user.licence,
        started_at=at or clock.now(),
        system_provider_id=number.system_provider_id,
        reseller_id=number.reseller_id,
        group_id=number.group_id,
    )


def end_assignment(number: CpaasNumber, at: datetime | None = None) -> None:
    """Nobody has `number` any more, from now on or from `at`."""
    NumberAssignment.objects.filter(number_id=number.pk, ended_at=None).update(ended_at=at or clock.now())


def follow_licence(user: EndUser) -> None:
    """Another licence begins another part of the bill. Runs after the followers that lock the user's numbers."""
    is_other = NumberAssignment.objects.filter(user_id=user.pk, ended_at=None).exclude(licence=user.licence)
    changed = set(is_other.values_list("number_id", flat=True))
    if not changed:
        return
    now = clock.now()
    for number in CpaasNumber.objects.select_related("platform").filter(pk__in=changed, user=user).order_by("number"):
        end_assignment(number, now)
        number.user = user
        begin_assignment(number, now)
