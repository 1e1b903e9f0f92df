"""The queue of a media stream: conversations enter it, are reserved by one agent, released and closed (S4.3).

Everything here holds the conversation's lock, which inbound texts take too: a text either starts a new entry or goes to
the agent who has the conversation. An entry is locked after its conversation. The router locks only entries.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from cpaas.models import Attachment, Attempt, Conversation, CpaasNumber, Message, QueueEntry, QueueOffer, Stop
from cpaas.models.queue import OfferState, QueueState
from cpaas.services.agents import end_work, is_agent_of, note_agents, still_there
from cpaas.services.attempts import lock_conversations, move_attempt
from cpaas.services.queue_news import tell_queue_changed
from cpaas.states import MessageStatus, NumberStatus
from portal import clock
from portal.events import News
from portal.ids import new_id
from portal.models import EndUser
from portal.problems import Problem, conflict, not_found
from portal.scoping import Actor, get_visible, require_writer
from portal.services import audit
from portal.sql import execute

# So many entries the purge locks at once.
_AT_ONCE = 500
_ENQUEUE = """
    INSERT INTO cpaas_queueentry (id, created_at, media_stream_id, conversation_id, state, waiting_since)
    VALUES (%(id)s, %(since)s, %(media_stream_id)s, %(conversation_id)s, 'waiting', %(since)s)
    ON CONFLICT (conversation_id) DO NOTHING
"""


def enqueue(*, media_stream_id: uuid.UUID, conversation_id: uuid.UUID, since: datetime) -> None:
    """Let a conversation that nobody has wait for an agent, unless it does. Runs in the caller's transaction."""
    values = {"id": new_id(), "media_stream_id": media_stream_id, "conversation_id": conversation_id, "since": since}
    execute(_ENQUEUE, values)
    tell_queue_changed([media_stream_id])


def enqueue_overlooked() -> int:
    """Let those wait whose text was stored by a process that was killed before it came to `enqueue`, which plain texts
    do after their own transaction (inbound_statement.py). Returns how many."""
    nowhere = ~Exists(QueueEntry.objects.filter(conversation=OuterRef("pk")))
    numbers = CpaasNumber.objects.filter(media_stream__isnull=False).exclude(status=NumberStatus.REMOVING)
    unanswered = Conversation.objects.filter(nowhere, user=None, new_count__gt=0, number__in=numbers.values("pk"))
    found = 0
    for key in unanswered.order_by("pk").values_list("pk", flat=True)[:200]:
        with transaction.atomic():
            locked = unanswered.filter(pk=key).select_for_update(of=("self",)).select_related("number")
            row = locked.first()
            if row is not None and row.number.media_stream_id is not None and row.last_received_at is not None:
                stream_id, since = row.number.media_stream_id, row.last_received_at
                enqueue(media_stream_id=stream_id, conversation_id=row.pk, since=since)
                found += 1
    return found


def reserve_conversation(*, user: EndUser, conversation: Conversation) -> Conversation:
    """Give the conversation to `user` alone; again by the same agent changes nothing.

    Raises Problem `not_found` for who is no agent of its stream, `not_licensed`, `already_reserved` (409, `by`: the
    id of the agent who has it).
    """
    with transaction.atomic():
        row, entry = _lock(user, conversation)
        if not user.is_licensed:
            raise conflict("not_licensed", "You have no client licence. Ask your administrator for one.")
        if row.user_id == user.pk:
            return row
        if row.user_id is not None:
            raise _already_reserved(row)
        stream_id = row.number.media_stream_id
        assert stream_id is not None
        now = clock.now()
        if entry is None:
            entry = QueueEntry(media_stream_id=stream_id, conversation=row, waiting_since=now, created_at=now)
        entry.state, entry.reserved_by, entry.reserved_at = QueueState.RESERVED, user, now
        entry.save()
        QueueOffer.objects.filter(entry=entry).delete()
        _hand_over(row, user.pk)
        _record(user, "reserve", row)
        note_agents([user.pk])
        news = News()
        news.add(user.pk, "conversation.updated", row.pk)
        news.write()
        tell_queue_changed([stream_id])
    return row


def release_conversation(*, user: EndUser, conversation: Conversation) -> Conversation:
    """Give a reserved conversation back to the queue; whoever releases it is asked last.

    Raises Problem `not_found`, `not_reserved` (409).
    """
    with transaction.atomic():
        row, entry = _lock(user, conversation)
        require_reserved(user=user, conversation=row)
        assert entry is not None
        news = News()
        _put_back(user, entry, row, news)
        _asked(entry, user.pk)
        news.write()
    return row


