"""Storing what the sessions of accounts hear: many at once, each message once, whoever and however often it is told.

The same message reaches us up to four times: live, as a carbon of another client's, from the archive after a gap, and
through the sessions of both its sides when both are users of ours. It is known by the archive's id for the account
(`ArchivedStanza`), else by the sender's own id for it in its conversation.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from portal import clock
from portal.events import News
from portal.ids import new_id_at
from portal.scoping import parse_id
from xmpp.models import ArchivedStanza, ImMessage, XmppDelivery
from xmpp.services import received_rows
from xmpp.services.conversations import Pair, Party, lock_conversations
from xmpp.services.jids import users_of_jids
from xmpp.services.received_rows import Incoming, Known
from xmpp.stanzas import Said
from xmpp.states import DeliveryState
from xmpp.states import before as states_before

# Clocks of clients are wrong, and delay stamps may be forged: nothing is said to have been sent later than it came.
_EARLIEST = timedelta(days=3650)
# Without any id the same words of the same sender within so long are the other side's copy of a message.
_SAME_WITHIN = timedelta(minutes=2)
# The same words with the same id: clocks may differ, but no stream lasts for ever.
_SAME_ID_WITHIN = timedelta(days=1)


@dataclass(frozen=True)
class Heard:
    """A message as the session of an account heard it."""

    account_id: uuid.UUID
    jid: str
    said: Said


@dataclass
class _Place:
    """Where a heard message belongs: its conversation, and who wrote it."""

    heard: Heard
    pair: Pair
    sender: Party
    sender_jid: str


def store_heard(heard: Sequence[Heard], *, cursors: Mapping[uuid.UUID, str], holder: str) -> None:
    """Store these messages and then, for accounts that `holder` still acts for, how far their archives are known.

    Safe to repeat. Order within the batch is the order of arrival.
    """
    with transaction.atomic():
        places = _places(heard)
        told = _store(places) if places else []
        received_rows.note_accounts(_raise_conversations(told), cursors, holder)
        _tell(told)


def _places(heard: Sequence[Heard]) -> list[_Place]:
    users = users_of_jids({item.said.peer for item in heard}, {item.account_id for item in heard})
    places = []
    for item in heard:
        peer: Party = users.get((item.account_id, item.said.peer), item.said.peer)
        if peer == item.account_id:
            continue  # a note to oneself is no conversation
        own = item.said.outgoing
        sender, jid = (item.account_id, item.jid) if own else (peer, item.said.peer)
        places.append(_Place(item, (item.account_id, peer), sender, jid))
    return places


def _store(places: Sequence[_Place]) -> list[tuple[_Place, Incoming]]:
    """Write what is not known yet; returns it."""
    conversations = lock_conversations({place.pair for place in places})
    # Not before: another session may be storing the same at this moment.
    places = _unknown(places)
    known = _AlreadyStored(places, conversations)
    times = _Times(set(conversations.values()))
    archived: list[tuple[uuid.UUID, str, uuid.UUID]] = []
    told: list[tuple[_Place, Incoming]] = []
    for place in places:
        conversation_id = conversations[place.pair]
        message_id = known.find(place, conversation_id)
        if message_id is None:
            message = _received(place, conversation_id, times, known.free_id(place, conversation_id))
            told.append((place, message))
            known.add(message.known)
            message_id = message.id
        if place.heard.said.stanza_id:
            archived.append((place.heard.account_id, place.heard.said.stanza_id, message_id))
            known.archived.add((place.heard.account_id, message_id))
    received_rows.insert_messages([message for _, message in told])
    received_rows.insert_archived(archived)
    _note_seen(known.sent)
    return told


def _unknown(places: Sequence[_Place]) -> list[_Place]:
    """Without those that the account's archive has told of before, or twice in this batch."""
    wanted = {_archive_key(place) for place in places if place.heard.said.stanza_id}
    if not wanted:
        return list(places)
    seen = received_rows.find_archived(wanted)
    found = []
    for place in places:
        if _archive_key(place) not in seen:
            found.append(place)
        if place.heard.said.stanza_id:
            seen.add(_archive_key(place))
    return found


def _archive_key(place: _Place) -> tuple[uuid.UUID, str]:
    return place.heard.account_id, place.heard.said.stanza_id


class _AlreadyStored:
    """The messages that a batch may tell of again. Its conversations are locked, so nobody adds to them meanwhile."""

    def __init__(self, places: Sequence[_Place], conversations: Mapping[Pair, uuid.UUID]) -> None:
        wanted = {_key(place, conversations[place.pair]) for place in places if place.heard.said.origin_id}
        found = received_rows.find_known((*key, parse_id(key[2])) for key in wanted) if wanted else []
        self._by_origin = {(row.conversation_id, row.sender_jid, row.origin_id): row for row in found}
        self._own = {(row.conversation_id, row.sender_id, row.id) for row in found}
        unnamed = {conversations[each.pair] for each in places if not self.free_id(each, conversations[each.pair])}
        self._without_id = _recent_without_id(unnamed) if unnamed else defaultdict(list)
        self.archived = _archived_of([key for keys in self._without_id.values() for key in keys])
        # Messages of ours that a server turned out to have.
        self.sent: set[uuid.UUID] = set()

    def find(self, place: _Place, conversation_id: uuid.UUID) -> uuid.UUID | None:
        """The id of the message, if it is stored."""
        own_id = parse_id(place.heard.said.origin_id)
        if own_id is not None and (conversation_id, place.sender, own_id) in self._own:
            self.sent.add(own_id)
            return own_id
        if not self.free_id(place, conversation_id):
            return self._find_without_id(place, conversation_id)
        known = self._by_origin.get(_key(place, conversation_id))
        return known.id if known is not None else None

    def free_id(self, place: _Place, conversation_id: uuid.UUID) -> str:
        """The sender's id for the message; "" without one, and when another message has it: ids that are not origin
        ids may begin anew with each stream (RFC 6120 §8.1.3)."""
        said = place.heard.said
        known = self._by_origin.get(_key(place, conversation_id))
        return said.origin_id if known is None or _is_same(known, said) else ""

    def _find_without_id(self, place: _Place, conversation_id: uuid.UUID) -> uuid.UUID | None:
        """The other side's copy: one that this account's archive has not told of yet."""
        for key in self._without_id[conversation_id, place.sender_jid, place.heard.said.text]:
            if (place.heard.account_id, key) not in self.archived:
                return key
        return None

    def add(self, message: Known) -> None:
        if message.origin_id:
            self._by_origin[message.conversation_id, message.sender_jid, message.origin_id] = message
        else:
            self._without_id[message.conversation_id, message.sender_jid, message.text].append(message.id)


