"""CPaaS numbers: assigned to a user or media stream, SMS-enabled at the carrier in the background, removed again."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Sum

from cpaas import transport
from cpaas.carriers.base import CarrierAccount, CarrierError, NumberNotOnAccount
from cpaas.carriers.registry import get_carrier
from cpaas.models import Conversation, CpaasNumber, CpaasPlatform, MediaStream, Message
from cpaas.services.assignments import begin_assignment, end_assignment
from cpaas.services.deletion import delete_number_messages
from cpaas.services.platforms import carrier_problem, platforms_for
from cpaas.services.stops import keep_with_owner
from cpaas.states import NumberStatus, OptInState, Override
from portal import clock
from portal.background import run_soon
from portal.events import News
from portal.models import EndUser
from portal.phone_numbers import InvalidNumber, national_digits, parse_own_number
from portal.problems import Problem, conflict, invalid, not_found
from portal.scoping import Actor, TenantQuerySet, require_writer
from portal.services import audit
from portal.services.changes import apply_changes, validate

NUMBER_FIELDS = {"friendly_name", "mms", "can_block", "note"}
WORK_TASK = "cpaas.tasks.work_numbers"
# S4.28, shown wherever a number is added.
PROVISIONING_NOTICE = "Please note it may take several minutes before this number is provisioned in {carrier}"


def assign_number(
    *,
    actor: Actor | None,
    number: str,
    user: EndUser | None = None,
    media_stream: MediaStream | None = None,
    platform: CpaasPlatform | None = None,
    friendly_name: str = "",
    mms: str = Override.INHERIT,
    can_block: str = Override.INHERIT,
    note: str = "",
) -> CpaasNumber:
    """Assign a TN to a user or media stream. Asks the carrier first; the hook is set in the background (S4.23–S4.31).

    Raises Problem `invalid`, `not_licensed`, `no_platform`, `platform_required`, `mms_not_on_platform`,
    `number_not_available`, `number_not_on_account`, `carrier_rejected`, `carrier_unreachable`.
    """
    require_writer(actor)
    row = draft_number(
        number=number,
        user=user,
        media_stream=media_stream,
        platform=platform,
        friendly_name=friendly_name,
        mms=mms,
        can_block=can_block,
        note=note,
    )
    # First the carrier: of a number that is not on the tenant's own account nobody learns whether another has it.
    ask_carrier(row.platform.carrier, row.platform.account(), row.number)
    require_available(row.number)
    return insert_number(actor, row)


def draft_number(
    *,
    number: str,
    user: EndUser | None = None,
    media_stream: MediaStream | None = None,
    platform: CpaasPlatform | None = None,
    friendly_name: str = "",
    mms: str = Override.INHERIT,
    can_block: str = Override.INHERIT,
    note: str = "",
) -> CpaasNumber:
    """The row of a number as it would be assigned, checked but neither saved nor asked for at the carrier.

    Raises Problem `invalid`, `not_licensed`, `no_platform`, `platform_required`, `mms_not_on_platform`, `not_found`.
    """
    owner = check_owner(user, media_stream)
    chosen = _choose_platform(owner, platform)
    tn = _own_number(number)
    row = CpaasNumber(
        number=tn,
        platform=chosen,
        user=user,
        media_stream=media_stream,
        group_id=owner.group_id,
        reseller_id=owner.reseller_id,
        system_provider_id=owner.system_provider_id,
        friendly_name=friendly_name.strip() or national_digits(tn),
        mms=mms,
        can_block=can_block,
        note=note,
        opt_in_state=first_opt_in_state(chosen, media_stream),
        next_try_at=clock.now(),
    )
    validate(row, exclude={"number", "platform", "user", "media_stream", "group"})
    _check_mms(row)
    return row


def update_number(*, actor: Actor | None, number: CpaasNumber, changes: Mapping[str, Any]) -> CpaasNumber:
    """Change friendly name, MMS, blocking or note. Number, platform and owner never change (`use_transfer`, R23)."""
    require_writer(actor)
    if {"number", "platform", "user", "media_stream"} & set(changes):
        raise conflict(
            "use_transfer", "A number keeps its platform and owner. Delete it and add it again, or transfer it."
        )
    with transaction.atomic():
        row = lock_number(number)
        if not changes.get("friendly_name", "kept").strip():
            changes = {**changes, "friendly_name": row.national}
        before, after = apply_changes(row, changes, allowed=NUMBER_FIELDS)
        validate(row, exclude={"number", "platform", "user", "media_stream", "group"})
        _check_mms(row)
        row.save(update_fields=sorted(NUMBER_FIELDS))
        audit.record(actor, "update", row, before=before, after=after)
        tell_number_changed(row)
    return row


def delete_number(*, actor: Actor | None, number: CpaasNumber) -> None:
    """Take a number away: its messages are gone at once, the carrier's hook in the background (S4.40)."""
    require_writer(actor)
    with transaction.atomic():
        row = lock_number(number)
        if row.status == NumberStatus.REMOVING:
            return
        deleted = delete_number_messages(row)
        end_assignment(row)
        row.status, row.status_detail = NumberStatus.REMOVING, ""
        _make_due(row)
        audit.record(actor, "delete", row, before={"number": row.number, "messages": deleted})
        tell_number_changed(row)
    run_soon(WORK_TASK)


