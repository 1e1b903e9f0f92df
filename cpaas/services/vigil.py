"""Dispatchers watch each other: each keeps a lease as its sign of life, and what a dead one was sending becomes
`unknown`, because the carrier may have taken it (R32)."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from cpaas.models import Attempt, Conversation
from cpaas.services.attempts import move_attempt
from cpaas.states import MessageStatus
from portal import clock
from portal.events import News
from portal.models import Lease
from portal.residents import leases

_PREFIX = "sms-dispatcher:"
_FORGET_AFTER = timedelta(hours=1)


def sign_of_life(claim: uuid.UUID, holder: str) -> None:
    """Say that the dispatcher `claim` lives for another lease time."""
    name = f"{_PREFIX}{claim}"
    if not leases.renew([name], holder, settings.LEASE_TTL_S):
        leases.acquire(name, holder, settings.LEASE_TTL_S)


def sign_off(claim: uuid.UUID) -> None:
    """The dispatcher ended in order."""
    Lease.objects.filter(name=f"{_PREFIX}{claim}").delete()


def abandon_texts_of_the_dead() -> int:
    """Make `unknown` what dispatchers without a sign of life were sending; returns how many texts."""
    signs = Lease.objects.filter(name__startswith=_PREFIX)
    signs.filter(deadline__lt=Now() - _FORGET_AFTER).delete()
    living = [
        uuid.UUID(name.removeprefix(_PREFIX))
        for name in signs.filter(deadline__gte=Now()).values_list("name", flat=True)
    ]
    # Younger ones may belong to a dispatcher whose first sign is on its way.
    old = clock.now() - timedelta(seconds=settings.LEASE_TTL_S)
    dead = Attempt.objects.filter(status=MessageStatus.SENDING, sending_at__lt=old).exclude(claim__in=living)
    return sum(_abandon(key, conversation) for key, conversation in dead.values_list("pk", "conversation_id")[:500])


def _abandon(attempt_id: uuid.UUID, conversation_id: uuid.UUID) -> bool:
    with transaction.atomic():
        conversation = Conversation.objects.select_for_update().filter(pk=conversation_id).first()
        attempt = Attempt.objects.filter(pk=attempt_id, status=MessageStatus.SENDING).first()
        if conversation is None or attempt is None:
            return False
        news = News()
        sentence = "It is not known whether the carrier took this text."
        moved = move_attempt(attempt, MessageStatus.UNKNOWN, news, error_text=sentence)
        conversation.outbox_at = clock.now()
        conversation.save(update_fields=["outbox_at"])
        news.write()
    return moved
