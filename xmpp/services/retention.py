"""Retention: instant messages are kept as long as texts, from when they were sent or came in (R18)."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Exists, OuterRef

from portal import clock
from portal.logs import get_logger
from xmpp.models import ArchivedStanza, ImConversation, ImMessage, ImParticipant, ImReceiver, XmppDelivery
from xmpp.services.seeing import newest_shown, shown_messages

logger = get_logger(__name__)
BATCH = 1_000


@dataclass
class ImPurgeReport:
    """What a purge removed, or with `dry_run` would remove."""

    instant_messages: int = 0
    im_conversations: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def purge(*, as_of: datetime | None = None, dry_run: bool = False, batch: int = BATCH) -> ImPurgeReport:
    """Remove instant messages that are older than they may be at `as_of` (now), a batch per transaction, and the
    conversations in which nothing is left. Safe to interrupt and to run twice at once."""
    kept_since = (as_of or clock.now()) - timedelta(days=settings.RETENTION_DAYS)
    old = ImMessage.objects.filter(created_at__lt=kept_since)
    if dry_run:
        return ImPurgeReport(old.count(), _count_emptied(kept_since))
    report = ImPurgeReport()
    while found := list(old.order_by("created_at").values_list("pk", "conversation_id")[:batch]):
        _purge_batch([key for key, _ in found], {key for _, key in found}, report)
    logger.info("purged_im", **report.as_dict())
    return report


def _count_emptied(before: datetime) -> int:
    messages = ImMessage.objects.filter(conversation=OuterRef("pk"))
    has_old, has_young = Exists(messages.filter(created_at__lt=before)), Exists(messages.filter(created_at__gte=before))
    return ImConversation.objects.filter(has_old).exclude(has_young).count()


def _purge_batch(message_ids: list[uuid.UUID], conversation_ids: Collection[uuid.UUID], report: ImPurgeReport) -> None:
    with transaction.atomic():
        # Locked first, as by everybody who adds or reads messages.
        rows = ImConversation.objects.filter(pk__among=list(conversation_ids)).order_by("pk")
        conversations = list(rows.select_for_update().values_list("pk", flat=True))
        for model in (ArchivedStanza, XmppDelivery, ImReceiver):
            model._base_manager.filter(message__among=message_ids)._raw_delete(DEFAULT_DB_ALIAS)
        messages = ImMessage.objects.filter(pk__among=message_ids)
        report.instant_messages += messages._raw_delete(DEFAULT_DB_ALIAS)
        left = ImMessage.objects.filter(conversation=OuterRef("pk"))
        empty = ImConversation.objects.filter(~Exists(left), pk__among=conversations)
        gone = list(empty.values_list("pk", flat=True))
        empty.filter(pk__among=gone).delete()
        report.im_conversations += len(gone)
        _settle(set(conversations) - set(gone))


def _settle(conversation_ids: Collection[uuid.UUID]) -> None:
    """What is new can be no more than what is left, and who sees nothing of it has no conversation to see any more."""
    rows = ImParticipant.objects.filter(conversation__among=list(conversation_ids), user__isnull=False)
    rows.filter(~Exists(newest_shown())).update(last_message_at=None, new_count=0)
    for row in rows.filter(new_count__gt=0).select_related("user"):
        assert row.user is not None
        received = shown_messages(row.user).filter(conversation=row.conversation_id).exclude(sender=row.user)
        left = len(received.values_list("pk")[: row.new_count])
        ImParticipant.objects.filter(pk=row.pk, new_count__gt=left).update(new_count=left)
