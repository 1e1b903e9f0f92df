"""A restored database: what waited at the time of its backup may have gone out since (R32), and files that came after
it have no row."""

from __future__ import annotations

import uuid

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce

from cpaas.models import Attachment, Attempt, Conversation
from cpaas.models.attachments import FOLDER
from cpaas.services.attempts import lock_conversations, move_attempt
from cpaas.states import MessageStatus
from portal.events import News
from portal.scoping import parse_id

_SENTENCE = "The database was restored; it is not known whether the carrier took this text before."


def doubt_waiting_texts() -> int:
    """Make `unknown` what was queued or being sent at the time of the backup; returns how many texts.

    They are never sent again by themselves, and the carrier is asked about each. Nobody may be sending meanwhile.
    """
    waiting = Attempt.objects.filter(status__in=(MessageStatus.QUEUED, MessageStatus.SENDING))
    conversations = list(waiting.order_by().values_list("conversation_id", flat=True).distinct())
    return sum(map(_doubt, conversations))


def discard_strays() -> int:
    """Remove the files that no row knows; returns how many. Nobody may be storing any meanwhile."""
    try:
        folders, _ = default_storage.listdir(FOLDER)
    except FileNotFoundError:
        return 0
    return sum(_discard_strays_in(f"{FOLDER}/{folder}") for folder in folders)


def _discard_strays_in(folder: str) -> int:
    _, names = default_storage.listdir(folder)
    by_row = {name: parse_id(name.partition(".")[0]) for name in names}
    known = set(
        Attachment.objects.filter(pk__among={key for key in by_row.values() if key}).values_list("pk", flat=True)
    )
    strays = [name for name, key in by_row.items() if key not in known]
    for name in strays:
        default_storage.delete(f"{folder}/{name}")
    return len(strays)


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
