"""What the server says about rosters and presence, and what we still have to say to it (S0.26-S0.31, R31)."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction

from portal import clock
from portal.events import News, wake
from portal.models import UserSettings
from xmpp.models import ImpAccount, Subscription
from xmpp.services.receiving import users_of_jids
from xmpp.session import Peer
from xmpp.states import Direction, SubscriptionState

# After a refusal the same is not asked again before (R31).
RETRY_AFTER = timedelta(hours=24)


@dataclass(frozen=True)
class Wish:
    """What an account's session has to say about a subscription: a presence type."""

    subscription_id: uuid.UUID
    account_id: uuid.UUID
    jid: str
    kind: str


def open_wishes(account_ids: Collection[uuid.UUID]) -> list[Wish]:
    rows = Subscription.objects.filter(user__among=list(account_ids)).exclude(wish="").order_by("pk")
    return [Wish(*row) for row in rows.values_list("pk", "user_id", "jid", "wish")[:500]]


def fulfilled(wish: Wish) -> None:
    """It was said; unless something else is wished by now. Said twice, after a crash, it is the same."""
    Subscription.objects.filter(pk=wish.subscription_id, wish=wish.kind).update(wish="")


def note_subscription(account_id: uuid.UUID, jid: str, kind: str) -> None:
    """A peer asked for our presence, or answered that we asked for theirs (RFC 6121 §3)."""
    with transaction.atomic():
        if kind == "subscribe":
            _note_request(account_id, jid)
        elif kind == "unsubscribe":
            _note_ended(account_id, jid)
        else:
            _note_answer(account_id, jid, accepted=kind == "subscribed")


def _note_request(account_id: uuid.UUID, jid: str) -> None:
    """One prompt however often it is asked (servers repeat an open request at each login)."""
    row = _row(account_id, jid, Direction.IN)
    if row.state == SubscriptionState.ACCEPTED and not row._state.adding:
        _decide(row, SubscriptionState.ACCEPTED, "subscribed")
        return
    if row.state == SubscriptionState.DECLINED and row.may_retry_at and row.may_retry_at > clock.now():
        _decide(row, SubscriptionState.DECLINED, "unsubscribed")
        return
    if not _is_in_domain(account_id, jid):
        return  # nobody but the preconfigured server's users (S0.29)
    if UserSettings.objects.filter(pk=account_id, auto_accept_xmpp=True).exists():
        _decide(row, SubscriptionState.ACCEPTED, "subscribed")
        return
    if row.state == SubscriptionState.PENDING and not row._state.adding:
        return
    _decide(row, SubscriptionState.PENDING, "", "subscription.requested")


def _note_ended(account_id: uuid.UUID, jid: str) -> None:
    row = _row(account_id, jid, Direction.IN)
    if not row._state.adding:
        _decide(row, SubscriptionState.REMOVED, "")


def _note_answer(account_id: uuid.UUID, jid: str, *, accepted: bool) -> None:
    row = _row(account_id, jid, Direction.OUT)
    if row._state.adding or row.state == SubscriptionState.REMOVED:
        return
    if accepted:
        _decide(row, SubscriptionState.ACCEPTED, "")
        return
    row.may_retry_at = clock.now() + RETRY_AFTER
    row.show = row.message = ""
    _decide(row, SubscriptionState.DECLINED, "")


def _row(account_id: uuid.UUID, jid: str, direction: Direction) -> Subscription:
    """The row of this pair, locked; a new one is not stored yet."""
    rows = Subscription.objects.select_for_update().filter(user=account_id, jid=jid, direction=direction)
    return rows.first() or Subscription(user_id=account_id, jid=jid, direction=direction)


def _decide(row: Subscription, state: SubscriptionState, wish: str, event: str = "subscription.updated") -> None:
    changed = row._state.adding or row.state != state
    if row._state.adding:
        row.peer_id = users_of_jids([row.jid], [row.user_id]).get((row.user_id, row.jid))
    row.state, row.wish, row.at = state, wish, clock.now() if changed else row.at
    row.save()
    if changed:
        news = News()
        news.add(row.user_id, event, row.pk)
        news.write()


def _is_in_domain(account_id: uuid.UUID, jid: str) -> bool:
    own = ImpAccount.objects.filter(pk=account_id).values_list("imp_id", flat=True).first() or ""
    return jid.partition("@")[2] == own.lower().partition("@")[2] != ""


def note_roster(account_id: uuid.UUID, items: Sequence[Mapping[str, str]], *, whole: bool) -> None:
    """Entries of the account's roster, which its other clients change too: what we hold follows the server.

    With `whole` the items are all there are: an accepted subscription without an entry is over.
    """
    entries = {item.get("jid", "").lower(): item for item in items if item.get("jid")}
    with transaction.atomic():
        rows = Subscription.objects.select_for_update().filter(user=account_id, direction=Direction.OUT).order_by("pk")
        known = {row.jid: row for row in rows}
        for jid, row in known.items():
            entry = entries.get(jid)
            if row.wish or row.state == SubscriptionState.REMOVED or (entry is None and not whole):
                continue
            if entry is not None and entry.get("subscription") in ("to", "both"):
                _decide(row, SubscriptionState.ACCEPTED, "")
            elif row.state == SubscriptionState.ACCEPTED:
                _decide(row, SubscriptionState.REMOVED, "")
        watched = {jid for jid, entry in entries.items() if entry.get("subscription") in ("to", "both")}
        _take_over(account_id, watched - known.keys())


def _take_over(account_id: uuid.UUID, jids: set[str]) -> None:
    """What another client of the account subscribed to: of colleagues we show it too."""
    for (_, jid), peer_id in sorted(users_of_jids(jids, [account_id]).items()):
        row = Subscription(user_id=account_id, jid=jid, direction=Direction.OUT, peer_id=peer_id)
        _decide(row, SubscriptionState.ACCEPTED, "")


def note_peers(peers: Sequence[tuple[uuid.UUID, str, Peer]]) -> None:
    """The presence of peers as the sessions of accounts hear it (S0.27). Only what changed is written and told."""
    told = set()
    with transaction.atomic():
        for account_id, jid, peer in sorted(peers, key=lambda item: (item[0], item[1])):
            rows = Subscription.objects.filter(user=account_id, jid=jid, direction=Direction.OUT)
            changed = rows.exclude(show=peer.show or "available", message=peer.message)
            if changed.update(show=peer.show or "available", message=peer.message, presence_at=clock.now()):
                told.add(account_id)
        transaction.on_commit(lambda: wake(*(f"user:{key}" for key in told)), robust=True)
