"""Who writes to whom: one conversation for the same people, whatever platform carries the messages (S0.2, S0.36)."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Mapping

from django.db import transaction

from portal.events import News
from portal.models import EndUser, UserSettings
from portal.problems import not_found
from portal.scoping import TenantQuerySet, parse_id
from portal.sql import as_uuid, execute_for_texts, no_key_lock
from xmpp.models import ImConversation, ImMessage, ImParticipant
from xmpp.services.seeing import shown_messages
from xmpp.states import MessageStatus

# Each message asks it; by the ORM it took as long as all that is written.
_LOCK = "SELECT c.key, c.id FROM xmpp_imconversation c WHERE c.key {among} ORDER BY c.id {lock}"
# One side of a conversation of two: a user of ours, or the bare JID of somebody else.
Party = uuid.UUID | str
Pair = tuple[uuid.UUID, Party]


def pair_key(one: Party, other: Party) -> str:
    """The key of the conversation of these two, whoever asks."""
    names = sorted(f"u:{party}" if isinstance(party, uuid.UUID) else f"j:{party}" for party in (one, other))
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def lock_conversations(pairs: Collection[Pair]) -> dict[Pair, uuid.UUID]:
    """The ids of the conversations of these twos, made where there is none, locked until the caller's transaction ends.

    Always locked in the order of their ids, so that nobody waits for each other.
    """
    keys = {pair: pair_key(*pair) for pair in pairs}
    by_key = _lock(set(keys.values()))
    missing = {key: pair for pair, key in keys.items() if key not in by_key}
    if missing:
        _create(missing)
        by_key |= _lock(missing.keys())
    return {pair: by_key[key] for pair, key in keys.items()}


def _lock(keys: Collection[str]) -> dict[str, uuid.UUID]:
    rows = execute_for_texts(_LOCK.replace("{lock}", no_key_lock("c")), keys, {}) if keys else []
    return {key: as_uuid(pk) for key, pk in rows}


def group_key(user_ids: Iterable[uuid.UUID]) -> str:
    """The key of the group of these users, whoever of them asks."""
    return hashlib.sha256("\n".join(["group", *sorted(map(str, user_ids))]).encode()).hexdigest()


def lock_group(user_ids: Collection[uuid.UUID]) -> uuid.UUID:
    """The id of the group of these users, made where there is none, locked until the caller's transaction ends."""
    key = group_key(user_ids)
    # One that is there now may be gone by the time it is locked: the purge was before us.
    found = _lock([key])
    if not found:
        _create({key: list(user_ids)}, is_group=True)
        found = _lock([key])
    return found[key]


def _create(missing: Mapping[str, Collection[Party]], *, is_group: bool = False) -> None:
    rows = [ImConversation(key=key, is_group=is_group) for key in sorted(missing)]
    ImConversation.objects.bulk_create(rows, ignore_conflicts=True)
    made = {row.key: row for row in ImConversation.objects.filter(key__in=list(missing))}
    undocked = _undocked({party for people in missing.values() for party in people if isinstance(party, uuid.UUID)})
    participants = [
        ImParticipant(conversation=made[key], docked=party not in undocked, **_columns(party))
        for key, people in missing.items()
        for party in people
    ]
    ImParticipant.objects.bulk_create(participants, ignore_conflicts=True)


def _columns(party: Party) -> dict[str, object]:
    return {"user_id": party} if isinstance(party, uuid.UUID) else {"jid": party}


def _undocked(user_ids: Iterable[uuid.UUID]) -> set[Party]:
    """Those who want their conversations to begin undocked."""
    return set(UserSettings.objects.filter(pk__in=list(user_ids), im_docked=False).values_list("pk", flat=True))


def shown_conversations(user: EndUser) -> TenantQuerySet[ImParticipant]:
    """The user's conversations in which there is something to see, each as its row of this user."""
    return ImParticipant.objects.visible_to(user).filter(last_message_at__isnull=False).select_related("conversation")


def get_conversation(user: EndUser, conversation_id: object) -> ImParticipant:
    """One of `shown_conversations`. Raises Problem `not_found`, whatever the reason."""
    key = parse_id(conversation_id)
    row = shown_conversations(user).filter(conversation=key).first() if key else None
    if row is None:
        raise not_found("IM conversation")
    return row


def mark_read(*, user: EndUser, conversation_id: uuid.UUID, up_to: ImMessage) -> None:
    """Clear *new* for `up_to` and older, on every device (R41). Going backwards changes nothing.

    Whoever reads a message has it: of one that only our own platform carried the sender hears so.
    """
    with transaction.atomic():
        row = _locked(user, conversation_id)
        received = shown_messages(user).filter(conversation=conversation_id).exclude(sender=user).order_by("-pk")
        left = min(row.new_count, len(received.filter(pk__gt=up_to.pk).values_list("pk")[: row.new_count]))
        read = list(received.filter(pk__lte=up_to.pk).values_list("pk", flat=True)[: row.new_count - left])
        if left == row.new_count:
            return
        ImParticipant.objects.filter(pk=row.pk).update(new_count=left)
        news = News()
        news.add(user.pk, "im_conversation.updated", conversation_id)
        if not row.conversation.is_group:
            _note_delivered(read, news)
        news.write()


def _note_delivered(message_ids: Collection[uuid.UUID], news: News) -> None:
    rows = ImMessage.objects.filter(pk__among=list(message_ids), via_own=True, status=MessageStatus.SENT)
    senders = list(rows.values_list("sender_id", "pk"))
    rows.update(status=MessageStatus.DELIVERED)
    for sender_id, message_id in senders:
        news.add(sender_id, "im.updated", message_id)


def set_docked(*, user: EndUser, conversation_id: uuid.UUID, docked: bool) -> None:
    """Show the conversation docked or in a window of its own, on every device (S0.2)."""
    with transaction.atomic():
        row = _locked(user, conversation_id)
        if row.docked == docked:
            return
        ImParticipant.objects.filter(pk=row.pk).update(docked=docked)
        news = News()
        news.add(user.pk, "im_conversation.updated", conversation_id)
        news.write()


def _locked(user: EndUser, conversation_id: uuid.UUID) -> ImParticipant:
    """The user's row of a conversation to which nothing is added meanwhile. Raises Problem `not_found`."""
    if not ImConversation.objects.select_for_update(no_key=True).filter(pk=conversation_id).exists():
        raise not_found("IM conversation")
    return get_conversation(user, conversation_id)
