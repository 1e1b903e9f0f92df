"""How accounts look to their users."""

from __future__ import annotations

from typing import Any

from portal.clock import iso
from portal.models import EndUser
from xmpp.models import ImpAccount
from xmpp.services.passwords import is_managed


def xmpp_object(account: ImpAccount, user: EndUser) -> dict[str, Any]:
    """`GET xmpp/` (contracts section 6); no password, whatever its state."""
    return {
        "jid": account.imp_id,
        "status": account.status,
        "reason": account.status_reason,
        "password_managed": is_managed(user),
        "password_state": account.password_state,
        "last_message_received_at": iso(account.last_message_received_at),
    }