def retry_number(*, actor: Actor | None, number: CpaasNumber) -> CpaasNumber:
    """Try again what failed at the carrier. Raises Problem `not_failed` (409) when nothing did."""
    require_writer(actor)
    with transaction.atomic():
        row = lock_number(number)
        if row.status in (NumberStatus.ENABLED, NumberStatus.REMOVING):
            raise conflict(
                "not_failed", f"{row.display} is {row.get_status_display().lower()}; there is nothing to retry."
            )
        row.status, row.status_detail = NumberStatus.PROVISIONING, ""
        _make_due(row)
        audit.record(actor, "retry", row)
        tell_number_changed(row)
    run_soon(WORK_TASK)
    return row


def delete_messages(*, actor: Actor | None, number: CpaasNumber) -> int:
    """Delete the saved messages of a number, for the re-use of an account (S4.39); returns how many there were."""
    require_writer(actor)
    with transaction.atomic():
        row = lock_number(number)
        deleted = delete_number_messages(row)
        audit.record(actor, "delete_messages", row, before={"messages": deleted})
        news = News()
        news.add(row.user_id, "session.updated", row.user_id or row.pk)
        news.write()
    return deleted


def own_numbers(user: EndUser) -> TenantQuerySet[CpaasNumber]:
    """The numbers that are the user's alone and enabled, without those of media streams (S1.1)."""
    return CpaasNumber.objects.visible_to(user).filter(user=user, status=NumberStatus.ENABLED)


def message_counts(numbers: Iterable[CpaasNumber]) -> dict[uuid.UUID, int]:
    """How many messages each number has saved."""
    keys = [number.pk for number in numbers]
    rows = Conversation.objects.filter(number_id__in=keys).values("number_id").annotate(total=Sum("message_count"))
    totals = {row["number_id"]: row["total"] for row in rows}
    return {key: totals.get(key, 0) for key in keys}


def has_messages(number: CpaasNumber) -> bool:
    return Message.objects.filter(number=number).exists()


def suppressed_count(number: CpaasNumber) -> int:
    """How many texts came in after the user declined, which staff see as a count only (R8)."""
    return Message.objects.filter(number=number, status="suppressed").count()


def tell_number_changed(number: CpaasNumber) -> None:
    """Publish `number.updated` to the number's user; last write of the transaction."""
    news = News()
    news.add(number.user_id, "number.updated", number.pk)
    news.write()


def check_owner(user: EndUser | None, media_stream: MediaStream | None) -> EndUser | MediaStream:
    """Who gets the number. Raises Problem `invalid`, `not_licensed` (S4.2)."""
    if (user is None) == (media_stream is None):
        raise invalid(user="Give either a user or a media stream.")
    if user is not None and not (user.is_licensed and user.is_active):
        raise conflict("not_licensed", f"{user.name} has no client licence or is inactive. Assign a licence first.")
    if media_stream is not None and media_stream.media_type != "sms":
        raise invalid(media_stream="Only a media stream of type SMS can have a number.")
    owner = user or media_stream
    assert owner is not None
    return owner


