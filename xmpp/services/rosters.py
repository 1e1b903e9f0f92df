"""What the server says about rosters and presence, and what we still have to say to it (S0.26-S0.31, R31)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction

from portal import clock
from portal.models import UserSettings
from portal.sql import as_uuid, execute_for
from presence.services.telling import tell_presence_changed
from xmpp.models import ImpAccount, Subscription
from xmpp.services.jids import users_of_jids
from xmpp.services.ownership import lock_accounts
from xmpp.services.subscriptions import RETRY_AFTER, decide, lock_account, note_owners, row_of
from xmpp.stanzas import LONGEST_JID
from xmpp.states import Direction, SubscriptionState

if TYPE_CHECKING:
    from xmpp.peers import Peer


# Asked every second.
_WISHES = """
    SELECT s.id, s.user_id, s.jid, s.wish, s.wish = 'unsubscribe' AND NOT EXISTS (
        SELECT 1 FROM xmpp_subscription w
        WHERE w.user_id = s.user_id AND w.jid = s.jid AND w.direction = 'in' AND w.state = 'accepted'
    )
    FROM xmpp_subscription s WHERE s.user_id {among} AND s.wish <> '' ORDER BY s.id LIMIT 500
"""


# Asked at each login.
_WATCHES = "SELECT 1 FROM xmpp_subscription WHERE user_id {among} AND direction = 'out' LIMIT 1"
_HEARD = "SELECT 1 FROM xmpp_subscription WHERE user_id {among} AND direction = 'out' AND show <> '' LIMIT 1"


@dataclass(frozen=True)
class Wish:
    """What an account's session has to say about a subscription: a presence type. `forget`: the entry can leave the
    roster with it, because the peer does not watch the account either; a list of buddies grows otherwise (S0.30)."""

    subscription_id: uuid.UUID
    account_id: uuid.UUID
    jid: str
    kind: str
    forget: bool = False


def open_wishes(account_ids: Collection[uuid.UUID]) -> list[Wish]:
    rows = execute_for(_WISHES, account_ids, {}) if account_ids else []
    return [
        Wish(as_uuid(key), as_uuid(account_id), jid, kind, bool(forget)) for key, account_id, jid, kind, forget in rows
    ]


def fulfilled(wish: Wish) -> None:
    """It was said; unless something else is wished by now. Said twice, after a crash, it is the same."""
    Subscription.objects.filter(pk=wish.subscription_id, wish=wish.kind).update(wish="")


def note_subscription(account_id: uuid.UUID, jid: str, kind: str) -> None:
    """A peer asked for our presence, or answered that we asked for theirs (RFC 6121 §3)."""
    with transaction.atomic():
        lock_account(account_id)
        if kind == "subscribe":
            _note_request(account_id, jid)
        elif kind == "unsubscribe":
            _note_ended(account_id, jid)
        else:
            _note_answer(account_id, jid, accepted=kind == "subscribed")


def _note_request(account_id: uuid.UUID, jid: str) -> None:
    """One prompt however often it is asked (servers repeat an open request at each login)."""
    row = row_of(account_id, jid, Direction.IN)
    if row.state == SubscriptionState.ACCEPTED and not row._state.adding:
        decide(row, SubscriptionState.ACCEPTED, "subscribed")
        return
    if row.state == SubscriptionState.DECLINED and row.may_retry_at and row.may_retry_at > clock.now():
        decide(row, SubscriptionState.DECLINED, "unsubscribed")
        return
    if not _is_in_domain(account_id, jid):
        return  # nobody but the preconfigured server's users (S0.29)
    if UserSettings.objects.filter(pk=account_id, auto_accept_xmpp=True).exists():
        decide(row, SubscriptionState.ACCEPTED, "subscribed")
        return
    if row.state == SubscriptionState.PENDING and not row._state.adding:
        return
    decide(row, SubscriptionState.PENDING, "", "subscription.requested")


def _note_ended(account_id: uuid.UUID, jid: str) -> None:
    row = row_of(account_id, jid, Direction.IN)
    if not row._state.adding:
        decide(row, SubscriptionState.REMOVED, "")


def _note_answer(account_id: uuid.UUID, jid: str, *, accepted: bool) -> None:
    row = row_of(account_id, jid, Direction.OUT)
    if row._state.adding or row.state == SubscriptionState.REMOVED:
        return
    if accepted:
        decide(row, SubscriptionState.ACCEPTED, "")
        return
    row.may_retry_at = clock.now() + RETRY_AFTER
    decide(row, SubscriptionState.DECLINED, "")


def _is_in_domain(account_id: uuid.UUID, jid: str) -> bool:
    """Nor anybody whose JID is longer than any we can keep."""
    if len(jid) > LONGEST_JID:
        return False
    own = ImpAccount.objects.filter(pk=account_id).values_list("imp_id", flat=True).first() or ""
    return jid.partition("@")[2] == own.lower().partition("@")[2] != ""


def note_roster(account_id: uuid.UUID, items: Sequence[Mapping[str, str]], *, whole: bool) -> None:
    """Entries of the account's roster, which its other clients change too: what we hold follows the server.

    With `whole` the items are all there are: an accepted subscription without an entry is over. Of a roster like the
    last one nothing is written: after a restart of the server all accounts fetch theirs.
    """
    entries = {item.get("jid", "").lower(): item for item in items if item.get("jid")}
    watched = {jid for jid, entry in entries.items() if entry.get("subscription") in ("to", "both")}
    if not entries and not execute_for(_WATCHES, [account_id], {}):
        return
    rows = Subscription.objects.filter(user=account_id, direction=Direction.OUT).order_by("pk")
    with transaction.atomic():
        lock_account(account_id)
        known = {row.jid: row for row in rows}
        if whole:
            note_owners(known.values())
        for jid, row in known.items():
            if whole and row.state == SubscriptionState.PENDING and not (row.wish or _is_asked(entries.get(jid))):
                # Said by a session that ended before the server heard it.
                decide(row, SubscriptionState.PENDING, "subscribe")
            if row.wish or row.state == SubscriptionState.REMOVED or (jid not in entries and not whole):
                continue
            if jid in watched and row.state != SubscriptionState.ACCEPTED:
                decide(row, SubscriptionState.ACCEPTED, "")
            elif jid not in watched and row.state == SubscriptionState.ACCEPTED:
                decide(row, SubscriptionState.REMOVED, "")
        _take_over(account_id, watched - known.keys())


def _is_asked(entry: Mapping[str, str] | None) -> bool:
    """Whether the server knows that the account wants to watch the peer (RFC 6121 §2.1.2)."""
    return entry is not None and (entry.get("ask") == "subscribe" or entry.get("subscription") in ("to", "both"))


def _take_over(account_id: uuid.UUID, jids: set[str]) -> None:
    """What another client of the account subscribed to: of colleagues we show it too."""
    for _, jid in sorted(users_of_jids(jids, [account_id])):
        decide(Subscription(user_id=account_id, jid=jid, direction=Direction.OUT), SubscriptionState.ACCEPTED, "")


def note_peers(peers: Sequence[tuple[uuid.UUID, str, Peer]]) -> None:
    """The presence of peers as the sessions of accounts hear it (S0.27). Only what changed is written and told."""
    heard = {(account_id, jid): (peer.show or "available", peer.message) for account_id, jid, peer in peers}
    accounts, jids = {key for key, _ in heard}, {jid for _, jid in heard}
    with transaction.atomic():
        rows = Subscription.objects.filter(user__among=list(accounts), jid__in=jids, direction=Direction.OUT)
        changed, now = [], clock.now()
        for row in rows.order_by("pk"):
            said = heard.get((row.user_id, row.jid), (row.show, row.message))
            if said != (row.show, row.message):
                (row.show, row.message), row.presence_at = said, now
                changed.append(row)
        Subscription.objects.bulk_update(changed, ["show", "message", "presence_at"], batch_size=200)
        _tell(changed)


def _tell(rows: Iterable[Subscription]) -> None:
    """Whoever watches these peers sees something else now."""
    peers_of: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    for row in rows:
        if row.peer_id is not None:
            peers_of[row.user_id].append(row.peer_id)
    for account_id, peer_ids in peers_of.items():
        tell_presence_changed(peer_ids, [account_id])


def forget_peers(account_ids: Collection[uuid.UUID]) -> None:
    """New sessions hear everybody anew: whoever is silent now was perhaps there when the former one ended."""
    if not execute_for(_HEARD, account_ids, {}):
        return
    heard = Subscription.objects.filter(user__among=list(account_ids), direction=Direction.OUT).exclude(show="")
    with transaction.atomic():
        lock_accounts(account_ids)
        rows = list(heard)
        heard.update(show="", message="", presence_at=None)
        _tell(rows)
