"""Sending an instant message: one row for whoever gets it, whatever platforms carry it (S0.35)."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from django.db import IntegrityError, transaction

from portal import clock
from portal.events import News, wake
from portal.ids import new_id_at
from portal.models import EndUser
from portal.problems import Problem, conflict, invalid
from portal.scoping import parse_id
from portal.services.organisation import get_colleagues
from portal.sql import insert
from portal.xml_text import require_legal
from presence.services.online import online_among
from xmpp.building import escaped
from xmpp.models import ImMessage, ImReceiver, XmppDelivery
from xmpp.services.conversations import lock_conversations, lock_group
from xmpp.services.received_rows import Activity, raise_participants
from xmpp.services.routing import Route, route_by_name

# As it is written to the stream. Servers take 256 kB in one stanza, with all that is around the text.
LONGEST_BYTES = 64 * 1024
LONGEST_CLIENT_ID = 255
# Of a group, whoever sends besides.
MOST_MEMBERS = 100
# The topic the bridge listens to.
XMPP_TOPIC = "xmpp"


def send_message(*, user: EndUser, to: object, text: str, client_id: str = "") -> ImMessage:
    """Send `text` to the id of a user, a JID, or a list of ids for a group. One `client_id` is one message: the same
    again, also at the same moment, gives the first.

    Raises Problem `invalid`, `illegal_characters`, `domain_not_allowed` (400), `too_large` (413), `not_found` (404) for
    users outside the organisation (R42), `not_reachable`, `group_not_on_xmpp` (R30), `not_online` (409).
    """
    known = _known(user, client_id)
    if known is not None:
        return known
    require_text(text)
    try:
        with transaction.atomic():
            return _send(user, to, text, client_id)
    except IntegrityError:
        # Another request with this client_id was committed meanwhile.
        known = _known(user, client_id)
        if known is None:
            raise
        return known


def _known(user: EndUser, client_id: str) -> ImMessage | None:
    return ImMessage.objects.filter(sender=user, client_id=client_id).first() if client_id else None


def _send(user: EndUser, to: object, text: str, client_id: str) -> ImMessage:
    names = _names(user, to)
    if len(names) > 1:
        members = get_colleagues(user, [name for name in names if "@" not in name])
        if len(members) < len(names):
            raise conflict("group_not_on_xmpp", "Group chat is not supported with XMPP.")
        return _send_to_group(user, members, text, client_id)
    return send_to(user=user, route=route_by_name(user, names[0]), text=text, client_id=client_id)


def _names(user: EndUser, to: object) -> list[str]:
    """The recipients as they were named, each once, without the user."""
    given = to if isinstance(to, list) else [to]
    read = [_name(value) for value in given]
    if None in read:
        raise invalid(to="Give the id of a user, a JID, or a list of the ids of users.")
    names = [name for name in dict.fromkeys(read) if name is not None and name != str(user.pk)]
    if not names:
        raise invalid(to="Give somebody else to write to.")
    if len(names) > MOST_MEMBERS:
        raise invalid(to=f"A group chat has at most {MOST_MEMBERS} other members.")
    return names


def _name(value: object) -> str | None:
    """An id or a JID, each written in one way; None for what can be neither."""
    if not isinstance(value, str):
        return None
    if "@" in value:
        return value.strip().lower()
    key = parse_id(value.strip())
    return str(key) if key else None


def send_to(*, user: EndUser, route: Route, text: str, client_id: str = "") -> ImMessage:
    """Send a text that may be sent along `route`, in one transaction. Raises IntegrityError for a used `client_id`."""
    with transaction.atomic(savepoint=False):
        pair = (user.pk, route.peer)
        message = _create(
            lock_conversations([pair])[pair],
            user,
            text,
            client_id,
            via_own=route.own,
            via_xmpp=bool(route.jid),
            only_sender=not route.own,
        )
        if route.jid:
            insert(XmppDelivery(message=message, account_id=user.pk, to_jid=route.jid, at=message.at))
            transaction.on_commit(lambda: wake(XMPP_TOPIC), robust=True)
        _tell(message, user, [route.peer] if route.own and isinstance(route.peer, uuid.UUID) else [])
    return message


def _send_to_group(user: EndUser, members: Collection[EndUser], text: str, client_id: str) -> ImMessage:
    """Who begins a group finds all its members online; later those who are get what is written (S0.3)."""
    member_ids = {member.pk for member in members}
    conversation_id = lock_group({user.pk, *member_ids})
    online = online_among(member_ids)
    is_new = not ImMessage.objects.filter(conversation=conversation_id).exists()
    if not online or (is_new and online < member_ids):
        raise _not_online([member for member in members if member.pk not in online])
    message = _create(conversation_id, user, text, client_id, via_own=True)
    ImReceiver.objects.bulk_create([ImReceiver(message=message, user_id=key) for key in sorted(online)])
    _tell(message, user, online)
    return message


def _not_online(members: Collection[EndUser]) -> Problem:
    names = ", ".join(member.name for member in members)
    return conflict(
        "not_online",
        f"Only users who are online can take part in a group chat. Not online now: {names}.",
        users=[str(member.pk) for member in members],
    )


def _create(conversation_id: uuid.UUID, user: EndUser, text: str, client_id: str, **columns: bool) -> ImMessage:
    now = clock.now()
    message = ImMessage(
        id=new_id_at(now),
        conversation_id=conversation_id,
        sender=user,
        text=text,
        client_id=client_id,
        created_at=now,
        at=now,
        **columns,
    )
    insert(message)
    return message


def _tell(message: ImMessage, sender: EndUser, receivers: Collection[uuid.UUID]) -> None:
    """The message is in the lists of these users, and new for who receives it."""
    news, key, at = News(), message.conversation_id, message.at
    received: list[Activity] = [(key, user_id, at, 1, at) for user_id in sorted(receivers)]
    raise_participants([(key, sender.pk, at, 0, None), *received])
    for user_id in (sender.pk, *receivers):
        news.add(user_id, "im.created", message.pk)
    news.write()


def require_text(text: str) -> None:
    """Raises Problem for what cannot be sent: nothing, too much, or characters that XML cannot write."""
    if not text.strip():
        raise invalid(text="The message is empty.")
    require_legal(text, "text")
    if len(escaped(text).encode()) > LONGEST_BYTES:
        raise Problem("too_large", "A message may have up to 64 kB; of & < > and quotes fewer.", status=413)
