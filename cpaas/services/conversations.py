"""What a user does with conversations: reading them, and seeing names instead of numbers (S1.34, S1.52–S1.54)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from django.db import transaction
from django.db.models import Count, Sum, Value

from cpaas.models import BlockedParty, Conversation, CpaasNumber, Message, Stop
from cpaas.services.queueing import require_reserved
from cpaas.states import MessageStatus, NumberStatus
from portal.events import News
from portal.extensions import Holder
from portal.models import EndUser
from portal.scoping import get_visible


def mark_read(*, user: EndUser, conversation: Conversation, up_to: Message) -> Conversation:
    """Clear *new* for `up_to` and older, on every device (S1.54). Going backwards changes nothing.

    Raises Problem `not_reserved` (409): what waits for an agent is not read by who only looks (S4.3).
    """
    with transaction.atomic():
        row = get_visible(Conversation.objects.select_for_update(), user, conversation.pk)
        require_reserved(user=user, conversation=row)
        if up_to.position <= row.read_position:
            return row
        row.read_position = up_to.position
        row.new_count = Message.objects.filter(
            conversation=row, position__gt=row.read_position, status=MessageStatus.RECEIVED
        ).count()
        row.save(update_fields=["read_position", "new_count"])
        news = News()
        news.add(user.pk, "conversation.updated", row.pk)
        news.write()
    return row


def new_counts(user: EndUser) -> dict[str, int]:
    """How many conversations and messages are new (S1.52)."""
    totals = Conversation.objects.filter(user=user, new_count__gt=0).aggregate(
        conversations=Count("pk"), messages=Sum("new_count")
    )
    return {"conversations": totals["conversations"], "messages": totals["messages"] or 0}


class Standing(NamedTuple):
    """Whether a user has blocked the remote party (S4.15), and whether that party has stopped the number (R20)."""

    blocked: bool
    stopped: bool


def standings(
    conversations: Collection[Conversation], numbers: Mapping[uuid.UUID, CpaasNumber]
) -> dict[uuid.UUID, Standing]:
    """How each conversation stands, by its id; one query however many. `numbers` are theirs, by id."""
    remotes = {row.remote for row in conversations}
    blocks = BlockedParty.objects.in_force().filter(number__among=set(numbers), remote__among=remotes)
    stops = Stop.objects.filter(
        stopped=True,
        system_provider_id__among={number.system_provider_id for number in numbers.values()},
        tn__among={number.number for number in numbers.values()},
        remote__among=remotes,
    )
    found = blocks.values_list(Value("blocked"), "number__number", "remote").union(
        stops.values_list(Value("stopped"), "tn", "remote"), all=True
    )
    known = set(found)
    return {
        row.pk: Standing(*((word, numbers[row.number_id].number, row.remote) in known for word in Standing._fields))
        for row in conversations
    }


def holders_of(numbers: Collection[str]) -> Iterable[Holder]:
    """The users who have these CPaaS numbers (S1.34)."""
    rows = CpaasNumber.objects.filter(number__in=numbers, user__isnull=False)
    for number, user_id, name, group_id in rows.values_list("number", "user_id", "user__name", "group_id"):
        yield Holder(number, user_id, name, group_id)


def numbers_of_users(user_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, list[str]]:
    """The CPaaS numbers of these users, by which colleagues can text them (S1.28)."""
    found: dict[uuid.UUID, list[str]] = defaultdict(list)
    rows = CpaasNumber.objects.filter(user_id__among=list(user_ids)).exclude(status=NumberStatus.REMOVING)
    for user_id, number in rows.order_by("id").values_list("user_id", "number"):
        found[user_id].append(number)
    return found


def tell_of_name(user_id: uuid.UUID, remote: str) -> None:
    """A directory found a name for `remote`: the user's conversations with it look different now."""
    with transaction.atomic():
        news = News()
        for key in Conversation.objects.filter(number__user_id=user_id, remote=remote).values_list("pk", flat=True):
            news.add(user_id, "conversation.updated", key)
        news.write()
