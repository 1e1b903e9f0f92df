"""Retention: messages are kept 90 days from when they were accepted or received, then removed (S1.21, R18)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet

from cpaas.models import Conversation, Message, WebhookEvent
from cpaas.services.attempts import lock_conversations
from cpaas.services.deletion import delete_messages_of
from cpaas.states import MessageStatus
from portal import clock
from portal.logs import get_logger

logger = get_logger(__name__)
BATCH = 5_000


@dataclass
class PurgeReport:
    """What a purge removed, or with `dry_run` would remove."""

    messages: int = 0
    conversations: int = 0
    webhook_events: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def purge(*, as_of: datetime | None = None, dry_run: bool = False, batch: int = BATCH) -> PurgeReport:
    """Remove what is older than it may be at `as_of` (now), a batch per transaction so that nobody waits for it.

    Safe to interrupt and to run twice at once. Opt-in evidence and the audit trail stay.
    """
    now = as_of or clock.now()
    messages = Message.objects.filter(created_at__lt=now - timedelta(days=settings.RETENTION_DAYS))
    events = WebhookEvent.objects.filter(created_at__lt=now - timedelta(days=settings.WEBHOOK_EVENT_DAYS))
    if dry_run:
        return PurgeReport(messages.count(), 0, events.count())
    report = PurgeReport()
    while _purge_batch(messages.order_by("created_at")[:batch], report):
        pass
    report.webhook_events += _delete_in_batches(events, batch)
    logger.info("purged", **report.as_dict())
    return report


def _purge_batch(oldest: QuerySet[Message], report: PurgeReport) -> int:
    """Remove one batch; returns how many messages were found due. Another purge may have been faster with them."""
    with transaction.atomic():
        due = dict(oldest.values_list("pk", "conversation_id"))
        if not due:
            return 0
        # Locked first, as everywhere (attempts.py); so nothing comes in, is read or is delivered meanwhile either.
        conversations = Conversation.objects.filter(pk__in=set(due.values()))
        lock_conversations(conversations)
        rows = Message.objects.filter(pk__in=list(due))
        unread = Q(status=MessageStatus.RECEIVED, position__gt=F("conversation__read_position"))
        counts = rows.order_by().values("conversation_id").annotate(all=Count("pk"), unread=Count("pk", filter=unread))
        per_conversation = list(counts)
        report.messages += delete_messages_of(rows)
        for row in per_conversation:
            conversations.filter(pk=row["conversation_id"]).update(
                message_count=F("message_count") - row["all"], new_count=F("new_count") - row["unread"]
            )
        empty = conversations.filter(messages__isnull=True)
        report.conversations += Conversation.objects.filter(pk__in=empty.values("pk"))._raw_delete(rows.db)
    return len(due)


def _delete_in_batches(rows: QuerySet[WebhookEvent], batch: int) -> int:
    deleted = 0
    while ids := list(rows.order_by("created_at").values_list("pk", flat=True)[:batch]):
        deleted += WebhookEvent.objects.filter(pk__in=ids)._raw_delete(rows.db)
    return deleted
