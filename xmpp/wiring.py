"""What IM and XMPP plug into the portal: fields of users, session parts, event renderers (portal.extensions)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portal import extensions
from portal.events import Rendered, Wanted, register_renderer
from portal.models import EndUser
from xmpp import im_wiring
from xmpp.api.objects import xmpp_objects
from xmpp.api.user_fields import user_fields
from xmpp.models import ImpAccount
from xmpp.services import user_fields as user_service
from xmpp.services.accounts import account_of
from xmpp.services.passwords import ask_for_password, refuse_as_login

NAMES = frozenset({"integrated_imp", "imp_password"})
SECRETS = ("imp__password", "imp__pending_password")


def connect() -> None:
    extensions.user_parts.append(extensions.UserPart(NAMES, ("imp",), SECRETS, user_fields, user_service.begin))
    extensions.login_password_rules.append(refuse_as_login)
    extensions.session_contributors.append(session_part)
    extensions.demo_parts.append(load_demo)
    register_renderer("xmpp.updated", render_accounts)
    im_wiring.connect()


def load_demo(users: Mapping[str, EndUser], sandbox_port: int) -> None:
    """What `loaddemo` adds."""
    # Nobody else needs it in memory.
    from xmpp import demo

    demo.load(users, sandbox_port)


def session_part(user: EndUser) -> dict[str, Any]:
    """`features.xmpp`; a client that starts gets its user a password, where the brand says so (S0.5, S0.18)."""
    account = account_of(user)
    if account is not None:
        ask_for_password(user, account)
    return {"features": {"xmpp": account is not None and account.is_on}}


def render_accounts(wanted: Wanted) -> Rendered:
    """The objects of `xmpp.updated`; of a user whose service is off there is none."""
    ids = {key for told in wanted.values() for key in told}
    rows = ImpAccount.objects.visible_to_users(wanted).filter(pk__in=ids, assigned=True, enabled=True)
    found: list[Any] = list(rows.select_related("user__system_provider"))
    shown = xmpp_objects((row, row.user) for row in found)
    return {(row.seen_by, row.pk): data for row, data in zip(found, shown, strict=True)}
