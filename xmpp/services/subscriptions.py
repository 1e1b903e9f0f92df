"""Presence subscriptions as users decide on them (S0.25-S0.31, R31). What is to be said to the server is written as the
row's `wish`; the bridge says it, and what the server answers comes in through `rosters`.

Whoever writes a row of an account holds the lock on the account: the user, the bridge and auto-subscribe may all be at
it at the same moment.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import timedelta

from django.db import transaction

from portal import clock
from portal.events import News, wake
from portal.models import EndUser
from portal.problems import conflict, invalid, not_found
from portal.scoping import get_visible
from portal.services import audit
from portal.services.organisation import get_colleague
from presence.services.telling import tell_presence_changed
from xmpp.models import ImpAccount, Subscription
from xmpp.services.jids import domain_of, jids_of, parse_jid, users_of_jids
from xmpp.services.sending import XMPP_TOPIC
from xmpp.states import Direction, SubscriptionState

# After a refusal the same is not asked again before (R31).
RETRY_AFTER = timedelta(hours=24)
_OPEN = (SubscriptionState.PENDING, SubscriptionState.ACCEPTED)


def lock_account(account_id: uuid.UUID) -> ImpAccount | None:
    """The account, with whose subscriptions nobody else does anything until the caller's transaction ends."""
    return ImpAccount.objects.select_for_update(no_key=True).filter(pk=account_id).first()


def require_account(user: EndUser) -> ImpAccount:
    """The user's account, locked. Raises Problem `not_found` while Integrated IM&P is not on (S0.5)."""
    account = lock_account(user.pk)
    if account is None or not account.is_on:
        raise not_found("XMPP")
    return account


def row_of(account_id: uuid.UUID, jid: str, direction: Direction) -> Subscription:
    """The row of this pair; a new one is not stored yet."""
    rows = Subscription.objects.filter(user=account_id, jid=jid, direction=direction)
    return rows.first() or Subscription(user_id=account_id, jid=jid, direction=direction)


def decide(row: Subscription, state: SubscriptionState, wish: str, event: str = "subscription.updated") -> None:
    """Store how the row stands now and what is to be said to the server, and tell the user and the bridge."""
    is_new = row._state.adding
    changed = is_new or row.state != state
    written = ["state", "wish", "at", "may_retry_at", "automatic", "peer"]
    row.peer_id = users_of_jids([row.jid], [row.user_id]).get((row.user_id, row.jid))
    if state != SubscriptionState.DECLINED:
        row.may_retry_at = None
    if state != SubscriptionState.ACCEPTED:
        # Else not touched: presence is written without the lock.
        row.show = row.message = ""
        written += ["show", "message"]
    row.state, row.wish, row.at = state, wish, clock.now() if changed else row.at
    row.save(update_fields=None if is_new else written)
    if changed:
        news = News()
        news.add(row.user_id, event, row.pk)
        news.write()
    if changed and row.peer_id is not None and row.direction == Direction.OUT:
        tell_presence_changed([row.peer_id], [row.user_id])
    if wish:
        transaction.on_commit(lambda: wake(XMPP_TOPIC), robust=True)


def note_owners(rows: Collection[Subscription]) -> None:
    """Whose these JIDs of one account are now: they may have become a colleague's since the rows were made, or be so no
    longer (R42)."""
    owners = users_of_jids({row.jid for row in rows}, {row.user_id for row in rows})
    for row in rows:
        former, row.peer_id = row.peer_id, owners.get((row.user_id, row.jid))
        if row.peer_id != former:
            row.save(update_fields=["peer"])
            tell_presence_changed([key for key in (former, row.peer_id) if key], [row.user_id])


def subscribe(*, user: EndUser, peer_id: str = "", jid: str = "") -> tuple[Subscription, bool]:
    """Ask a colleague, or somebody else on the XMPP server, to show the user their presence (S0.25, S0.26).

    Returns the row and whether it is asked now; an open one is not asked again. What was removed may be asked by the
    user again, what was declined after 24 hours. Raises Problem `invalid`, `domain_not_allowed` (400), `not_found`
    (404), `not_on_xmpp`, `declined_recently` (409).
    """
    with transaction.atomic():
        require_account(user)
        row = row_of(user.pk, _jid_to_watch(user, peer_id, jid), Direction.OUT)
        if not row._state.adding and row.state in _OPEN:
            note_owners([row])
            return row, False
        if row.state == SubscriptionState.DECLINED and row.may_retry_at and row.may_retry_at > clock.now():
            raise conflict(
                "declined_recently",
                "This person declined. You may ask again 24 hours later.",
                may_retry_at=clock.iso(row.may_retry_at),
            )
        row.automatic = False
        decide(row, SubscriptionState.PENDING, "subscribe")
        audit.record(user, "add_xmpp_presence", user, after={"jid": row.jid})
    return row, True


def _jid_to_watch(user: EndUser, peer_id: str, jid: str) -> str:
    if bool(peer_id) == bool(jid):
        raise invalid(user="Give a user or a JID.")
    if peer_id:
        watched = next(iter(jids_of([get_colleague(user, peer_id).pk]).values()), "")
    else:
        watched = parse_jid(jid, "jid", domain=domain_of(user))
    if not watched:
        raise conflict("not_on_xmpp", "This user has no XMPP.")
    if users_of_jids([watched], [user.pk]).get((user.pk, watched)) == user.pk:
        raise invalid(**{"user" if peer_id else "jid": "This is yourself."})
    return watched


def remove_subscription(*, user: EndUser, subscription: Subscription) -> None:
    """Stop watching the peer, or take back that the peer watches the user. The row stays as a tombstone: auto-subscribe
    does not bring it back, the user can. Raises Problem `not_found`."""
    with transaction.atomic():
        require_account(user)
        row = get_visible(Subscription.objects.all(), user, subscription.pk)
        if row.state == SubscriptionState.REMOVED:
            raise not_found("Subscription")
        decide(row, SubscriptionState.REMOVED, "unsubscribe" if row.direction == Direction.OUT else "unsubscribed")
        audit.record(user, "remove_xmpp_presence", user, before={"jid": row.jid, "direction": row.direction})


def accept_request(*, user: EndUser, subscription: Subscription) -> None:
    """Let the peer see the user's presence; the user does not watch the peer by that. Twice is once.

    Raises Problem `not_pending` (409) for what is no open request.
    """
    _answer(user, subscription, SubscriptionState.ACCEPTED, "subscribed")


def reject_request(*, user: EndUser, subscription: Subscription) -> None:
    """Do not let the peer see the user's presence; for 24 hours the same is refused without asking (R31).

    Raises Problem `not_pending` (409).
    """
    _answer(user, subscription, SubscriptionState.DECLINED, "unsubscribed")


def _answer(user: EndUser, subscription: Subscription, state: SubscriptionState, wish: str) -> None:
    with transaction.atomic():
        require_account(user)
        row = get_visible(Subscription.objects.all(), user, subscription.pk)
        if row.direction == Direction.IN and row.state == state:
            return
        if row.direction == Direction.OUT or row.state != SubscriptionState.PENDING:
            raise conflict("not_pending", "There is no request of this person to answer.")
        if state == SubscriptionState.DECLINED:
            row.may_retry_at = clock.now() + RETRY_AFTER
        decide(row, state, wish)
        audit.record(user, f"xmpp_request_{state}", user, after={"jid": row.jid})
