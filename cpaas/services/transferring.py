"""A number goes to another user or media stream, without its messages and with a new consent (R23)."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from cpaas.models import CpaasNumber, MediaStream
from cpaas.services import numbers
from cpaas.services.assignments import begin_assignment, end_assignment
from cpaas.services.blocking import forget_blocked
from cpaas.services.deletion import delete_number_messages
from cpaas.services.stops import keep_with_owner
from cpaas.states import NumberStatus
from portal import clock
from portal.events import News
from portal.models import EndUser
from portal.problems import conflict, invalid, not_found
from portal.scoping import Actor, require_writer
from portal.services import audit


def transfer_number(
    *,
    actor: Actor | None,
    number: CpaasNumber,
    user: EndUser | None = None,
    media_stream: MediaStream | None = None,
    delete_messages: bool = False,
) -> CpaasNumber:
    """Give a number to another user or media stream of the same system provider (R23).

    All its messages go, those still waiting to be sent too, and the new user is asked for consent (R3). Hook, platform
    and settings stay, so nothing is asked of the carrier. Whom the old user blocked is forgotten; a remote's STOP stays
    (R20).

    Raises Problem `messages_exist` (409, with `message_count`) unless they may be deleted, `already_assigned`,
    `not_licensed`, `changed_meanwhile`, `invalid`, `not_found`.
    """
    require_writer(actor)
    owner = numbers.check_owner(user, media_stream)
    if owner.system_provider_id != number.system_provider_id:
        field = "user" if user else "media_stream"
        raise invalid(**{field: "A number stays with its system provider, whose platform it is on."})
    with transaction.atomic():
        row = _lock(number, user)
        if owner.pk in (row.user_id, row.media_stream_id):
            raise conflict("already_assigned", f"{row.display} is assigned to {owner} already.")
        deleted = _delete_messages(row, allowed=delete_messages)
        end_assignment(row, now := clock.now())
        before = _give(row, user, media_stream)
        begin_assignment(row, now)
        forget_blocked(row)
        keep_with_owner(row)
        _record(actor, before, row, deleted)
        news = News()
        for key in {before.user_id, row.user_id}:
            news.add(key, "number.updated", row.pk)
        news.add(before.user_id, "session.updated", before.user_id or row.pk)
        news.write()
    return row


def _lock(number: CpaasNumber, user: EndUser | None) -> CpaasNumber:
    """The number, after both users. Raises Problem when it went to somebody else in between."""
    numbers.lock_licensed(user, number.user)
    row = numbers.lock_number(number)
    if row.status == NumberStatus.REMOVING:
        raise not_found("CPaaS number")
    if (row.user_id, row.media_stream_id) != (number.user_id, number.media_stream_id):
        raise conflict("changed_meanwhile", "Somebody else transferred this number just now. Look and try again.")
    return row


def _delete_messages(row: CpaasNumber, *, allowed: bool) -> int:
    count = numbers.message_counts([row])[row.pk]
    if count and not allowed:
        what = "a saved message" if count == 1 else f"{count} saved messages"
        sentence = f"{row.display} has {what}, which a transfer deletes. Confirm that."
        raise conflict("messages_exist", sentence, message_count=count)
    return delete_number_messages(row)


def _give(row: CpaasNumber, user: EndUser | None, media_stream: MediaStream | None) -> CpaasNumber:
    """Set the new owner and a new opt-in cycle; returns the number as it was."""
    before = CpaasNumber.objects.select_related("user", "media_stream").get(pk=row.pk)
    owner: Any = user or media_stream
    row.user, row.media_stream = user, media_stream
    row.group_id, row.reseller_id, row.system_provider_id = owner.group_id, owner.reseller_id, owner.system_provider_id
    row.opt_in_state = numbers.first_opt_in_state(row.platform, media_stream)
    row.opt_in_at, row.opt_in_cycle = None, row.opt_in_cycle + 1
    row.save()
    return before


def _record(actor: Actor | None, before: CpaasNumber, row: CpaasNumber, deleted: int) -> None:
    """In the trail of the group that gave the number and of the one that got it; neither reads the other's names."""
    old, new = str(before.user or before.media_stream), str(row.user or row.media_stream)
    if before.group_id == row.group_id:
        audit.record(actor, "transfer", row, before={"owner": old, "messages": deleted}, after={"owner": new})
        return
    elsewhere = {"owner": "another group"}
    audit.record(actor, "transfer", before, before={"owner": old, "messages": deleted}, after=elsewhere)
    audit.record(actor, "transfer", row, before=elsewhere, after={"owner": new})
