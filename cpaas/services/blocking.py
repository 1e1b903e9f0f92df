"""Blocking: a user does not want to hear from a remote party (S4.15, S4.16, R19).

Whether a number may block is its own setting over its platform's. Switched off later, what was blocked is kept but no
longer works, and works again when it is switched on: the provider's word is above the user's, and nothing is lost by
it. Unblocking is always possible. What came in while it was blocked stays so.
"""

from __future__ import annotations

from django.db import transaction

from cpaas.models import BlockedParty, Conversation, CpaasNumber
from cpaas.services.destinations import parse_remote
from cpaas.services.sending import lock_number
from cpaas.states import NumberStatus
from portal.events import News
from portal.models import EndUser
from portal.problems import conflict, not_found
from portal.scoping import get_visible
from portal.services import audit


def block_party(*, user: EndUser, number: CpaasNumber, remote: object) -> BlockedParty:
    """From now on texts of `remote` to `number` are stored as blocked and not delivered. Twice is once.

    `remote` is a number as it is dialled, or a short code or name that wrote to this number. Raises Problem
    `blocking_not_allowed` (409), `invalid_number`, `several_recipients`, `not_found`.
    """
    party = _party(user, number, remote)
    with transaction.atomic():
        row = lock_number(number.pk)
        if row.status == NumberStatus.REMOVING or row.user_id != number.user_id:
            raise not_found("CPaaS number")
        if not row.can_block_effective:
            raise conflict("blocking_not_allowed", f"{row.display} cannot block anybody. Ask your administrator.")
        known = BlockedParty.objects.filter(number=row, remote=party).first()
        if known is not None:
            return known
        blocked = BlockedParty.objects.create(number=row, remote=party, user_id=row.user_id)
        audit.record(user, "block", row, after={"remote": party})
        _tell(blocked)
    return blocked


def unblock_party(*, user: EndUser, blocked: BlockedParty) -> None:
    """Texts of the party are delivered again from now on; older ones stay blocked (R19). Raises Problem `not_found`."""
    with transaction.atomic():
        # Without the number's lock, which others take before they delete such rows.
        rows = BlockedParty.objects.select_for_update(of=("self",)).select_related("number")
        row = get_visible(rows, user, blocked.pk)
        audit.record(user, "unblock", row.number, before={"remote": row.remote})
        row.delete()
        _tell(row)


def forget_blocked(number: CpaasNumber) -> None:
    """The number goes to somebody else, who has not blocked anybody. Runs in the caller's transaction."""
    BlockedParty.objects.filter(number=number).delete()


def _party(user: EndUser, number: CpaasNumber, remote: object) -> str:
    """The party as its texts come in: what wrote to us before is taken as it is, names too."""
    if isinstance(remote, str) and Conversation.objects.filter(number=number, remote=remote.strip()).exists():
        return remote.strip()
    return parse_remote(user=user, number=number, to=remote)


def _tell(blocked: BlockedParty) -> None:
    news = News()
    shown = Conversation.objects.filter(number=blocked.number_id, remote=blocked.remote, last_message_at__isnull=False)
    for conversation_id, user_id in shown.values_list("pk", "user_id"):
        news.add(user_id, "conversation.updated", conversation_id)
    news.write()
