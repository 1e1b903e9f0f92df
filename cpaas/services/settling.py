"""Storing what carriers answered to sends, many at once (R32).

Locks are taken in the order conversations, attempts, messages, event streams (see attempts.py).
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction

from cpaas.carriers.base import CarrierError, Doubtful, NotTaken, Sent
from cpaas.models import Attempt, Conversation, Message
from cpaas.services.attempts import lock_conversations, move_attempt
from cpaas.services.claiming import Claimed
from cpaas.services.receipts import apply_parked
from cpaas.states import MessageStatus
from portal import clock
from portal.events import News
from portal.sql import as_uuid, execute, execute_for, execute_prepared

_FIRST_BACK_OFF_S = 5
_LONGEST_BACK_OFF_S = 300

# A carrier's yes for many attempts in one statement: `claim` keeps a dispatcher that woke up late from writing, the
# states keep it from going back.
_SENT_ATTEMPTS = """
    WITH answered (id, sid) AS ({answered})
    UPDATE cpaas_attempt SET status = 'sent', sid = answered.sid, changed_at = %(now)s
    FROM answered
    WHERE cpaas_attempt.id = answered.id AND cpaas_attempt.claim = %(claim)s
      AND cpaas_attempt.status IN ('queued', 'sending', 'unknown')
    RETURNING cpaas_attempt.message_id
"""
_SENT_ATTEMPTS_BY_ARRAYS = _SENT_ATTEMPTS.format(answered="SELECT * FROM unnest(%(ids)s::uuid[], %(sids)s::text[])")
# Only while its newest attempt is the one that was sent, and none was delivered (R21).
_SENT_MESSAGES = """
    UPDATE cpaas_message SET status = 'sent', sent_at = %(now)s, error_code = '', error_text = ''
    WHERE id {among} AND status IN ('queued', 'sending', 'unknown') AND 'sent' = (
        SELECT newest.status FROM cpaas_attempt newest
        WHERE newest.message_id = cpaas_message.id ORDER BY newest.n DESC LIMIT 1
    ) RETURNING id, user_id
"""
# What the conversation does next: leave alone what somebody else is sending, else go on with what waits.
_NEXT = """
    UPDATE cpaas_conversation SET outbox_at = CASE
        WHEN EXISTS (SELECT 1 FROM cpaas_attempt a WHERE a.conversation_id = cpaas_conversation.id
                     AND a.status = 'sending') THEN outbox_at
        WHEN EXISTS (SELECT 1 FROM cpaas_attempt a WHERE a.conversation_id = cpaas_conversation.id
                     AND a.status = 'queued') THEN %(now)s
        ELSE NULL END
    WHERE id {among}
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one claimed text: the carrier's yes, or the error that says how sure its no is."""

    claimed: Claimed
    answer: Sent | CarrierError


def store_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Store the answers one dispatcher got in one transaction, free their conversations, then apply early receipts."""
    with transaction.atomic():
        conversations = sorted({outcome.claimed.conversation_id for outcome in outcomes})
        lock_conversations(Conversation.objects.filter(pk__in=conversations))
        news = News()
        _store_sent([outcome for outcome in outcomes if isinstance(outcome.answer, Sent)], news)
        retries = {}
        for outcome in outcomes:
            if not isinstance(outcome.answer, Sent):
                wait = _store_error(outcome.claimed, outcome.answer, news)
                if wait is not None:
                    retries[outcome.claimed.conversation_id] = clock.now() + wait
        free = [key for key in conversations if key not in retries]
        if free:
            execute_for(_NEXT, free, {"now": clock.now()})
        for conversation_id, at in retries.items():
            Conversation.objects.filter(pk=conversation_id).update(outbox_at=at)
        news.write()
    _apply_early_receipts(outcomes)


def _store_sent(outcomes: Sequence[Outcome], news: News) -> None:
    if not outcomes:
        return
    now = clock.now()
    moved = _store_sids(outcomes, {"now": now, "claim": outcomes[0].claimed.claim})
    messages = [as_uuid(row[0]) for row in moved]
    if messages:
        for message_id, user_id in execute_for(_SENT_MESSAGES, messages, {"now": now}):
            news.add(as_uuid(user_id) if user_id else None, "message.updated", as_uuid(message_id))


def _store_sids(outcomes: Sequence[Outcome], values: Mapping[str, object]) -> list[tuple[Any, ...]]:
    answered = [(each.claimed.attempt_id, each.answer.sid[:100]) for each in outcomes if isinstance(each.answer, Sent)]
    answered.sort()
    if connection.vendor == "postgresql":
        ids, sids = zip(*answered, strict=True)
        return execute_prepared(_SENT_ATTEMPTS_BY_ARRAYS, {**values, "ids": list(ids), "sids": list(sids)})
    pairs = {
        f"{name}{n}": value for n, pair in enumerate(answered) for name, value in zip(("id", "sid"), pair, strict=True)
    }
    rows = ", ".join(f"(%(id{n})s, %(sid{n})s)" for n in range(len(answered)))
    return execute(_SENT_ATTEMPTS.format(answered=f"VALUES {rows}"), {**values, **pairs})


def _store_error(claimed: Claimed, error: CarrierError, news: News) -> timedelta | None:
    """Store a no; returns how long to wait when the text may be tried again, None when this attempt is over."""
    if isinstance(error, NotTaken):
        wait = _back_to_queue(claimed, error)
        if wait is not None:
            return wait
    # A text that was not taken and was given up for `unknown` meanwhile has failed for certain.
    status = MessageStatus.UNKNOWN if isinstance(error, Doubtful) else MessageStatus.FAILED
    attempt = Attempt.objects.filter(pk=claimed.attempt_id).first()
    if attempt is not None:
        code = error.code or ("refused" if status == MessageStatus.FAILED else "")
        move_attempt(attempt, status, news, error_code=code, error_text=error.detail, claim=claimed.claim)
    return None


def _back_to_queue(claimed: Claimed, error: NotTaken) -> timedelta | None:
    """The one step back there is: the carrier surely has not taken it, and the claim is still ours."""
    back = Attempt.objects.filter(pk=claimed.attempt_id, claim=claimed.claim, status=MessageStatus.SENDING).update(
        status=MessageStatus.QUEUED,
        claim=None,
        changed_at=clock.now(),
        error_code=error.code[:60],
        error_text=error.detail[:300],
    )
    if not back:
        return None
    Message.objects.filter(pk=claimed.message_id, status=MessageStatus.SENDING).update(status=MessageStatus.QUEUED)
    seconds = min(_FIRST_BACK_OFF_S * 2 ** min(claimed.tries - 1, 10), _LONGEST_BACK_OFF_S)
    return timedelta(seconds=max(seconds, min(error.retry_after_s or 0, _LONGEST_BACK_OFF_S)))


def _apply_early_receipts(outcomes: Iterable[Outcome]) -> None:
    sids: dict[uuid.UUID, list[str]] = defaultdict(list)
    for outcome in outcomes:
        if isinstance(outcome.answer, Sent):
            sids[outcome.claimed.platform_id].append(outcome.answer.sid)
    for platform_id, found in sids.items():
        apply_parked(platform_id, found)