def _choose_platform(owner: EndUser | MediaStream, platform: CpaasPlatform | None) -> CpaasPlatform:
    """The given platform when it is the tenant's, else the only one (S4.23, S4.27)."""
    choices = list(platforms_for(owner.system_provider_id)[:2])
    if not choices:
        raise conflict("no_platform", "The system provider has no CPaaS platform yet. Add one first.")
    if platform is not None:
        if platform.system_provider_id != owner.system_provider_id:
            raise not_found("CPaaS platform")
        return platform
    if len(choices) > 1:
        raise Problem(
            "platform_required",
            "There are several CPaaS platforms. Choose one for this number.",
            errors={"platform": ["Choose a platform."]},
        )
    return choices[0]


def _own_number(raw: str) -> str:
    try:
        return parse_own_number(raw)
    except InvalidNumber as error:
        raise invalid(number=str(error)) from error


def first_opt_in_state(platform: CpaasPlatform, media_stream: MediaStream | None) -> str:
    """Media streams are never asked (S4.13), users only when the platform says so (S4.12, R11)."""
    asked = platform.user_confirmation_required and media_stream is None
    return OptInState.PENDING if asked else OptInState.NOT_REQUIRED


def _check_mms(number: CpaasNumber) -> None:
    if number.mms == Override.ON and not number.platform.mms:
        raise Problem(
            "mms_not_on_platform",
            f"MMS is off for {number.platform.name}, so it cannot be on for one of its numbers.",
            errors={"mms": ["MMS is off for the platform."]},
        )


def require_available(tn: str) -> None:
    """A number is used once over all tenants (S4.41); whose it is, is nobody's business."""
    if CpaasNumber.objects.filter(number=tn).exclude(status=NumberStatus.REMOVING).exists():
        raise conflict("number_not_available", "This number is not available.")


def ask_carrier(carrier: str, account: CarrierAccount, tn: str) -> None:
    """The carrier must have the TN on this account (S4.29). No transaction may be open; needs no database.

    Raises Problem `number_not_on_account`, `carrier_rejected`, `carrier_unreachable`.
    """
    try:
        transport.run(get_carrier(carrier).find_number(account, tn))
    except NumberNotOnAccount as error:
        raise Problem("number_not_on_account", error.detail, status=400, errors={"number": [error.detail]}) from error
    except CarrierError as error:
        raise carrier_problem(error) from error


def insert_number(actor: Actor | None, row: CpaasNumber) -> CpaasNumber:
    """Assign a drafted number that the carrier knows. Raises Problem `number_not_available`, `not_licensed`."""
    with transaction.atomic():
        save_number(actor, row)
        tell_number_changed(row)
    run_soon(WORK_TASK)
    return row


def save_number(actor: Actor | None, row: CpaasNumber) -> None:
    """Save a drafted number in the caller's transaction, who then tells its user and wakes the worker.

    Raises Problem `number_not_available`, `not_licensed`.
    """
    try:
        with transaction.atomic():
            lock_licensed(row.user)
            # A removal still on its way to the carrier is dropped: the number is wanted again (contracts, numbers).
            CpaasNumber.objects.filter(number=row.number, status=NumberStatus.REMOVING).delete()
            row.save(force_insert=True)
            begin_assignment(row)
            keep_with_owner(row)
            owner = row.user or row.media_stream
            audit.record(actor, "create", row, after={"number": row.number, "owner": str(owner)})
    except IntegrityError as error:
        raise conflict("number_not_available", "This number is not available.") from error


def lock_licensed(*users: EndUser | None) -> None:
    """Hold the users, so that none loses the licence meanwhile; before any number is locked, as in update_user.

    Raises Problem `not_licensed` when the first of them has none any more (S4.2).
    """
    keys = [user.pk for user in users if user is not None]
    held = EndUser.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk").in_bulk()
    if users and users[0] is not None:
        check_owner(held.get(users[0].pk), None)


def lock_number(number: CpaasNumber) -> CpaasNumber:
    """The row, held until commit. Raises Problem `not_found` when it is gone."""
    row = CpaasNumber.objects.select_for_update().filter(pk=number.pk).first()
    if row is None:
        raise not_found("CPaaS number")
    return row


def _make_due(row: CpaasNumber) -> None:
    """Give the row to the background work; whoever works on it now has lost its claim."""
    row.next_try_at, row.tries, row.claim = clock.now(), 0, None
    row.save(update_fields=["status", "status_detail", "next_try_at", "tries", "claim"])
