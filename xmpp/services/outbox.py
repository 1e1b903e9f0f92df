"""The outbox of the bridge: stanzas to send, and what became of them. States move forward only (rule 4)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from portal import clock
from portal.events import News
from portal.scoping import TenantQuerySet
from portal.sql import as_uuid, execute_for
from xmpp.models import ImMessage, XmppDelivery
from xmpp.services.ownership import HELD_SQL, held_values
from xmpp.states import DeliveryState, MessageStatus, before

# Nobody else claims for these accounts meanwhile: they are the holder's.
_CLAIM = f"""
    UPDATE xmpp_xmppdelivery SET state = 'sending', at = %(now)s
    WHERE message_id IN (
        SELECT q.message_id FROM xmpp_xmppdelivery q JOIN xmpp_impaccount a ON a.user_id = q.account_id
        WHERE q.state IN ({{states}}) AND q.account_id {{among}} AND {HELD_SQL}
        ORDER BY q.message_id LIMIT %(limit)s
    )
    RETURNING message_id, account_id, to_jid, (SELECT m.text FROM xmpp_immessage m WHERE m.id = message_id)
"""  # noqa: S608 - made of constants
_CLAIMED = f"""
    SELECT d.message_id FROM xmpp_xmppdelivery d JOIN xmpp_impaccount a ON a.user_id = d.account_id
    WHERE d.account_id {{among}} AND d.state = 'sending' AND {HELD_SQL}
"""  # noqa: S608 - made of constants
# Asked at each login.
_UNFINISHED = "SELECT DISTINCT account_id FROM xmpp_xmppdelivery WHERE account_id {among} AND state IN ({states})"
_MOVE = """
    UPDATE xmpp_xmppdelivery SET state = %(state)s, at = %(at)s
    WHERE message_id {among} AND state IN ({earlier}) RETURNING message_id
"""
# Of an account.
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
    return _claim([DeliveryState.QUEUED], account_ids, holder=holder, limit=limit)


def with_unfinished(account_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of these accounts with stanzas that are not settled."""
    statement = _UNFINISHED.replace("{states}", _listed(OPEN))
    return {as_uuid(key) for (key,) in execute_for(statement, account_ids, {})}


def claim_unfinished(account_ids: Collection[uuid.UUID], *, holder: str) -> list[Outgoing]:
    """All that sessions that ended left of these accounts: to be sent again by the new ones, with the same ids.

    To be called after the archive was read: what the server has is `acked` by then.
    """
    return _claim(OPEN, account_ids, holder=holder, limit=_MOST_UNFINISHED * len(account_ids))


def release(message_ids: Collection[uuid.UUID]) -> None:
    """These were claimed and not written: they wait as before. The only step back, as nothing left us (R32)."""
    rows = XmppDelivery.objects.filter(pk__among=list(message_ids), state=DeliveryState.SENDING)
    rows.update(state=DeliveryState.QUEUED)


def release_unwritten(account_ids: Collection[uuid.UUID], *, written: Collection[uuid.UUID], holder: str) -> None:
    """What is claimed of these accounts, but for `written`, waits as before: its claim was lost on the way to us."""
    rows = execute_for(_CLAIMED, list(account_ids), held_values(holder)) if account_ids else []
    release({as_uuid(key) for (key,) in rows} - set(written))


def _claim(
    states: Sequence[DeliveryState], account_ids: Collection[uuid.UUID], *, holder: str, limit: int
) -> list[Outgoing]:
    statement = _CLAIM.replace("{states}", _listed(states))
    values = {"limit": limit, **held_values(holder)}
    rows = execute_for(statement, list(account_ids), values) if account_ids else []
    found = [Outgoing(as_uuid(key), as_uuid(account), to_jid, text) for key, account, to_jid, text in rows]
    return sorted(found, key=lambda text: text.message_id)


def _listed(states: Collection[DeliveryState]) -> str:
    """As words of a statement, for which an index with a condition on them is found."""
    return ", ".join(f"'{state}'" for state in states)