def close_conversation(*, user: EndUser, conversation: Conversation) -> Conversation:
    """End the reservation: all is read and nobody has it any more. The next text of the remote party starts anew.

    Raises Problem `not_found`, `not_reserved` (409).
    """
    with transaction.atomic():
        row, entry = _lock(user, conversation)
        require_reserved(user=user, conversation=row)
        assert entry is not None
        entry.delete()
        row.read_position, row.new_count = row.last_position, 0
        _hand_over(row, None)
        _record(user, "close", row)
        end_work([user.pk])
        news = News()
        news.add(user.pk, "conversation.updated", row.pk)
        news.write()
        tell_queue_changed([entry.media_stream_id])
    return row


def decline_conversation(*, user: EndUser, conversation: Conversation) -> Conversation:
    """Turn an offer down, so that the next agent is asked at once.

    Raises Problem `not_found`, `not_offered` (409).
    """
    with transaction.atomic():
        row, entry = _lock(user, conversation)
        open_offers = QueueOffer.objects.filter(entry=entry, state=OfferState.OPEN)
        if entry is None or not open_offers.filter(agent=user).update(state=OfferState.DECLINED):
            raise conflict("not_offered", "This conversation is not offered to you now.")
        if not open_offers.exists():
            entry.state = QueueState.WAITING
            entry.save(update_fields=["state"])
        tell_queue_changed([entry.media_stream_id])
    return row


def require_reserved(*, user: EndUser, conversation: Conversation | None) -> None:
    """Raises Problem `not_reserved` (409) unless `user` has reserved the conversation. The caller holds its lock."""
    if conversation is None or conversation.user_id != user.pk:
        raise conflict("not_reserved", "Reserve this conversation first.")


def release_reservations_of(*, media_stream_id: uuid.UUID, agent_ids: Sequence[uuid.UUID]) -> int:
    """Put back what agents have reserved who are none of the stream any more. Runs in the caller's transaction."""
    return _release(QueueEntry.objects.filter(media_stream_id=media_stream_id, reserved_by__in=agent_ids))


def return_to_queue(*, actor: Actor | None, entry: QueueEntry) -> None:
    """Take a conversation from the agent who has it, who is asked last about it, and let it wait again.

    For staff. Raises Problem `read_only`, `not_reserved` (409) when nobody has it any more.
    """
    require_writer(actor)
    with transaction.atomic():
        lock_conversations(Conversation.objects.filter(pk=entry.conversation_id))
        reserved = QueueEntry.objects.filter(pk=entry.pk, state=QueueState.RESERVED).select_for_update(of=("self",))
        row = reserved.select_related("conversation__number__media_stream").first()
        if row is None or row.reserved_by_id is None:
            raise conflict("not_reserved", "No agent has this conversation any more.")
        agent_id, news = row.reserved_by_id, News()
        _put_back(actor, row, row.conversation, news)
        _asked(row, agent_id)
        news.write()


def release_unless_agent(user: EndUser) -> None:
    """Put back what a user has reserved who may text no more; what they wrote there and still waits is not sent (R33).
    Runs in the caller's transaction."""
    if not (user.is_licensed and user.is_active):
        _release(QueueEntry.objects.filter(state=QueueState.RESERVED, reserved_by=user), refuse_waiting=True)


def release_abandoned() -> int:
    """Put back what agents have reserved who are gone: deactivated, without licence, or away for long. Returns how
    many conversations wait again."""
    reserved = QueueEntry.objects.filter(state=QueueState.RESERVED)
    abandoned = list(reserved.filter(~still_there()).values_list("pk", flat=True)[:200])
    if not abandoned:
        return 0
    with transaction.atomic():
        return _release(reserved.filter(pk__in=abandoned).filter(~still_there()))


def forget_entries(conversations: QuerySet[Conversation]) -> None:
    """Take conversations that are about to be deleted out of their queues. Runs in the caller's transaction."""
    _forget(QueueEntry.objects.filter(conversation__in=conversations.values("pk")))


def forget_gone() -> int:
    """Remove the entries of conversations that the purge has removed, some at a time; returns how many."""
    gone = QueueEntry.objects.filter(~Exists(Conversation.objects.filter(pk=OuterRef("conversation"))))
    keys = list(gone.values_list("pk", flat=True))
    for n in range(0, len(keys), _AT_ONCE):
        with transaction.atomic():
            _forget(QueueEntry.objects.filter(pk__among=keys[n : n + _AT_ONCE]))
    return len(keys)


