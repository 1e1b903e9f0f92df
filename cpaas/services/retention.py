"""Retention: messages are kept 90 days from when they were accepted or received, then removed (S1.21, R18)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from cpaas.models import Attachment, Conversation, Message, WebhookEvent
from cpaas.services.deletion import delete_messages_of
from cpaas.services.discarding import discard_abandoned, discard_gone
from cpaas.services.exchanges import drop_exchanges
from cpaas.services.importing import forget_old
from cpaas.services.queueing import forget_gone
from portal import clock
from portal.logs import get_logger
from portal.sql import execute

logger = get_logger(__name__)
BATCH = 2_000
# By index, row by row: no batch is worth walking through a table or index that grows, nor compiling its statements.
_ROW_BY_ROW = "".join(
    f"SET LOCAL {option} = off;" for option in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")
)
Window = tuple[datetime, datetime]
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_GOES = "m.created_at > %(after)s AND m.created_at <= %(last)s"
_STAYS = f"m.conversation_id = cpaas_conversation.id AND NOT ({_GOES})"
_LOCK = f"""
    SELECT count(*) FROM (
        SELECT id FROM cpaas_conversation
        WHERE id IN (SELECT m.conversation_id FROM cpaas_message m WHERE {_GOES}) ORDER BY id {{lock}}
    ) locked
"""  # noqa: S608 - made of constants
# Before its messages: the constraint between them is looked at when the transaction ends.
_DELETE_EMPTY = f"""
    DELETE FROM cpaas_conversation
    WHERE id IN (SELECT m.conversation_id FROM cpaas_message m WHERE {_GOES})
      AND NOT EXISTS (SELECT 1 FROM cpaas_message m WHERE {_STAYS})
    RETURNING 1
"""  # noqa: S608 - made of constants
# A conversation of which only held or suppressed texts stay has nothing to see any more (R8).
_COUNT_DOWN = f"""
    UPDATE cpaas_conversation SET
        message_count = message_count - gone.messages,
        new_count = CASE WHEN new_count > 0 THEN new_count - (
            SELECT count(*) FROM cpaas_message m
            WHERE {_GOES} AND m.conversation_id = cpaas_conversation.id
              AND m.status = 'received' AND m.position > cpaas_conversation.read_position
        ) ELSE 0 END,
        last_message_at = CASE
            WHEN last_message_at > %(last)s OR EXISTS (
                SELECT 1 FROM cpaas_message m WHERE {_STAYS} AND m.status NOT IN ('held', 'suppressed', 'blocked')
            ) THEN last_message_at END
    FROM (
        SELECT m.conversation_id, count(*) AS messages FROM cpaas_message m WHERE {_GOES} GROUP BY m.conversation_id
    ) gone
    WHERE cpaas_conversation.id = gone.conversation_id
"""  # noqa: S608 - made of constants


@dataclass
class PurgeReport:
    """What a purge removed, or with `dry_run` would remove."""

    messages: int = 0
    conversations: int = 0
    webhook_events: int = 0
    attachments: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def purge(*, as_of: datetime | None = None, dry_run: bool = False, batch: int = BATCH) -> PurgeReport:
    """Remove what is older than it may be at `as_of` (now), a batch per transaction so that nobody waits for it.

    Safe to interrupt and to run twice at once. Opt-in evidence and the audit trail stay.
    """
    now = as_of or clock.now()
    kept_since = now - timedelta(days=settings.RETENTION_DAYS)
    messages = Message.objects.filter(created_at__lt=kept_since)
    calls_since = now - timedelta(days=settings.WEBHOOK_EVENT_DAYS)
    events = WebhookEvent.objects.filter(created_at__lt=calls_since)
    if dry_run:
        files = Attachment.objects.filter(message__created_at__lt=kept_since)
        return PurgeReport(messages.count(), _count_emptied(kept_since), events.count(), files.count())
    report = PurgeReport()
    # First, because among the raw events each batch of messages looks for its own.
    for window in _windows(events, batch):
        report.webhook_events += _delete_events(events.filter(**_within(window)))
    drop_exchanges(calls_since)
    for window in _windows(messages, batch):
        _purge_window(messages.filter(**_within(window)), window, report)
    forget_gone()
    forget_old()
    discard_abandoned()
    discard_gone()
    logger.info("purged", **report.as_dict())
    return report


def _count_emptied(before: datetime) -> int:
    """How many conversations hold nothing but messages from before that time."""
    messages = Message.objects.filter(conversation=OuterRef("pk"))
    has_old, has_young = Exists(messages.filter(created_at__lt=before)), Exists(messages.filter(created_at__gte=before))
    return Conversation.objects.filter(has_old).exclude(has_young).count()


def _delete_events(events: QuerySet[WebhookEvent]) -> int:
    """Those that nobody else is removing just now with their number: waiting for each other would be a deadlock."""
    with transaction.atomic():
        free = events.select_for_update(skip_locked=True).values("pk")
        return WebhookEvent.objects.filter(pk__in=free)._raw_delete(events.db)


def _windows(rows: QuerySet[Any], batch: int) -> Iterator[Window]:
    """Spans of creation times that hold about `batch` of `rows` each, oldest first.

    By time and not from the beginning again: what was just deleted stays in the index until a vacuum.
    """
    after = _EVER
    while True:
        times = rows.filter(created_at__gt=after).order_by("created_at").values_list("created_at", flat=True)
        last = next(iter(times[batch - 1 : batch]), None) or times.last()
        if last is None:
            return
        yield after, last
        after = last


def _within(window: Window) -> dict[str, datetime]:
    return {"created_at__gt": window[0], "created_at__lte": window[1]}


def _purge_window(messages: QuerySet[Message], window: Window, report: PurgeReport) -> None:
    """Remove the messages of one window; the rows never leave the database."""
    values = {"after": window[0], "last": window[1]}
    with transaction.atomic():
        if connection.vendor == "postgresql":
            execute(_ROW_BY_ROW)
        # Locked first, as everywhere (attempts.py); so nothing comes in, is read or is delivered meanwhile either.
        execute(_LOCK.format(lock="FOR UPDATE" if connection.vendor == "postgresql" else ""), values)
        report.conversations += len(execute(_DELETE_EMPTY, values))
        execute(_COUNT_DOWN, values)
        deleted = delete_messages_of(messages)
    report.messages += deleted.messages
    report.attachments += deleted.attachments
