"""Changing an XMPP password on both sides, so that ours and BroadWorks' never differ for long (S0.12, S0.22).

Before BroadWorks is told, the new password is stored as pending under a claim. Its yes makes it the password; a no, or
not being reached, drops it. When the answer does not come, or whoever waited for it is killed, nobody knows what
BroadWorks has: then the present password is set there once more (`account_work`), so that what the user was told
("nothing was changed") becomes true. Where there is none yet, the pending one of somebody who was killed is set again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from portal import clock
from portal.background import run_soon
from portal.encryption import readable
from portal.models import EndUser
from portal.problems import Problem, conflict
from portal.scoping import Actor
from portal.services import audit
from xmpp.broadworks import BroadworksError, Doubtful, commands, run
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services.accounts import next_work, tell_user
from xmpp.services.connections import WORK_TASK, broadworks_problem, server_of
from xmpp.states import TERMINAL, AccountStatus, PasswordState, Work

# Longer than telling BroadWorks can take: three commands of 20 s.
CLAIM = timedelta(minutes=2)


@dataclass(frozen=True)
class Change:
    """A change that holds its account: what it becomes, and what was left to do before."""

    account: ImpAccount
    connection: BroadworksConnection | None
    password: str = field(repr=False)
    claim: uuid.UUID
    former_work: str


def begin_change(account: ImpAccount, connection: BroadworksConnection | None, password: str, login: str) -> Change:
    """Hold the account and tell BroadWorks; `adopt` or `give_up` must follow.

    No transaction may be open. Raises Problem `change_in_progress` (409), `broadworks_refused`,
    `broadworks_unreachable` (502): nothing is changed then.
    """
    change = hold(account, connection, password)
    tell(change, login)
    return change


def hold(account: ImpAccount, connection: BroadworksConnection | None, password: str) -> Change:
    """Keep others off the account, and the password where it is found again. Raises Problem `change_in_progress`."""
    claim, now = uuid.uuid4(), clock.now()
    row = ImpAccount.objects.filter(pk=account.pk).first()
    free = Q(claim=None) | Q(work_due_at__lte=now)
    # The former work too: what was read and what is replaced must be the same.
    held = row is not None and ImpAccount.objects.filter(free, pk=row.pk, work=row.work, version=row.version).update(
        claim=claim, pending_password=password, work=Work.RESTORE, work_due_at=now + CLAIM, work_tries=0
    )
    if row is None or not held:
        raise conflict("change_in_progress", "The password is being changed just now. Wait a moment and look.")
    return Change(row, connection, password, claim, row.work)


def hold_new(account: ImpAccount, connection: BroadworksConnection | None, password: str) -> Change:
    """The same for an account that is made in the caller's transaction; `tell` must follow after it."""
    account.claim, account.pending_password = uuid.uuid4(), password
    account.work, account.work_due_at = Work.RESTORE, clock.now() + CLAIM
    account.save()
    return Change(account, connection, password, account.claim, "")


def tell(change: Change, login: str) -> None:
    """Tell BroadWorks, when there is one. Raises as `begin_change`, after `give_up`."""
    try:
        server = server_of(change.connection)
    except Problem:
        give_up(change, is_doubtful=False)
        raise
    if server is None:
        return
    try:
        run(server, commands.set_imp_password(login, change.password))
    except BroadworksError as error:
        give_up(change, is_doubtful=isinstance(error, Doubtful))
        raise broadworks_problem(error) from error


def adopt(actor: Actor | None, user: EndUser, change: Change, *, how: str) -> ImpAccount:
    """BroadWorks has it: so do we. May run inside the caller's transaction.

    Raises Problem `broadworks_unreachable` (502) when somebody else took the account over meanwhile.
    """
    with transaction.atomic():
        row = ImpAccount.objects.select_for_update().filter(pk=change.account.pk, claim=change.claim).first()
        if row is not None:
            _become(row, change)
            audit.record(actor, "imp_password", user, after={"imp_password": how})
            tell_user(row, session=False)
            return row
    _restore_after_all(change)
    raise Problem("broadworks_unreachable", "BroadWorks took too long. Nothing was changed.", status=502)


def _become(row: ImpAccount, change: Change) -> None:
    row.password, row.pending_password = change.password, ""
    row.password_set_at = clock.now()
    row.version += 1
    if row.status in TERMINAL:
        row.status, row.status_reason, row.status_at = AccountStatus.OFFLINE, "", clock.now()
    connection = change.connection
    has_files = connection is not None and bool(connection.host) and any(connection.tag_names)
    row.password_state = PasswordState.DEVICE_CONFIG_PENDING if has_files else PasswordState.SET
    row.work, row.work_detail, row.work_tries = next_work(row), "", 0
    # The claim stays for the device configuration, which follows at once.
    row.work_due_at = clock.now() + CLAIM if row.work else None
    row.claim = change.claim if row.work == Work.DEVICE else None
    row.save()


def give_up(change: Change, *, is_doubtful: bool) -> None:
    """Drop the pending password; where BroadWorks may have it, or another one, the present one is to be set again."""
    unsure = is_doubtful or change.former_work == Work.RESTORE
    held = ImpAccount.objects.filter(pk=change.account.pk, claim=change.claim)
    if unsure and readable(change.account, "password"):
        if not held.update(pending_password="", claim=None, work=Work.RESTORE, work_due_at=clock.now()):
            _restore_after_all(change)
        run_soon(WORK_TASK)
        return
    work = Work.GENERATE if change.former_work == Work.GENERATE else next_work(change.account)
    due = clock.now() + timedelta(minutes=1) if work else None
    held.update(pending_password="", claim=None, work=work, work_due_at=due)


def _restore_after_all(change: Change) -> None:
    """We were so slow that the account is another's, who may have set its password before ours arrived."""
    late = ImpAccount.objects.filter(pk=change.account.pk, claim=None).exclude(password="")
    late.update(work=Work.RESTORE, work_due_at=clock.now())
    run_soon(WORK_TASK)
