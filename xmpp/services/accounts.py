"""Integrated IM&P of a user: assigned and enabled, here and at BroadWorks, and the IM&P ID (S0.5-S0.11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from portal import clock
from portal.events import News
from portal.models import EndUser
from portal.problems import Problem, conflict, invalid
from portal.scoping import Actor, require_writer
from portal.services import audit
from xmpp.broadworks import commands
from xmpp.broadworks.commands import ImpState
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.models.accounts import slot_of
from xmpp.services.accounts_news import tell_accounts_changed
from xmpp.services.connections import ask, connection_of, server_of
from xmpp.services.jids import local_part
from xmpp.states import TERMINAL, AccountStatus


@dataclass(frozen=True)
class Service:
    """Whether Integrated IM&P is assigned, and enabled (S0.6)."""

    assigned: bool = False
    enabled: bool = False

    @property
    def is_on(self) -> bool:
        return self.assigned and self.enabled

    def as_json(self) -> dict[str, bool]:
        return {"assigned": self.assigned, "enabled": self.enabled}


def account_of(user: EndUser) -> ImpAccount | None:
    return ImpAccount.objects.filter(pk=user.pk).first()


def service_of(account: ImpAccount | None) -> Service:
    return Service(account.assigned, account.enabled) if account else Service()


def wanted_service(present: Service, changes: Mapping[str, bool]) -> Service:
    """The service after `changes`; what is not assigned is not enabled either. Raises Problem `invalid`."""
    assigned = changes.get("assigned", present.assigned)
    enabled = changes.get("enabled", present.enabled and assigned)
    if enabled and not assigned:
        raise invalid(integrated_imp="Integrated IM&P can be enabled only while it is assigned.")
    return Service(assigned, enabled)


def tell_broadworks(connection: BroadworksConnection | None, login: str, wanted: Service) -> ImpState | None:
    """Make it so at BroadWorks; what it says then, None when there is none to tell.

    No transaction may be open. Raises Problem `broadworks_refused`, `broadworks_unreachable` (502).
    """
    server = server_of(connection)
    if server is None:
        return None
    return ask(server, commands.set_imp_state(login, assigned=wanted.assigned, active=wanted.enabled))


def set_integrated_imp(*, actor: Actor | None, user: EndUser, changes: Mapping[str, bool]) -> ImpAccount | None:
    """Change `assigned` and `enabled` of a user, at BroadWorks first; None when there was and is nothing.

    Raises Problem `invalid`, `imp_id_taken` (409), `broadworks_refused`, `broadworks_unreachable` (502).
    """
    require_writer(actor)
    present = service_of(account_of(user))
    wanted = wanted_service(present, changes)
    if wanted == present:
        return account_of(user)
    connection = connection_of(user.system_provider_id)
    found = tell_broadworks(connection, user.login, wanted)
    with transaction.atomic():
        return store_service(actor=actor, user=user, wanted=wanted, connection=connection, found=found)


def store_service(
    *,
    actor: Actor | None,
    user: EndUser,
    wanted: Service,
    connection: BroadworksConnection | None,
    found: ImpState | None,
) -> ImpAccount | None:
    """Write what BroadWorks was told, inside the caller's transaction. `found` is what it said.

    Raises Problem `imp_id_taken` (409).
    """
    require_writer(actor)
    account = ImpAccount.objects.select_for_update().filter(pk=user.pk).first()
    if account is None and not wanted.assigned:
        return None
    is_new = account is None
    account = account or ImpAccount(user=user)
    before = {**service_of(account).as_json(), "imp_id": account.imp_id}
    account.assigned, account.enabled = wanted.assigned, wanted.enabled
    if account.is_on:
        said = found.imp_id if found else ""
        _name(account, said or account.imp_id or _derived(user.login, connection))
    after = {**wanted.as_json(), "imp_id": account.imp_id}
    if before == after and not is_new:
        return account
    _begin_anew(account)
    _save(account, is_new=is_new)
    differing = [name for name in after if before[name] != after[name]]
    audit.record(
        actor,
        "integrated_imp",
        user,
        before={name: before[name] for name in differing},
        after={name: after[name] for name in differing},
    )
    tell_user(account, session=True)
    return account


def name_account(account: ImpAccount, imp_id: str) -> None:
    """Give an account that is on the IM&P ID that it lacked, inside the caller's transaction."""
    _name(account, imp_id)
    _begin_anew(account)
    _save(account, is_new=False)
    audit.record(None, "integrated_imp", account.user, after={"imp_id": account.imp_id})
    tell_user(account, session=False)


def derived_imp_id(account: ImpAccount, connection: BroadworksConnection | None) -> str:
    """The IM&P ID as BroadWorks makes it: the login's local part and the domain (S0.9); "" without a domain."""
    return _derived(account.user.login, connection)


def tell_user(account: ImpAccount, *, session: bool) -> None:
    """News for the user's clients and for the bridge, as the last write of the transaction."""
    news = News()
    news.add(account.pk, "xmpp.updated", account.pk)
    if session:
        news.add(account.pk, "session.updated", account.pk)
    news.write()
    tell_accounts_changed()


def _name(account: ImpAccount, imp_id: str) -> None:
    """No face changes it: it follows BroadWorks, and is made up once where there is none (S0.10)."""
    if not imp_id or imp_id.lower() == account.imp_id.lower():
        return
    if ImpAccount.objects.filter(imp_id__lower=imp_id.lower()).exclude(pk=account.pk).exists():
        raise _taken()
    account.imp_id, account.slot, account.archive_cursor = imp_id[:320], slot_of(imp_id), ""


def _save(account: ImpAccount, *, is_new: bool) -> None:
    try:
        with transaction.atomic():
            account.save(force_insert=is_new)
    except IntegrityError as error:
        raise _taken() from error


def _taken() -> Problem:
    return conflict("imp_id_taken", "The IM&P ID of this user is not available. It must be changed in BroadWorks.")


def _derived(login: str, connection: BroadworksConnection | None) -> str:
    local = local_part(login.partition("@")[0].strip())
    return f"{local}@{connection.imp_domain}" if local and connection is not None and connection.imp_domain else ""


def _begin_anew(account: ImpAccount) -> None:
    """The session depends on what has changed: the bridge looks again, also where it had given up."""
    account.version += 1
    if not account.is_on:
        account.status, account.status_reason = AccountStatus.DISABLED, ""
    elif account.status in (*TERMINAL, AccountStatus.DISABLED):
        account.status, account.status_reason = AccountStatus.OFFLINE, ""
    account.status_at = clock.now()


def shown_service(account: ImpAccount | None) -> dict[str, Any]:
    """`integrated_imp` and `imp_id` as staff see them; the ID proves that the service is on (S0.8)."""
    service = service_of(account)
    return {"integrated_imp": service.as_json(), "imp_id": account.imp_id if account and service.is_on else ""}
