"""Texts held while a number may not be used, delivered as new once it may (R8)."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet

from cpaas.models import Conversation, CpaasNumber, Message
from cpaas.services.attempts import lock_conversations
from cpaas.services.queueing import enqueue
from cpaas.states import OPT_IN_USABLE, MessageStatus, NumberStatus
from portal.events import News
from portal.models import EndUser, Licence


def deliver_held(number: CpaasNumber, news: News) -> int:
    """Turn the held texts of a number into received ones; returns how many. Runs in the caller's transaction."""
    held = Message.objects.filter(number=number, status=MessageStatus.HELD)
    locked = lock_conversations(Conversation.objects.filter(pk__in=held.values("conversation_id")))
    new = Count("pk", filter=Q(position__gt=F("conversation__read_position")))
    rows = held.values("conversation_id").annotate(new=new, last=Max("created_at"))
    found = {row["conversation_id"]: row for row in rows}
    messages = list(held.order_by("position").values_list("pk", "user_id"))
    held.update(status=MessageStatus.RECEIVED)
    for conversation in Conversation.objects.filter(pk__in=locked).order_by("pk"):
        last = found[conversation.pk]["last"]
        conversation.new_count += found[conversation.pk]["new"]
        conversation.last_message_at = max(conversation.last_message_at or last, last)
        conversation.last_received_at = max(conversation.last_received_at or last, last)
        conversation.save(update_fields=["new_count", "last_message_at", "last_received_at"])
        news.add(conversation.user_id, "conversation.updated", conversation.pk)
        if number.media_stream_id and conversation.user_id is None:
            enqueue(media_stream_id=number.media_stream_id, conversation_id=conversation.pk, since=last)
    for message_id, user_id in messages:
        news.add(user_id, "message.created", message_id)
    return len(messages)


def look_again(number_id: uuid.UUID) -> None:
    """Call after the commit of a held text: what it waits for may have come while it was being stored.

    A statement sees the licence as it was when it began. Both sides look again after their own commit, so whoever
    commits last sees the other.
    """
    found = CpaasNumber.objects.select_related("user").filter(pk=number_id)
    number = found.first()
    if number is None or not number.is_usable:
        return
    with transaction.atomic():
        number = found.select_for_update(of=("self",)).first()
        if number is not None and number.is_usable:
            news = News()
            deliver_held(number, news)
            news.write()


def deliver_held_of_user(user: EndUser) -> None:
    """A licence that is back delivers what was held for want of it (R8). Runs in the caller's transaction, and looks
    again after it: a number that came meanwhile could not be seen, nor could its texts see the licence."""
    if not (user.is_licensed and user.is_active):
        return
    transaction.on_commit(lambda: _deliver_overlooked(CpaasNumber.objects.filter(user_id=user.pk)), robust=True)
    news = News()
    # All of them, whatever their state: one that becomes usable at this moment is waited for.
    for number in CpaasNumber.objects.filter(user=user).order_by("number").select_for_update():
        if number.is_usable:
            deliver_held(number, news)
    news.write()


def deliver_overlooked() -> int:
    """The sweep behind all looking again: a process may be killed between its commit and its look. Returns how many
    numbers had texts to deliver."""
    return _deliver_overlooked(CpaasNumber.objects.all())


def _deliver_overlooked(numbers: QuerySet[CpaasNumber]) -> int:
    licensed = Q(user=None) | Q(user__is_active=True) & ~Q(user__licence=Licence.NONE)
    usable = numbers.filter(licensed, status=NumberStatus.ENABLED, opt_in_state__in=OPT_IN_USABLE)
    held = Message.objects.filter(number=OuterRef("pk"), status=MessageStatus.HELD)
    overlooked = list(usable.filter(Exists(held)).values_list("pk", flat=True))
    for number_id in overlooked:
        look_again(number_id)
    return len(overlooked)
