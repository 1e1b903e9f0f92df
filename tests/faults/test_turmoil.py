"""Nothing is lost, sent twice or miscounted while everybody does everything to the same numbers at once."""

from __future__ import annotations

import pytest
from django.db.models import Count, F, Max, Q

from cpaas.models import Attempt, Conversation, CpaasNumber, Message
from cpaas.states import OPT_IN_USABLE
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from portal.models import Event, EventStream
from portal.tests.factories import EndUserFactory
from tests.faults.turmoil import Turmoil

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fault, pytest.mark.core]
RUSH_S = 10


def test_nobody_gets_an_error_and_every_count_is_right() -> None:
    """R8, R21, R32, R35: services of one number, its conversations and its user, all at the same time."""
    platform = CpaasPlatformFactory(options={"per_number_per_minute": 100_000, "per_number_per_day": 1_000_000})
    users = [EndUserFactory(group__reseller__system_provider=platform.system_provider) for _ in range(2)]
    tns = [CpaasNumberFactory(platform=platform, user=user).number for user in users for _ in range(2)]
    turmoil = Turmoil(platform, users, tns)
    turmoil.rush(RUSH_S)
    assert not turmoil.errors, turmoil.errors
    assert not turmoil.doubled
    assert not _conversations_that_miscount()
    assert not _messages_that_show_another_attempt()
    assert not _usable_numbers_with_held_texts()
    assert not Attempt.objects.exclude(conversation_id__in=Conversation.objects.values("pk")).exists()
    turmoil.send_what_waits()
    assert not turmoil.doubled
    for stream in EventStream.objects.all():
        found = Event.objects.filter(user_id=stream.user_id).order_by("number").values_list("number", flat=True)
        assert list(found) == list(range(1, stream.last_id + 1))


def _conversations_that_miscount() -> list[Conversation]:
    unread = Q(messages__status="received", messages__position__gt=F("read_position"))
    counted = Conversation.objects.annotate(
        texts=Count("messages"), unread=Count("messages", filter=unread), last=Max("messages__position")
    )
    right = Q(message_count=F("texts"), new_count=F("unread"), last_position__gte=F("last"))
    return list(counted.exclude(right))


def _messages_that_show_another_attempt() -> list[tuple[str, list[str]]]:
    """A message shows its newest attempt, and `delivered` of any (R21)."""
    wrong = []
    for message in Message.objects.filter(direction="out").prefetch_related("attempts"):
        states = [attempt.status for attempt in sorted(message.attempts.all(), key=lambda attempt: attempt.n)]
        if message.status != ("delivered" if "delivered" in states else states[-1]):
            wrong.append((message.status, states))
    return wrong


def _usable_numbers_with_held_texts() -> list[CpaasNumber]:
    usable = CpaasNumber.objects.filter(status="enabled", opt_in_state__in=OPT_IN_USABLE)
    return list(usable.filter(user__is_active=True, messages__status="held").exclude(user__licence="none").distinct())