def _key(place: _Place, conversation_id: uuid.UUID) -> tuple[uuid.UUID, str, str]:
    """What tells a message of somebody else from all others."""
    return conversation_id, place.sender_jid, place.heard.said.origin_id


def _is_same(known: Known, said: Said) -> bool:
    return known.text == said.text and abs((said.at or clock.now()) - known.at) < _SAME_ID_WITHIN


def _recent_without_id(
    conversation_ids: Collection[uuid.UUID],
) -> defaultdict[tuple[uuid.UUID, str, str], list[uuid.UUID]]:
    found: defaultdict[tuple[uuid.UUID, str, str], list[uuid.UUID]] = defaultdict(list)
    rows = ImMessage.objects.filter(conversation__in=conversation_ids, origin_id="", via_own=False)
    lately = rows.filter(created_at__gte=clock.now() - _SAME_WITHIN).order_by("pk")
    for conversation_id, sender_jid, text, key in lately.values_list("conversation_id", "sender_jid", "text", "pk"):
        found[conversation_id, sender_jid, text].append(key)
    return found


def _archived_of(message_ids: Collection[uuid.UUID]) -> set[tuple[uuid.UUID, uuid.UUID]]:
    rows = ArchivedStanza.objects.filter(message__among=list(message_ids)) if message_ids else None
    return set(rows.values_list("account_id", "message_id")) if rows is not None else set()


class _Times:
    """When messages were sent, so that those of a conversation stand in the order in which they were told.

    Archives may know whole seconds only, and many messages come in one millisecond, which is as fine as ids are.
    """

    def __init__(self, conversation_ids: Collection[uuid.UUID]) -> None:
        self.now = clock.now()
        self._last = received_rows.newest_of(conversation_ids)

    def of(self, said: Said, conversation_id: uuid.UUID) -> datetime:
        """Not later than now, however the sender's clock goes, nor absurdly early."""
        at = min(max(said.at or self.now, self.now - _EARLIEST), self.now)
        last = self._last.get(conversation_id)
        grain = timedelta(seconds=1) if said.at and not said.at.microsecond else timedelta(milliseconds=1)
        if last is not None and at <= last < at + grain:
            at = last + timedelta(milliseconds=1)
        self._last[conversation_id] = max(at, last or at)
        return at


def _received(place: _Place, conversation_id: uuid.UUID, times: _Times, origin_id: str) -> Incoming:
    said = place.heard.said
    at = times.of(said, conversation_id)
    return Incoming(
        # Where it stands in the conversation: by when it was sent, not by when we heard of it.
        id=new_id_at(at),
        created_at=times.now,
        conversation_id=conversation_id,
        sender_id=place.sender if isinstance(place.sender, uuid.UUID) else None,
        sender_jid=place.sender_jid,
        text=said.text,
        origin_id=origin_id,
        at=at,
        via=said.via,
    )


def _note_seen(message_ids: Collection[uuid.UUID]) -> None:
    """The server has these messages of ours: they are not sent again."""
    if message_ids:
        earlier = states_before(DeliveryState.ACKED)
        rows = XmppDelivery.objects.filter(pk__among=list(message_ids), state__in=earlier)
        rows.update(state=DeliveryState.ACKED)


def _raise_conversations(told: Sequence[tuple[_Place, Incoming]]) -> dict[uuid.UUID, datetime]:
    """Both users of a conversation see what is new; who did not write it has something to read. Returns when each
    of those received the last."""
    newest: dict[tuple[uuid.UUID, uuid.UUID], datetime] = {}
    unread: dict[tuple[uuid.UUID, uuid.UUID], list[datetime]] = defaultdict(list)
    for place, message in told:
        for party in place.pair:
            if not isinstance(party, uuid.UUID):
                continue
            key = (message.conversation_id, party)
            newest[key] = max(message.at, newest.get(key, message.at))
            if party != place.sender:
                unread[key].append(message.at)
    rows = [(*key, at, len(unread[key]), max(unread[key], default=None)) for key, at in newest.items()]
    received_rows.raise_participants(rows)
    received: dict[uuid.UUID, datetime] = {}
    for (_, user_id), times in unread.items():
        if times:
            received[user_id] = max([*times, received.get(user_id, times[0])])
    return received


def _tell(told: Sequence[tuple[_Place, Incoming]]) -> None:
    news = News()
    for place, message in told:
        for party in place.pair:
            if isinstance(party, uuid.UUID):
                news.add(party, "im.created", message.id)
    news.write()
