"""Delivery receipts: matched by the carrier's id, applied in any order, doubled or early without harm (S1.41, R21)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import cast

from django.db import transaction
from django.db.models import Exists, OuterRef

from cpaas.carriers.base import Receipt, ReceiptStatus
from cpaas.models import Attempt, AttemptPart, Message, ParkedReceipt
from cpaas.services.attempts import move_attempt
from cpaas.services.parts import attempt_of_part, whole_receipt
from cpaas.services.stops import stop_by_carrier
from portal import clock
from portal.events import News
from portal.scoping import parse_id
from portal.sql import execute, places

PARKED_FOR = timedelta(hours=24)
# For every batch of answers the dispatcher stores.
_PARKED = "SELECT DISTINCT sid FROM cpaas_parkedreceipt WHERE platform_id = %s AND sid IN ({places})"


def apply_receipt(*, platform_id: uuid.UUID, receipt: Receipt, news: News) -> str:
    """Apply one receipt in the caller's transaction; returns `applied`, `duplicate`, `parked` or `ignored`.

    A word we do not know changes nothing. A receipt whose id no attempt has yet is parked for 24 h; the caller then
    calls `apply_parked` after its commit, because the answer to the send may have been stored meanwhile. Both sides
    look again after their own commit, so whoever commits last sees the other.
    """
    if receipt.status is None:
        return "ignored"
    attempt = Attempt.objects.filter(platform_id=platform_id, sid=receipt.sid).first()
    attempt = attempt or attempt_of_part(platform_id, receipt.sid) or _by_reference(platform_id, receipt.reference)
    if attempt is None:
        _park(platform_id, receipt)
        return "parked"
    return "applied" if settle_attempt(attempt, receipt, news) else "duplicate"


def settle_attempt(attempt: Attempt, receipt: Receipt, news: News) -> bool:
    """Move an attempt on by a receipt for it or for one of its messages; False when that changes nothing (R21). A
    remote who told the carrier STOP has stopped the pair here too (R20).

    Runs in the caller's transaction.
    """
    whole = whole_receipt(attempt, receipt)
    if whole.status is None:
        return False
    moved = move_attempt(
        attempt, whole.status, news, error_code=whole.error_code, error_text=whole.error_text, sid=whole.sid
    )
    if moved and receipt.opted_out:
        message = Message.objects.select_related("number").get(pk=attempt.message_id)
        stop_by_carrier(
            tn=message.number.number,
            remote=message.remote,
            carrier_code=receipt.error_code or whole.status,
            message_id=message.pk,
            conversation_id=message.conversation_id,
            news=news,
        )
    return moved


def _by_reference(platform_id: uuid.UUID, reference: str) -> Attempt | None:
    """The attempt that was sent with this reference, while the answer that would tell the carrier's id is missing."""
    key = parse_id(reference)
    return Attempt.objects.filter(platform_id=platform_id, pk=key, sid="").first() if key else None


def apply_parked(platform_id: uuid.UUID, sids: Iterable[str]) -> int:
    """Apply the receipts that came before their send's answer was stored; returns how many attempts they reached."""
    reached = 0
    wanted = list(sids)
    found = execute(_PARKED.format(places=places(wanted)), [platform_id, *wanted])
    for (sid,) in sorted(found):
        attempt = Attempt.objects.filter(platform_id=platform_id, sid=sid).first()
        attempt = attempt or attempt_of_part(platform_id, sid)
        if attempt is not None:
            _apply_to(attempt, sid)
            reached += 1
    return reached


def settle_parked() -> int:
    """Apply what a crash between the two looks left parked, and forget what nobody asked for in 24 h."""
    same = {"platform_id": OuterRef("platform_id"), "sid": OuterRef("sid")}
    sent = Exists(Attempt.objects.filter(**same)) | Exists(AttemptPart.objects.filter(**same))
    found = ParkedReceipt.objects.filter(sent).values_list("platform_id", "sid")[:200]
    settled = sum(apply_parked(platform_id, [sid]) for platform_id, sid in set(found))
    ParkedReceipt.objects.filter(created_at__lt=clock.now() - PARKED_FOR).delete()
    return settled


def _park(platform_id: uuid.UUID, receipt: Receipt) -> None:
    ParkedReceipt.objects.create(
        platform_id=platform_id,
        created_at=clock.now(),
        sid=receipt.sid,
        status=receipt.status or "",
        error_code=receipt.error_code[:60],
        error_text=receipt.error_text[:300],
        opted_out=receipt.opted_out,
    )


def _apply_to(attempt: Attempt, sid: str) -> None:
    """One transaction each, because it must not update a message twice (claiming.py)."""
    for parked in ParkedReceipt.objects.filter(platform_id=attempt.platform_id, sid=sid).order_by("pk"):
        with transaction.atomic():
            news = News()
            status = cast(ReceiptStatus, parked.status)
            receipt = Receipt(sid, status, "", parked.error_code, parked.error_text, parked.opted_out)
            settle_attempt(attempt, receipt, news)
            # Only what was applied: another may have been parked meanwhile.
            ParkedReceipt.objects.filter(pk=parked.pk).delete()
            news.write()
