"""Texts of a restored database: what waited at the time of the backup may have gone out since (R32)."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce

from cpaas.models import Attempt, Conversation
from cpaas.services.attempts import lock_conversations, move_attempt
from cpaas.states import MessageStatus
from portal.events import News

_SENTENCE = "The database was restored; it is not known whether the carrier took this text before."


def doubt_waiting_texts() -> int:
    """Make `unknown` what was queued or being sent at the time of the backup; returns how many texts.

    They are never sent again by themselves, and the carrier is asked about each. Nobody may be sending meanwhile.
    """
    waiting = Attempt.objects.filter(status__in=(MessageStatus.QUEUED, MessageStatus.SENDING))
    conversations = list(waiting.order_by().values_list("conversation_id", flat=True).distinct())
    return sum(map(_doubt, conversations))


def _doubt(conversation_id: uuid.UUID) -> int:
    news = News()
    with transaction.atomic():
        lock_conversations(Conversation.objects.filter(pk=conversation_id))
        waiting = Attempt.objects.filter(
            conversation_id=conversation_id, status__in=(MessageStatus.QUEUED, MessageStatus.SENDING)
        )
        # All of them get a time of sending, so that a look-up does not give one record of the carrier to two texts.
        waiting.update(sending_at=Coalesce(F("sending_at"), F("created_at")))
        moved = [
            move_attempt(attempt, MessageStatus.UNKNOWN, news, error_text=_SENTENCE)
            for attempt in waiting.order_by("position")
        ]
        Conversation.objects.filter(pk=conversation_id).update(outbox_at=None)
        news.write()
    return sum(moved)
