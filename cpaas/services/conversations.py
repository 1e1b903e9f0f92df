"""What a user does with conversations: reading them, and seeing names instead of numbers (S1.34, S1.52–S1.54)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from django.db import transaction
from django.db.models import Count, Sum, Value

from cpaas.models import BlockedParty, Conversation, CpaasNumber, Message, Stop
from cpaas.services.queueing import require_reserved
from cpaas.states import MessageStatus
from portal.events import News, Viewer
from portal.models import EndUser
from portal.scoping import get_visible

# A name, and the directory that knows it.
RemoteName = tuple[str, str]


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


def remote_names(seen: Iterable[tuple[Viewer, str]]) -> dict[tuple[uuid.UUID, str], RemoteName]:
    """The names that directories know for the remote numbers these users see, by group and number (S1.34).

    Today's directory is the user's own group: mobile numbers and CPaaS numbers of its people.
    """
    wanted = {(user.group_id, remote) for user, remote in seen}
    groups, remotes = {group for group, _ in wanted}, {remote for _, remote in wanted}
    numbers = CpaasNumber.objects.filter(group_id__in=groups, number__in=remotes, user__isnull=False)
    people = EndUser.objects.filter(group_id__in=groups, mobile__in=remotes, is_active=True)
    found = [
        *numbers.values_list("group_id", "number", "user__name"),
        *people.values_list("group_id", "mobile", "name"),
    ]
    return {(group, number): (name, "group") for group, number, name in found if (group, number) in wanted}
