"""Texts that went out in several messages: one fate made of several (R21)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from django.db.models import QuerySet

from cpaas.carriers.base import Receipt
from cpaas.models import Attempt, AttemptPart
from cpaas.states import MessageStatus, may_become


def keep_parts(*, attempt_id: uuid.UUID, platform_id: uuid.UUID, sids: Sequence[str]) -> None:
    """Remember the ids of an attempt's messages, in the transaction that stores that they were taken."""
    AttemptPart.objects.bulk_create(
        AttemptPart(attempt_id=attempt_id, platform_id=platform_id, n=n, sid=sid) for n, sid in enumerate(sids, 1)
    )


def attempt_of_part(platform_id: uuid.UUID, sid: str) -> Attempt | None:
    """The attempt that the message `sid` is a part of."""
    part = AttemptPart.objects.filter(platform_id=platform_id, sid=sid).select_related("attempt").first()
    return part.attempt if part else None


def whole_receipt(attempt: Attempt, receipt: Receipt) -> Receipt:
    """What `receipt`, which is about one part, means for the attempt: one part failed is failed, all delivered is
    delivered, anything else is on its way.

    Runs in the caller's transaction and locks the attempt, so that of two last parts one sees the other.
    """
    if attempt.part_count == 1 or receipt.status is None:
        return receipt
    Attempt.objects.select_for_update().get(pk=attempt.pk)
    parts: QuerySet[AttemptPart] = AttemptPart.objects.filter(attempt=attempt)
    parts.filter(sid=receipt.sid, status__in=may_become(receipt.status)).update(status=receipt.status)
    fates = set(parts.values_list("status", flat=True))
    if MessageStatus.FAILED in fates:
        return replace(receipt, sid=attempt.sid, status="failed")
    if MessageStatus.UNDELIVERED in fates:
        return replace(receipt, sid=attempt.sid, status="undelivered")
    if fates == {MessageStatus.DELIVERED}:
        return replace(receipt, sid=attempt.sid, status="delivered")
    return Receipt(attempt.sid, "sent", receipt.word)


def open_parts(attempt: Attempt) -> list[str]:
    """The ids of the messages whose fate is not known yet; of an attempt in one message its own id."""
    if attempt.part_count == 1:
        return [attempt.sid]
    parts = AttemptPart.objects.filter(attempt=attempt, status=MessageStatus.SENT)
    return list(parts.order_by("n").values_list("sid", flat=True))
