"""Moving attempts, and with them their message, forward (R21).

Locks are always taken in the order number, conversation, attempt, message, event stream, and several rows of a kind by
their keys, so that writers cannot deadlock.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from cpaas.models import Attempt, Conversation, Message
from cpaas.states import MessageStatus, may_become
from portal import clock
from portal.events import News

_FAILED = (MessageStatus.FAILED, MessageStatus.UNDELIVERED)
# What is wrong with a text although it was taken.
_NOTES = ("truncated",)


def move_attempt(
    attempt: Attempt,
    status: str,
    news: News,
    *,
    error_code: str = "",
    error_text: str = "",
    sid: str = "",
    claim: uuid.UUID | None = None,
    more: Mapping[str, Any] | None = None,
) -> bool:
    """Move `attempt` forward to `status`; False when that would be a step back or `claim` no longer stands.

    An error is only ever added, never erased by a later word. `more` are further columns to write with it. Runs in the
    caller's transaction.
    """
    changes: dict[str, Any] = {"status": status, "changed_at": clock.now(), **(more or {})}
    if error_code or error_text:
        changes |= {"error_code": error_code[:60], "error_text": error_text[:300]}
    if sid:
        changes["sid"] = sid
    if status == MessageStatus.UNKNOWN:
        changes["next_check_at"] = check_time(attempt.sending_at or clock.now(), attempt.checks)
    rows = Attempt.objects.filter(pk=attempt.pk, status__in=may_become(status))
    if claim is not None:
        rows = rows.filter(claim=claim)
    if not rows.update(**changes):
        return False
    for name, value in changes.items():
        setattr(attempt, name, value)
    show_attempt(attempt, news)
    return True


def show_attempt(attempt: Attempt, news: News) -> None:
    """Make the message show this attempt if it is the newest or delivered; `delivered` of any attempt wins (R21)."""
    messages: QuerySet[Message] = Message.objects.filter(pk=attempt.message_id).exclude(status=MessageStatus.DELIVERED)
    # Locked before the look at newer attempts: a resend makes one under this lock.
    message = messages.select_for_update().only("user_id").first()
    if message is None:
        return
    newer = Attempt.objects.filter(message_id=attempt.message_id, n__gt=attempt.n)
    if attempt.status != MessageStatus.DELIVERED and newer.exists():
        return
    messages.update(**_shown(attempt))
    news.add(message.user_id, "message.updated", attempt.message_id)


def lock_conversations(conversations: QuerySet[Conversation]) -> list[uuid.UUID]:
    """The ids of the conversations, kept as they are now until commit, locked in the order of their keys."""
    return list(conversations.select_for_update().order_by("pk").values_list("pk", flat=True))


def check_time(sent_at: datetime, checks: int) -> datetime | None:
    """When a text of unknown fate is looked up next: 2 min, 10 min, 1 h, 24 h after the send, then never (R32)."""
    if checks >= len(settings.RECHECK_S):
        return None
    return sent_at + timedelta(seconds=settings.RECHECK_S[checks])


def _shown(attempt: Attempt) -> dict[str, Any]:
    """The message's columns that follow its shown attempt."""
    shown: dict[str, Any] = {"status": attempt.status}
    tells = attempt.status in _FAILED or attempt.error_code in _NOTES
    shown["error_code"] = attempt.error_code if tells else ""
    shown["error_text"] = attempt.error_text if tells or attempt.status == MessageStatus.UNKNOWN else ""
    if attempt.status == MessageStatus.SENT:
        shown["sent_at"] = attempt.changed_at
    if attempt.status == MessageStatus.DELIVERED:
        shown["delivered_at"] = attempt.changed_at
    return shown