def _forget(entries: QuerySet[QueueEntry]) -> None:
    """Delete entries and their offers. Locked first, as a router makes offers under that lock."""
    locked = entries.select_for_update(of=("self",)).order_by("conversation_id")
    streams = dict(locked.values_list("pk", "media_stream_id"))
    QueueOffer.objects.filter(entry_id__among=list(streams))._raw_delete(entries.db)
    QueueEntry.objects.filter(pk__among=list(streams))._raw_delete(entries.db)
    tell_queue_changed(set(streams.values()))


def _release(entries: QuerySet[QueueEntry], *, refuse_waiting: bool = False) -> int:
    """Put back those of `entries` that are still what they were when their conversations were locked."""
    lock_conversations(Conversation.objects.filter(queue_entry__in=entries.values("pk")))
    locked = entries.select_for_update(of=("self",)).order_by("conversation_id")
    found = list(locked.select_related("conversation__number__media_stream"))
    news = News()
    if refuse_waiting:
        _refuse_waiting([entry.conversation for entry in found], news)
    for entry in found:
        _put_back(None, entry, entry.conversation, news)
    news.write()
    return len(found)


def _refuse_waiting(conversations: Sequence[Conversation], news: News) -> None:
    """Fail what waits to be sent in them, but the answers to stops, which no agent wrote (R20)."""
    attempts = Attempt.objects.filter(conversation__in=conversations, status=MessageStatus.QUEUED)
    waiting = list(attempts.select_for_update().order_by("pk"))
    if not waiting:
        return
    pairs = {
        "tn__in": {row.number.number for row in conversations},
        "remote__in": {row.remote for row in conversations},
    }
    answers = set(Stop.objects.filter(**pairs, reply_id__isnull=False).values_list("reply_id", flat=True))
    for attempt in waiting:
        if attempt.message_id not in answers:
            sentence = "The agent who wrote it has no client licence any more."
            move_attempt(attempt, MessageStatus.FAILED, news, error_code="not_licensed", error_text=sentence)


def _lock(user: EndUser, conversation: Conversation) -> tuple[Conversation, QueueEntry | None]:
    """The conversation and its entry as they are now, kept so until commit."""
    rows = Conversation.objects.select_for_update(of=("self",)).select_related("number__media_stream")
    row = get_visible(rows, user, conversation.pk)
    stream_id = row.number.media_stream_id
    if stream_id is None or not is_agent_of(user, stream_id):
        raise not_found("Conversation")
    return row, QueueEntry.objects.select_for_update().filter(conversation=row).first()


def _put_back(actor: Actor | None, entry: QueueEntry, row: Conversation, news: News) -> None:
    agent_id = entry.reserved_by_id
    assert agent_id is not None
    entry.state, entry.reserved_by, entry.reserved_at = QueueState.WAITING, None, None
    entry.waiting_since = clock.now()
    entry.save(update_fields=["state", "reserved_by", "reserved_at", "waiting_since"])
    _hand_over(row, None)
    _record(actor, "release", row)
    end_work([agent_id])
    if EndUser.objects.filter(pk=agent_id).exists():  # who has just been deleted is told nothing
        news.add(agent_id, "conversation.updated", row.pk)
    tell_queue_changed([entry.media_stream_id])


def _hand_over(row: Conversation, agent_id: uuid.UUID | None) -> None:
    """Whose the conversation is, its texts and their files are too: they are shown and told by their own columns.

    One update of the row, see claiming.py.
    """
    row.user_id = agent_id
    row.save(update_fields=["user_id", "read_position", "new_count"])
    Message.objects.filter(conversation=row).update(user_id=agent_id)
    Attachment.objects.filter(message__in=Message.objects.filter(conversation=row)).update(user_id=agent_id)


def _asked(entry: QueueEntry, agent_id: uuid.UUID) -> None:
    """Note that the agent does not want it, so that the others are asked first."""
    now = clock.now()
    QueueOffer.objects.create(entry=entry, agent_id=agent_id, state=OfferState.DECLINED, created_at=now, expires_at=now)


def _record(actor: Actor | None, action: str, row: Conversation) -> None:
    """On the media stream's trail, where its staff look."""
    assert row.number.media_stream is not None
    after = {"conversation": str(row.pk), "remote": row.remote}
    audit.record(actor, action, row.number.media_stream, after=after)


def _already_reserved(row: Conversation) -> Problem:
    assert row.user_id is not None
    name = EndUser.objects.filter(pk=row.user_id).values_list("name", flat=True).first()
    return conflict("already_reserved", f"{name} has reserved this conversation.", by=str(row.user_id))
