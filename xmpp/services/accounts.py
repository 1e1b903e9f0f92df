"""Integrated IM&P of a user: assigned and enabled, here and at BroadWorks, and the IM&P ID (S0.5-S0.11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, IntegrityError, InterfaceError, transaction

from portal import clock
from portal.background import run_soon
from portal.events import News
from portal.logs import get_logger
from portal.models import EndUser
from portal.problems import Problem, conflict, invalid
from portal.scoping import Actor, require_writer
from portal.services import audit
from xmpp.broadworks import BroadworksError, Doubtful, Server, commands, run
from xmpp.broadworks.commands import ImpState
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.models.accounts import slot_of
from xmpp.services.accounts_news import tell_accounts_changed
from xmpp.services.connections import WORK_TASK, ask, broadworks_problem, server_of
from xmpp.services.jids import is_bare_jid, local_part
from xmpp.states import TERMINAL, AccountStatus, PasswordState, Work

logger = get_logger(__name__)


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


@dataclass(frozen=True)
class Told:
    """What BroadWorks was told of a user's service: how it stood there before, and what it says now."""

    server: Server
    login: str
    before: ImpState
    now: ImpState


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


def blank_account(user: EndUser) -> ImpAccount:
    """The account of somebody who never had the service, off, so that a change has a row that holds it."""
    fields = {"system_provider_id": user.system_provider_id, "status": AccountStatus.DISABLED}
    return ImpAccount.objects.get_or_create(pk=user.pk, defaults=fields)[0]


def tell_broadworks(connection: BroadworksConnection | None, login: str, wanted: Service) -> Told | None:
    """Make it so at BroadWorks, before any row says so; None when there is none to tell. `take_back` undoes it.

    No transaction may be open. Raises Problem `broadworks_refused`, `broadworks_unreachable` (502): then all is there
    as it was, or was tried to be set back once. One who is killed before the row is written leaves BroadWorks ahead of
    it; the same change again, or an import, brings them together.
    """
    server = server_of(connection)
    if server is None:
        return None
    before = ask(server, commands.get_imp_state(login))
    try:
        now = run(server, commands.set_imp_state(login, assigned=wanted.assigned, active=wanted.enabled))
    except BroadworksError as error:
        if isinstance(error, Doubtful):
            _set_back(server, login, Service(before.assigned, before.active))
        raise broadworks_problem(error) from error
    return Told(server, login, before, now)


def take_back(told: Told | None, present: Service) -> None:
    """The row was not written after all: BroadWorks gets back what it had, or what somebody else wrote meanwhile into
    the row, which was `present`. Raises nothing."""
    if told is None:
        return
    try:
        row = service_of(ImpAccount.objects.filter(user__login__lower=told.login.lower()).first())
    except (DatabaseError, InterfaceError):
        row = present
    before = Service(told.before.assigned, told.before.active)
    _set_back(told.server, told.login, before if row == present else row)


def _set_back(server: Server, login: str, service: Service) -> None:
    try:
        run(server, commands.set_imp_state(login, assigned=service.assigned, active=service.enabled))
    except BroadworksError as error:
        logger.warning("imp_service_not_set_back", login=login, code=error.code)


def store_service(
    *,
    actor: Actor | None,
    user: EndUser,
    wanted: Service,
    connection: BroadworksConnection | None,
    found: ImpState | None,
    present: Service | None = None,
) -> ImpAccount | None:
    """Write what BroadWorks was told, inside the caller's transaction. `found` is what it said, `present` what the row
    said before, when that matters.

    Raises Problem `imp_id_taken`, `imp_id_invalid`, `changed_meanwhile` (409).
    """
    require_writer(actor)
    account = ImpAccount.objects.select_for_update().filter(pk=user.pk).first()
    if present is not None and service_of(account) != present:
        raise conflict("changed_meanwhile", "Somebody else changed Integrated IM&P just now. Look and try again.")
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
    _resume_work(account)
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


def next_work(account: ImpAccount) -> str:
    """What is left to do at BroadWorks once the password is settled."""
    if not account.is_on:
        return ""
    if not account.imp_id:
        return Work.NAME
    return Work.DEVICE if account.password_state == PasswordState.DEVICE_CONFIG_PENDING else ""


def _resume_work(account: ImpAccount) -> None:
    """What an account had left to do when it was switched off is dropped; one that goes on again has it to do again."""
    if not account.work and (work := next_work(account)):
        account.work, account.work_due_at = work, clock.now()
        run_soon(WORK_TASK)


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
    if not is_bare_jid(imp_id):
        raise conflict("imp_id_invalid", "The IM&P ID of this user is not a JID. It must be changed in BroadWorks.")
    if ImpAccount.objects.filter(imp_id__lower=imp_id.lower()).exclude(pk=account.pk).exists():
        raise _taken()
    account.imp_id, account.slot, account.archive_cursor = imp_id, slot_of(imp_id), ""


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
