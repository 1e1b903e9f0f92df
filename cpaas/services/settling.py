"""Storing what carriers answered to sends, many at once (R32).

Locks are taken in the order conversations, attempts, messages, event streams (see attempts.py).
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from cpaas.carriers.base import CarrierError, Doubtful, NotTaken, Refused, Sent
from cpaas.carriers.registry import get_carrier
from cpaas.models import Attempt, Conversation, Message
from cpaas.services.attempts import check_time, lock_conversations, move_attempt
from cpaas.services.claiming import Claimed
from cpaas.services.exchanges import Said, quotes, store_said
from cpaas.services.parts import keep_parts
from cpaas.services.receipts import apply_parked
from cpaas.services.stops import stop_by_carrier
from cpaas.services.sweeping import LONGEST_PAUSE
from cpaas.states import MessageStatus
from portal import clock
from portal.events import News
from portal.sql import as_uuid, execute, execute_for, execute_prepared

_FIRST_BACK_OFF_S = 5
_LONGEST_BACK_OFF_S = 300

# A carrier's yes for many attempts in one statement: `claim` keeps a dispatcher that woke up late from writing, the
# states keep it from going back.
_SENT_ATTEMPTS = """
    WITH answered (id, sid, check_at) AS ({answered})
    UPDATE cpaas_attempt SET status = 'sent', sid = answered.sid, changed_at = %(now)s,
        next_check_at = answered.check_at
    FROM answered
    WHERE cpaas_attempt.id = answered.id AND cpaas_attempt.claim = %(claim)s
      AND cpaas_attempt.status IN ('queued', 'sending', 'unknown')
    RETURNING cpaas_attempt.message_id
"""
_SENT_ATTEMPTS_BY_ARRAYS = _SENT_ATTEMPTS.format(
    answered="SELECT * FROM unnest(%(ids)s::uuid[], %(sids)s::text[], %(checks)s::timestamptz[])"
)
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
    """What became of one claimed text: the carrier's yes, or the error that says how sure its no is.

    `said` is what passed between us and the carrier.
    """

    claimed: Claimed
    answer: Sent | CarrierError
    said: tuple[Said, ...] = ()


def store_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Store the answers one dispatcher got in one transaction, free their conversations, then apply early receipts."""
    with transaction.atomic():
        conversations = sorted({outcome.claimed.conversation_id for outcome in outcomes})
        lock_conversations(Conversation.objects.filter(pk__in=conversations))
        news = News()
        store_said([(outcome.claimed.attempt_id, said) for outcome in outcomes for said in outcome.said])
        _store_sent([outcome for outcome in outcomes if _is_plain(outcome.answer)], news)
        retries = {}
        for outcome in outcomes:
            if isinstance(outcome.answer, Sent):
                if not _is_plain(outcome.answer):
                    _store_with_parts(outcome.claimed, outcome.answer, news)
            else:
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


def _is_plain(answer: Sent | CarrierError) -> bool:
    """A yes to one message with nothing else to say, as nearly all are."""
    return isinstance(answer, Sent) and not answer.parts and not answer.note


def _store_with_parts(claimed: Claimed, answer: Sent, news: News) -> None:
    """A text that went out in several messages, or of which the carrier took not all."""
    attempt = Attempt.objects.filter(pk=claimed.attempt_id).first()
    if attempt is None:
        return
    more = {"part_count": max(len(answer.parts), 1), "next_check_at": _first_check(claimed)}
    said = {"error_code": answer.code, "error_text": answer.note}
    status = MessageStatus.SENT
    moved = move_attempt(attempt, status, news, sid=answer.sid, claim=claimed.claim, more=more, **said)
    if moved and answer.parts:
        keep_parts(attempt_id=attempt.pk, platform_id=claimed.platform_id, sids=answer.parts)


def _first_check(claimed: Claimed) -> datetime | None:
    """When to ask for a text's fate, where the carrier may never tell it (facts 2.6)."""
    return check_time(clock.now(), 0) if get_carrier(claimed.carrier).receipts_get_lost else None


def _store_sids(outcomes: Sequence[Outcome], values: Mapping[str, object]) -> list[tuple[Any, ...]]:
    answered = [
        (each.claimed.attempt_id, each.answer.sid[:100], _first_check(each.claimed))
        for each in outcomes
        if isinstance(each.answer, Sent)
    ]
    answered.sort()
    if connection.vendor == "postgresql":
        ids, sids, checks = zip(*answered, strict=True)
        arrays = {"ids": list(ids), "sids": list(sids), "checks": list(checks)}
        return execute_prepared(_SENT_ATTEMPTS_BY_ARRAYS, {**values, **arrays})
    names = ("id", "sid", "check_at")
    columns = {f"{name}{n}": value for n, row in enumerate(answered) for name, value in zip(names, row, strict=True)}
    rows = ", ".join(f"(%(id{n})s, %(sid{n})s, %(check_at{n})s)" for n in range(len(answered)))
    return execute(_SENT_ATTEMPTS.format(answered=f"VALUES {rows}"), {**values, **columns})


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
        move_attempt(attempt, status, news, error_code=code, error_text=_words(claimed, error), claim=claimed.claim)
    if isinstance(error, Refused) and error.opted_out:
        _learn_stop(claimed, error, news)
    return None


def _words(claimed: Claimed, error: CarrierError) -> str:
    """What the carrier said, unless it quotes the text: an error is shown to more people than the text, and stands in
    tickets for longer (R18)."""
    if quotes(error.detail, claimed.text.text):
        return "The carrier's own words quote the text, so they are left out."
    return error.detail


def _learn_stop(claimed: Claimed, error: Refused, news: News) -> None:
    stop_by_carrier(
        tn=claimed.text.from_number,
        remote=claimed.text.to_number,
        carrier_code=error.code or "refused",
        message_id=claimed.message_id,
        conversation_id=claimed.conversation_id,
        news=news,
    )


def _back_to_queue(claimed: Claimed, error: NotTaken) -> timedelta | None:
    """The one step back there is: the carrier surely has not taken it, and the claim is still ours."""
    back = Attempt.objects.filter(pk=claimed.attempt_id, claim=claimed.claim, status=MessageStatus.SENDING).update(
        status=MessageStatus.QUEUED,
        claim=None,
        changed_at=clock.now(),
        error_code=error.code[:60],
        error_text=_words(claimed, error)[:300],
    )
    if not back:
        return None
    Message.objects.filter(pk=claimed.message_id, status=MessageStatus.SENDING).update(status=MessageStatus.QUEUED)
    seconds = min(_FIRST_BACK_OFF_S * 2 ** min(claimed.tries - 1, 10), _LONGEST_BACK_OFF_S)
    return max(timedelta(seconds=seconds), min(timedelta(seconds=error.retry_after_s or 0), LONGEST_PAUSE))


def _apply_early_receipts(outcomes: Iterable[Outcome]) -> None:
    sids: dict[uuid.UUID, list[str]] = defaultdict(list)
    for outcome in outcomes:
        if isinstance(outcome.answer, Sent):
            sids[outcome.claimed.platform_id] += outcome.answer.parts or (outcome.answer.sid,)
    for platform_id, found in sids.items():
        apply_parked(platform_id, found)
