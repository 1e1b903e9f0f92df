"""Integrated IM&P as a part of the user: what `portal.services.users` does with these fields (extensions.UserPart)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, InterfaceError

from portal.extensions import taking_back
from portal.models import EndUser
from portal.problems import conflict
from portal.scoping import Actor
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services import passwords
from xmpp.services.accounts import (
    Service,
    Told,
    account_of,
    blank_account,
    service_of,
    store_service,
    take_back,
    tell_broadworks,
    wanted_service,
)
from xmpp.services.connections import connection_of
from xmpp.services.device_config import update_devices
from xmpp.services.password_changes import Change, adopt, begin_change, give_up, hold_new, tell


@dataclass
class ImpStep:
    """BroadWorks has been told of the service, and of the password of a user whom we know.

    The password of a new user is told last: before there is a row, nothing would be left of it to say what BroadWorks
    was told. `present` is the service of the row that was read, `wanted` what it becomes, `change` the password's.
    """

    actor: Actor | None
    present: Service
    wanted: Service
    connection: BroadworksConnection | None
    told: Told | None
    first_password: str = field(default="", repr=False)
    change: Change | None = None
    adopted: ImpAccount | None = None

    def commit(self, user: EndUser) -> None:
        if self.wanted != self.present:
            account = store_service(
                actor=self.actor,
                user=user,
                wanted=self.wanted,
                connection=self.connection,
                found=self.told.now if self.told else None,
                present=self.present,
            )
            if account is not None and self.first_password:
                self.change = hold_new(account, self.connection, self.first_password)
        if self.change is not None and not self.first_password:
            self.adopted = adopt(self.actor, user, self.change, how="changed")

    def finish(self, user: EndUser) -> None:
        if self.change is None:
            return
        if self.adopted is None:
            tell(self.change, user.login)
            self.adopted = adopt(self.actor, user, self.change, how="changed")
        update_devices(self.adopted, self.connection, self.change.claim)

    def undo(self) -> None:
        if self.change is not None:
            # With the database away the claim runs out, and then the former password is set again all the same.
            with suppress(DatabaseError, InterfaceError):
                give_up(self.change, is_doubtful=True)
        take_back(self.told, self.present)


def begin(actor: Actor | None, user: EndUser, values: Mapping[str, Any]) -> ImpStep:
    """Check `integrated_imp` and `imp_password`, and tell BroadWorks.

    Raises what the services of accounts and passwords raise: nothing is changed then.
    """
    is_new = user._state.adding
    account = None if is_new else account_of(user)
    present = service_of(account)
    wanted = wanted_service(present, values.get("integrated_imp") or {})
    password = values.get("imp_password") or ""
    if password:
        if not wanted.is_on:
            raise conflict("imp_not_enabled", "Integrated IM&P must be assigned and enabled before it has a password.")
        passwords.check_password(user, password)
    connection = connection_of(user.system_provider_id)
    told = tell_broadworks(connection, user.login, wanted) if wanted != present else None
    step = ImpStep(actor, present, wanted, connection, told, first_password=password if is_new else "")
    if password and not is_new:
        with taking_back([step]):
            step.change = begin_change(account or blank_account(user), connection, password, user.login)
    return step
