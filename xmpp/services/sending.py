"""Sending an instant message: which platforms carry it, one row for all of them (S0.32-S0.35)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db import transaction

from portal import clock
from portal.events import News, wake
from portal.models import EndUser, UserSettings
from portal.problems import Problem, conflict, invalid
from xmpp.models import ImMessage, ImpAccount, XmppDelivery
from xmpp.services.conversations import Party, lock_conversations
from xmpp.services.receiving import note_activity
from xmpp.stanzas import has_illegal_characters

# Far below what servers take in one stanza, markup included (256 kB).
LONGEST_BYTES = 64 * 1024
# The topic the bridge listens to.
XMPP_TOPIC = "xmpp"


@dataclass(frozen=True)
class Route:
    """Who gets a message and how: through our own platform, as a stanza to `jid` ("" for none), or both."""

    peer: Party
    own: bool
    jid: str


def send_to(*, user: EndUser, route: Route, text: str, client_id: str = "") -> ImMessage:
    """Send `text` along `route`. The same `client_id` again gives the first message.

    Raises Problem `invalid`, `illegal_characters` (400), `too_large` (413).
    """
    require_text(text)
    with transaction.atomic():
        pair = (user.pk, route.peer)
        conversation = lock_conversations([pair])[pair]
        known = ImMessage.objects.filter(sender=user, client_id=client_id).first() if client_id else None
        if known is not None:
            return known
        now = clock.now()
        message = ImMessage.objects.create(
            conversation=conversation,
            sender=user,
            text=text,
            client_id=client_id,
            created_at=now,
            at=now,
            via_own=route.own,
            via_xmpp=bool(route.jid),
            only_sender=not route.own,
        )
        if route.jid:
            XmppDelivery.objects.create(message=message, account_id=user.pk, to_jid=route.jid, at=now)
        news = News()
        _note_sent(message, user.pk, news)
        if route.own and isinstance(route.peer, uuid.UUID):
            note_activity(conversation.pk, route.peer, at=now, received=[now])
            news.add(route.peer, "im.created", message.pk)
        news.write()
        if route.jid:
            transaction.on_commit(lambda: wake(XMPP_TOPIC), robust=True)
    return message


def _note_sent(message: ImMessage, user_id: uuid.UUID, news: News) -> None:
    note_activity(message.conversation_id, user_id, at=message.at)
    news.add(user_id, "im.created", message.pk)


def require_text(text: str) -> None:
    """Raises Problem for what cannot be sent: nothing, too much, or characters that XML cannot write."""
    if not text.strip():
        raise invalid(text="The message is empty.")
    if has_illegal_characters(text):
        raise Problem(
            "illegal_characters",
            "The message has control characters or broken ones, which cannot be sent. Remove them.",
            status=400,
            errors={"text": ["This holds characters that cannot be sent."]},
        )
    if len(text.encode()) > LONGEST_BYTES:
        raise Problem("too_large", "A message may have up to 64 kB.", status=413)


def route_to(*, user: EndUser, peer: EndUser | None, jid: str) -> Route:
    """How a message of `user` to one person goes, by the user's priority and by what both have (S0.32-S0.35).

    `jid` is that of somebody who is no user of ours. Raises Problem `not_reachable` (409).
    """
    priority = UserSettings.objects.filter(pk=user.pk).values_list("im_priority", flat=True).first() or "both"
    peer_jid = _jid_of(peer) if peer is not None else jid
    by_own = peer is not None and priority != "xmpp"
    by_xmpp = bool(peer_jid) and priority != "own" and _is_on(user)
    if not (by_own or by_xmpp):
        raise conflict("not_reachable", _why_not(peer, peer_jid, priority))
    return Route(peer.pk if peer is not None else jid, by_own, peer_jid if by_xmpp else "")


def _jid_of(peer: EndUser) -> str:
    account = ImpAccount.objects.filter(pk=peer.pk).first()
    return account.imp_id.lower() if account is not None and account.is_on else ""


def _is_on(user: EndUser) -> bool:
    return ImpAccount.objects.filter(pk=user.pk, assigned=True, enabled=True).exclude(imp_id="").exists()


def _why_not(peer: EndUser | None, peer_jid: str, priority: str) -> str:
    if priority == "own":
        return "This contact has XMPP only, and your IM priority is your own platform only. Change it in the settings."
    if not peer_jid and peer is not None:
        return f"{peer.name} has no XMPP, and your IM priority is XMPP only. Change it in the settings."
    return "You have no XMPP. Ask your administrator to enable Integrated IM&P."
