"""How accounts look to their users."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from portal.clock import iso
from portal.models import EndUser
from xmpp.models import ImpAccount
from xmpp.services.members import abandoned_shards
from xmpp.services.passwords import is_managed
from xmpp.services.standing import standing_of


def xmpp_object(account: ImpAccount, user: EndUser) -> dict[str, Any]:
    """`GET xmpp/` (contracts section 6); no password, whatever its state."""
    return xmpp_objects([(account, user)])[0]


def xmpp_objects(accounts: Iterable[tuple[ImpAccount, EndUser]]) -> list[dict[str, Any]]:
    """The same of several accounts with their users."""
    abandoned = abandoned_shards()
    found = []
    for account, user in accounts:
        standing = standing_of(account, abandoned)
        found.append(
            {
                "jid": account.imp_id,
                "status": standing.status,
                "reason": standing.reason,
                "password_managed": is_managed(user),
                "password_state": account.password_state,
                "last_message_received_at": iso(account.last_message_received_at),
            }
        )
    return found
