"""The outbox of the bridge: stanzas to send, and what became of them. States move forward only (rule 4)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from portal import clock
from portal.events import News
from xmpp.models import ImMessage, XmppDelivery
from xmpp.services.ownership import held_by
from xmpp.states import DeliveryState, MessageStatus, before

_MOST_UNFINISHED = 20_000
OPEN = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.SENT)


@dataclass(frozen=True)
class Outgoing:
    """A stanza to send from the session of an account."""

    message_id: uuid.UUID
    account_id: uuid.UUID
    to_jid: str
    text: str


def claim_queued(account_ids: Collection[uuid.UUID], *, holder: str, limit: int) -> list[Outgoing]:
    """Make queued stanzas of these accounts `sending`, oldest first, and return them. Committed before any is sent."""
    queued = XmppDelivery.objects.filter(state=DeliveryState.QUEUED, account__among=list(account_ids))
    return _claim(queued, holder=holder, limit=limit)


def claim_unfinished(account_id: uuid.UUID, *, holder: str) -> list[Outgoing]:
    """All that a session that ended left of this account: to be sent again by the new one, with the same ids.

    To be called after the archive was read: what the server has is `acked` by then.
    """
    rows = XmppDelivery.objects.filter(state__in=OPEN, account=account_id)
    return _claim(rows, holder=holder, limit=_MOST_UNFINISHED)


def release(message_ids: Collection[uuid.UUID]) -> None:
    """These were claimed and not written: they wait as before. The only step back, as nothing left us (R32)."""
    rows = XmppDelivery.objects.filter(pk__among=list(message_ids), state=DeliveryState.SENDING)
    rows.update(state=DeliveryState.QUEUED)


def _claim(rows: QuerySet[XmppDelivery], *, holder: str, limit: int) -> list[Outgoing]:
    with transaction.atomic():
        ours = rows.filter(held_by(holder, "account__slot")).order_by("pk")
        due = list(ours.values_list("pk", "account_id", "to_jid", "message__text")[:limit])
        states = [DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.SENT]
        XmppDelivery.objects.filter(pk__in=[row[0] for row in due], state__in=states).update(
            state=DeliveryState.SENDING
        )
    return [Outgoing(*row) for row in due]


def note_states(states: Iterable[tuple[uuid.UUID, DeliveryState]]) -> None:
    """What is known of stanzas by now. Late and doubled words change nothing."""
    by_state: dict[DeliveryState, list[uuid.UUID]] = {}
    for message_id, state in states:
        by_state.setdefault(state, []).append(message_id)
    with transaction.atomic():
        for state, ids in sorted(by_state.items()):
            _move(ids, state)


def _move(message_ids: Collection[uuid.UUID], state: DeliveryState) -> list[uuid.UUID]:
    rows = XmppDelivery.objects.filter(pk__among=list(message_ids), state__in=before(state))
    moved = list(rows.select_for_update().order_by("pk").values_list("pk", flat=True))
    XmppDelivery.objects.filter(pk__among=moved).update(state=state, at=clock.now())
    return moved


def note_received(message_id: uuid.UUID, from_jid: str) -> None:
    """A client of the recipient has it (XEP-0184). A receipt of anybody else says nothing."""
    if not XmppDelivery.objects.filter(pk=message_id, to_jid__iexact=from_jid).exists():
        return
    with transaction.atomic():
        _move([message_id], DeliveryState.DELIVERED)
        _settle(message_id, MessageStatus.DELIVERED, "")


def note_refused(message_id: uuid.UUID, from_jid: str, reason: str) -> None:
    """The recipient, or a server on the way, sent it back (RFC 6120 §8.3)."""
    if not XmppDelivery.objects.filter(pk=message_id, to_jid__iexact=from_jid).exists():
        return
    with transaction.atomic():
        if _move([message_id], DeliveryState.FAILED):
            _settle(message_id, MessageStatus.FAILED, reason)


def expire_queued() -> int:
    """What waited for a session for too long fails: late is worse than a red mark (R34)."""
    overdue = clock.now() - timedelta(seconds=settings.QUEUE_TTL_S)
    rows = XmppDelivery.objects.filter(state__in=(DeliveryState.QUEUED, DeliveryState.SENDING), at__lt=overdue)
    ids = list(rows.values_list("pk", flat=True)[:500])
    for message_id in ids:
        with transaction.atomic():
            if _move([message_id], DeliveryState.FAILED):
                _settle(message_id, MessageStatus.FAILED, "The message waited too long for the XMPP server.")
    return len(ids)


def _settle(message_id: uuid.UUID, status: MessageStatus, reason: str) -> None:
    """The message as its sender sees it. Carried by our own platform too, it has not failed (S0.35)."""
    rows = ImMessage.objects.filter(pk=message_id).exclude(status=status)
    if status == MessageStatus.FAILED:
        rows = rows.filter(via_own=False, status=MessageStatus.SENT)
    sender = rows.values_list("sender_id", flat=True).first()
    if rows.update(status=status, error=reason[:300]):
        news = News()
        news.add(sender, "im.updated", message_id)
        news.write()
