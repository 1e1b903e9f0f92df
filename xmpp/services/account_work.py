"""What is left to do at BroadWorks for accounts.

A worker claims a due account, and writes only while its claim stands. While a BroadWorks cannot be reached, the others
that are due there wait too, so that nobody else's have to wait for their time-outs.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import transaction

from portal import clock
from portal.background import few_at_once
from portal.encryption import Undecryptable
from portal.problems import Problem
from xmpp.broadworks import BroadworksError, Doubtful, Server, Unreachable, commands, run
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services.accounts import derived_imp_id, name_account, next_work
from xmpp.services.connections import connection_of, server_of
from xmpp.services.device_config import try_later, update_devices
from xmpp.services.password_changes import CLAIM, Change, adopt
from xmpp.services.passwords import is_managed, new_password
from xmpp.states import Work

_PAUSE = timedelta(minutes=1)
_UNDECRYPTABLE = "The IM&P password cannot be decrypted. Set it anew."


@few_at_once(2)
def work_due_accounts() -> int:
    """Work on every account that is due; returns how many. Any number of workers may run at once."""
    done = 0
    while (claimed := _claim_one()) is not None:
        _work(*claimed)
        done += 1
    return done


def _claim_one() -> tuple[ImpAccount, uuid.UUID] | None:
    due = ImpAccount.objects.exclude(work="").filter(work_due_at__lte=clock.now())
    for key in due.order_by("work_due_at").values_list("pk", flat=True)[:20]:
        claim = uuid.uuid4()
        if due.filter(pk=key).update(claim=claim, work_due_at=clock.now() + CLAIM):
            row = ImpAccount.objects.select_related("user__system_provider").filter(pk=key, claim=claim).first()
            return (row, claim) if row is not None else None
    return None


def _work(account: ImpAccount, claim: uuid.UUID) -> None:
    connection = connection_of(account.system_provider_id)
    # What is doubtful is set right also where the service was switched off meanwhile: it may go on again.
    if not account.is_on and account.work != Work.RESTORE:
        _finish(account, claim, work="")
        return
    try:
        server = server_of(connection)
        if account.work == Work.GENERATE:
            _generate(account, claim, connection, server)
        elif account.work == Work.RESTORE:
            _restore(account, claim, connection, server)
        elif account.work == Work.NAME:
            _name(account, claim, connection, server)
        else:
            update_devices(account, connection, claim)
    except Undecryptable:
        try_later(account, claim, _UNDECRYPTABLE)
    except (BroadworksError, Problem) as error:
        try_later(account, claim, error.detail)
        if isinstance(error, Unreachable | Doubtful):
            others = ImpAccount.objects.exclude(work="").filter(
                system_provider_id=account.system_provider_id, claim=None
            )
            others.filter(work_due_at__lte=clock.now()).update(work_due_at=clock.now() + _PAUSE)


def _generate(
    account: ImpAccount, claim: uuid.UUID, connection: BroadworksConnection | None, server: Server | None
) -> None:
    """The same one at every try, so that whichever BroadWorks took is the one that is adopted."""
    if account.password or not is_managed(account.user):
        _finish(account, claim, work=next_work(account))
        return
    password = account.pending_password or new_password()
    if not ImpAccount.objects.filter(pk=account.pk, claim=claim).update(pending_password=password):
        return
    _set_first(account, claim, connection, server, password, how="generated")


def _restore(
    account: ImpAccount, claim: uuid.UUID, connection: BroadworksConnection | None, server: Server | None
) -> None:
    """Whoever was changing the password is gone, or had no answer."""
    if account.pending_password and not account.password and account.is_on:
        _set_first(account, claim, connection, server, account.pending_password, how="changed")
        return
    if account.password and server is not None:
        run(server, commands.set_imp_password(account.user.login, account.password))
    _finish(account, claim, work=next_work(account))


def _set_first(
    account: ImpAccount,
    claim: uuid.UUID,
    connection: BroadworksConnection | None,
    server: Server | None,
    password: str,
    *,
    how: str,
) -> None:
    """The first password of an account, which BroadWorks may have been told already."""
    if server is not None:
        run(server, commands.set_imp_password(account.user.login, password))
    adopted = adopt(None, account.user, Change(account, connection, password, claim, account.work), how=how)
    update_devices(adopted, connection, claim)


def _name(
    account: ImpAccount, claim: uuid.UUID, connection: BroadworksConnection | None, server: Server | None
) -> None:
    found = run(server, commands.get_imp_state(account.user.login)).imp_id if server is not None else ""
    imp_id = found or derived_imp_id(account, connection)
    with transaction.atomic():
        row = ImpAccount.objects.select_for_update().select_related("user").filter(pk=account.pk, claim=claim).first()
        if row is not None and imp_id:
            name_account(row, imp_id)
    _finish(account, claim, work=next_work(row) if row is not None and row.imp_id else "")


def _finish(account: ImpAccount, claim: uuid.UUID, *, work: str) -> None:
    """The pending password, if there is one, is not to be."""
    ImpAccount.objects.filter(pk=account.pk, claim=claim).update(
        claim=None,
        pending_password="",
        work=work,
        work_due_at=clock.now() if work else None,
        work_tries=0,
        work_detail="",
    )
