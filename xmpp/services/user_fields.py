"""Integrated IM&P as a part of the user: what `portal.services.users` does with these fields (extensions.UserPart)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portal.models import EndUser
from portal.problems import conflict
from portal.scoping import Actor
from xmpp.broadworks import commands
from xmpp.broadworks.commands import ImpState
from xmpp.models import BroadworksConnection
from xmpp.services import passwords
from xmpp.services.accounts import Service, account_of, service_of, store_service, tell_broadworks, wanted_service
from xmpp.services.connections import ask, connection_of, server_of


@dataclass(frozen=True)
class ImpStep:
    """BroadWorks knows already; `wanted` None: the service stays as it is, `password` "": so does the password."""

    actor: Actor | None
    wanted: Service | None
    connection: BroadworksConnection | None
    found: ImpState | None
    password: str
    is_new: bool

    def commit(self, user: EndUser) -> None:
        if self.wanted is None:
            return
        account = store_service(
            actor=self.actor, user=user, wanted=self.wanted, connection=self.connection, found=self.found
        )
        if account is not None and self.is_new and self.password:
            passwords.adopt_first(account, self.connection, self.password)

    def finish(self, user: EndUser) -> None:
        if self.password and not self.is_new:
            passwords.set_password(actor=self.actor, user=user, password=self.password)


def begin(actor: Actor | None, user: EndUser, values: Mapping[str, Any]) -> ImpStep:
    """Check `integrated_imp` and `imp_password`, and tell BroadWorks of the service; a new user's password too, for
    whom there is nothing that could get lost. Raises what the services of accounts and passwords raise."""
    is_new = user._state.adding
    account = None if is_new else account_of(user)
    present = service_of(account)
    wanted = wanted_service(present, values.get("integrated_imp") or {})
    password = values.get("imp_password") or ""
    if password:
        if not wanted.is_on:
            raise conflict("imp_not_enabled", "Integrated IM&P must be assigned and enabled before it has a password.")
        passwords.check_password(user, password)
    connection, found = connection_of(user.system_provider_id), None
    if wanted != present:
        found = tell_broadworks(connection, user.login, wanted)
    server = server_of(connection)
    if password and is_new and server is not None:
        ask(server, commands.set_imp_password(user.login, password))
    return ImpStep(actor, wanted if wanted != present else None, connection, found, password, is_new)
