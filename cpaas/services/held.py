"""Texts held while a number may not be used, delivered as new once it may (R8)."""

from __future__ import annotations

from django.db.models import Count, Max

from cpaas.models import Conversation, CpaasNumber, Message
from cpaas.states import OPT_IN_USABLE, MessageStatus, NumberStatus
from portal.events import News
from portal.models import EndUser


def deliver_held(number: CpaasNumber, news: News) -> int:
    """Turn the held texts of a number into received ones; returns how many. Runs in the caller's transaction."""
    held = Message.objects.filter(number=number, status=MessageStatus.HELD)
    per_conversation = list(held.values("conversation_id").annotate(count=Count("pk"), last=Max("created_at")))
    message_ids = list(held.order_by("position").values_list("pk", flat=True))
    if not message_ids:
        return 0
    held.update(status=MessageStatus.RECEIVED)
    for row in per_conversation:
        conversation = Conversation.objects.select_for_update().get(pk=row["conversation_id"])
        conversation.new_count += row["count"]
        conversation.last_message_at = max(conversation.last_message_at or row["last"], row["last"])
        conversation.last_received_at = max(conversation.last_received_at or row["last"], row["last"])
        conversation.save(update_fields=["new_count", "last_message_at", "last_received_at"])
        news.add(number.user_id, "conversation.updated", conversation.pk)
    for message_id in message_ids:
        news.add(number.user_id, "message.created", message_id)
    return len(message_ids)


def deliver_held_of_user(user: EndUser) -> None:
    """A licence that is back delivers what was held for want of it (R8). Runs in the caller's transaction."""
    if not (user.is_licensed and user.is_active):
        return
    news = News()
    usable = CpaasNumber.objects.filter(user=user, status=NumberStatus.ENABLED, opt_in_state__in=OPT_IN_USABLE)
    for number in usable.select_for_update():
        deliver_held(number, news)
    news.write()