def note_states(states: Iterable[tuple[uuid.UUID, DeliveryState]]) -> None:
    """What is known of stanzas by now. Late and doubled words change nothing."""
    by_state: dict[DeliveryState, list[uuid.UUID]] = {}
    for message_id, state in states:
        by_state.setdefault(state, []).append(message_id)
    with transaction.atomic():
        for state, ids in sorted(by_state.items()):
            _move(ids, state)


def _move(message_ids: Collection[uuid.UUID], state: DeliveryState) -> int:
    """How many of these deliveries are in this state now, and were not before."""
    statement = _MOVE.replace("{earlier}", _listed(before(state)))
    return len(execute_for(statement, message_ids, {"state": state, "at": clock.now()})) if message_ids else 0


def note_received(receipts: Collection[tuple[uuid.UUID, str]]) -> None:
    """Clients of the recipients have these messages, say those with the bare JIDs beside them (XEP-0184). A receipt of
    anybody else says nothing."""
    said = set(receipts)
    rows = XmppDelivery.objects.filter(pk__among=list({key for key, _ in said}))
    ids = [key for key, jid in rows.values_list("pk", "to_jid") if (key, jid.lower()) in said]
    if not ids:
        return
    with transaction.atomic():
        _move(ids, DeliveryState.DELIVERED)
        _settle(ids, MessageStatus.DELIVERED, "")


def note_refused(message_id: uuid.UUID, from_jid: str, reason: str) -> None:
    """The recipient, or a server on the way, sent it back (RFC 6120 §8.3)."""
    if XmppDelivery.objects.filter(pk=message_id, to_jid__iexact=from_jid).exists():
        give_up(message_id, reason)


def give_up(message_id: uuid.UUID, reason: str) -> None:
    """The message did not arrive, and is not sent again."""
    with transaction.atomic():
        if _move([message_id], DeliveryState.FAILED):
            _settle([message_id], MessageStatus.FAILED, reason)


def expire(account_ids: Collection[uuid.UUID] | None = None) -> None:
    """What waited for a session for too long fails: late is worse than a red mark (R34).

    With ids, also what former sessions of these accounts sent and nobody confirmed.
    """
    late = clock.now() - timedelta(seconds=settings.QUEUE_TTL_S)
    waiting = Q(state=DeliveryState.QUEUED, message__created_at__lt=late) | Q(state=DeliveryState.SENDING, at__lt=late)
    _fail(XmppDelivery.objects.filter(waiting), "The message waited too long for the XMPP server.")
    if account_ids is not None:
        left = XmppDelivery.objects.filter(account__among=list(account_ids), message__created_at__lt=late)
        unconfirmed = left.filter(state__in=(DeliveryState.SENDING, DeliveryState.SENT))
        _fail(unconfirmed, "The connection was lost. Perhaps the message arrived.")


def _fail(rows: TenantQuerySet[XmppDelivery], reason: str) -> None:
    for message_id, state, at in list(rows.values_list("pk", "state", "at")[:500]):
        with transaction.atomic():
            # Unless it was claimed meanwhile.
            as_found = XmppDelivery.objects.filter(pk=message_id, state=state, at=at)
            if as_found.update(state=DeliveryState.FAILED, at=clock.now()):
                _settle([message_id], MessageStatus.FAILED, reason)


def _settle(message_ids: Collection[uuid.UUID], status: MessageStatus, reason: str) -> None:
    """Messages as their senders see them. What our own platform carried too has not failed (S0.35)."""
    rows = ImMessage.objects.filter(pk__among=list(message_ids)).exclude(status=status)
    if status == MessageStatus.FAILED:
        rows = rows.filter(via_own=False, status=MessageStatus.SENT)
    changed = list(rows.order_by("pk").select_for_update(no_key=True).values_list("pk", "sender_id"))
    if not changed:
        return
    ImMessage.objects.filter(pk__among=[key for key, _ in changed]).update(status=status, error=reason[:300])
    news = News()
    for key, sender_id in changed:
        news.add(sender_id, "im.updated", key)
    news.write()
