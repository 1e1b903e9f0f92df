"""Weeks of instant messages, written as the rows that the services would have left behind."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction

from portal import clock
from portal.ids import new_id_at
from portal.models import EndUser
from xmpp.demo.scripts import CHATS, Line
from xmpp.models import ImConversation, ImMessage, ImParticipant, ImReceiver
from xmpp.services.conversations import Party, group_key, lock_conversations, lock_group, pair_key
from xmpp.states import MessageStatus


def load_messages(users: Mapping[str, EndUser]) -> None:
    """Every chat that is not there yet."""
    ids = {login: user.pk for login, user in users.items()}
    for people, lines in CHATS.items():
        zone = users[people[0]].system_provider.time_zone
        with transaction.atomic():
            conversation = _new_conversation([ids.get(name, name) for name in people])
            if conversation is not None:
                _write(conversation, lines, ids, zone)


def _new_conversation(people: Sequence[Party]) -> ImConversation | None:
    """None when these people have one already."""
    members = [party for party in people if isinstance(party, uuid.UUID)]
    is_group = len(people) > 2
    pair = (members[0], next(party for party in people if party != members[0]))
    key = group_key(members) if is_group else pair_key(*pair)
    if ImConversation.objects.filter(key=key).exists():
        return None
    made = lock_group(members) if is_group else lock_conversations([pair])[pair]
    return ImConversation.objects.get(pk=made)


def _write(conversation: ImConversation, lines: Sequence[Line], ids: Mapping[str, uuid.UUID], zone: str) -> None:
    now = clock.now()
    at = [line.when.at(now, zone) for line in lines]
    for line, sent_at in zip(lines, at, strict=True):
        _message(conversation, line, sent_at, ids)
    for row in ImParticipant.objects.filter(conversation=conversation, user__isnull=False):
        received = [
            (line, sent_at) for line, sent_at in zip(lines, at, strict=True) if ids.get(line.sender) != row.user_id
        ]
        row.last_message_at = max(at)
        row.last_received_at = max((sent_at for _, sent_at in received), default=None)
        row.new_count = sum(line.unread for line, _ in received)
        row.save(update_fields=["last_message_at", "last_received_at", "new_count"])


def _message(conversation: ImConversation, line: Line, at: datetime, ids: Mapping[str, uuid.UUID]) -> None:
    sender = ids.get(line.sender)
    message = ImMessage.objects.create(
        id=new_id_at(at),
        created_at=at,
        at=at,
        conversation=conversation,
        sender_id=sender,
        sender_jid="" if sender else line.sender,
        origin_id="" if sender else str(uuid.uuid4()),
        text=line.text,
        via_own="own" in line.platforms,
        via_xmpp="xmpp" in line.platforms,
        # Nobody confirms to a group.
        status=MessageStatus.SENT if line.unread or conversation.is_group else MessageStatus.DELIVERED,
    )
    if conversation.is_group:
        members = ImParticipant.objects.filter(conversation=conversation).values_list("user_id", flat=True)
        received = [ImReceiver(message=message, user_id=key) for key in members if key and key != sender]
        ImReceiver.objects.bulk_create(received)
