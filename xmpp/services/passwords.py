"""XMPP passwords: changed by their users, or made at random (S0.12-S0.24); ours and BroadWorks' never differ for long.

Before BroadWorks is told, the new password is stored as pending under a claim. Its yes makes it the password; a no, or
not being reached, drops it. When the answer does not come, or whoever waited for it is killed, nobody knows what
BroadWorks has: then the present password is set there once more (`password_work`), so that what the user was told
("nothing was changed") becomes true.
"""

from __future__ import annotations

import secrets
import string
import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from portal import clock
from portal.background import run_soon
from portal.models import EndUser
from portal.problems import Problem, conflict, invalid, not_found
from portal.scoping import Actor, require_writer
from portal.services import audit, throttling
from xmpp.broadworks import BroadworksError, Doubtful, commands, run
from xmpp.models import BroadworksConnection, ImpAccount
from xmpp.services.accounts import account_of, tell_user
from xmpp.services.connections import WORK_TASK, broadworks_problem, connection_of, server_of
from xmpp.services.device_config import update_devices
from xmpp.states import TERMINAL, AccountStatus, PasswordState, Work

SHORTEST, LONGEST, GENERATED = 8, 100, 24
# Longer than telling BroadWorks can take: three commands of 20 s.
CLAIM = timedelta(minutes=2)
_ALPHABET = string.ascii_letters + string.digits


def change_own_password(*, user: EndUser, password: str, retype: str) -> ImpAccount:
    """*Change Password* of the client (S0.13-S0.17). A wrong attempt changes nothing.

    Raises Problem `not_found` without the service, `password_managed` (409), `mismatch`, `too_short`, `same_as_login`
    (400), `broadworks_refused`, `broadworks_unreachable` (502).
    """
    account = account_of(user)
    if account is None or not account.is_on:
        raise not_found("XMPP")
    return _change(user, user, account, _checked(user, password, retype))


def set_password(*, actor: Actor | None, user: EndUser, password: str, retype: str | None = None) -> ImpAccount:
    """The same by staff, to whom `imp_not_enabled` (409) says that there is no service."""
    require_writer(actor)
    account = require_enabled(user)
    return _change(actor, user, account, _checked(user, password, password if retype is None else retype))


def generate_password(*, actor: Actor | None, user: EndUser) -> ImpAccount:
    """*Generate anew*: a random password, whatever the branding says (S0.24). Raises as `set_password`."""
    require_writer(actor)
    return _change(actor, user, require_enabled(user), new_password(), how="generated")


def is_managed(user: EndUser) -> bool:
    """Whether the brand generates passwords, so that nobody types one (S0.24)."""
    return user.system_provider.auto_generate_xmpp_password


def new_password() -> str:
    """Completely random, with a letter of each case and a digit, as password rules of servers want (S0.20)."""
    while True:
        made = "".join(secrets.choice(_ALPHABET) for _ in range(GENERATED))
        if any(map(str.islower, made)) and any(map(str.isupper, made)) and any(map(str.isdigit, made)):
            return made


def ask_for_password(user: EndUser, account: ImpAccount) -> None:
    """A client of the user starts: without a password yet one is generated soon, and used at all later starts (R38)."""
    if account.password_state != PasswordState.NONE or account.work or not account.is_on or not is_managed(user):
        return
    due = ImpAccount.objects.filter(pk=account.pk, password_state=PasswordState.NONE, work="")
    if due.update(work=Work.GENERATE, work_due_at=clock.now(), work_tries=0):
        run_soon(WORK_TASK)


def check_password(user: EndUser, password: str) -> None:
    """Whether staff may set this password, which is not done here. Raises as `set_password`."""
    _checked(user, password, password)


def adopt_first(account: ImpAccount, connection: BroadworksConnection | None, password: str) -> None:
    """The password of an account that is made in the caller's transaction, which BroadWorks has been told already."""
    account.password, account.password_set_at = password, clock.now()
    _note_devices(account, connection)
    account.work = next_work(account)
    account.work_due_at = clock.now() if account.work else None
    account.save()
    run_soon(WORK_TASK)


def require_enabled(user: EndUser) -> ImpAccount:
    """The user's account. Raises Problem `imp_not_enabled` (409)."""
    account = account_of(user)
    if account is None or not account.is_on:
        raise conflict("imp_not_enabled", "Integrated IM&P is not assigned and enabled for this user. Enable it first.")
    return account


def _checked(user: EndUser, password: str, retype: str) -> str:
    if is_managed(user):
        sentence = "XMPP passwords are generated automatically here, so that nobody needs to choose one."
        raise conflict("password_managed", sentence)
    if password != retype:
        raise _wrong("mismatch", "The two passwords are not the same.", "retype")
    if len(password) < SHORTEST:
        raise _wrong("too_short", f"The password needs at least {SHORTEST} characters.")
    if len(password) > LONGEST or not password.isprintable() or password != password.strip():
        sentence = (
            f"The password may have at most {LONGEST} characters, none that cannot be seen, no spaces at its ends."
        )
        raise invalid(password=sentence)
    _require_other_than_login(user, password)
    return password


def _require_other_than_login(user: EndUser, password: str) -> None:
    """R1. Attempts count as those of logins: the answer says whether it is the login password."""
    throttling.check_attempts("xmpp-password", user.login)
    if user.check_password(password):
        raise _wrong("same_as_login", "The XMPP password must not be the password you log in with. Choose another one.")
    throttling.forgive_attempt("xmpp-password", user.login)


def _wrong(code: str, sentence: str, field: str = "password") -> Problem:
    return Problem(code, sentence, status=400, errors={field: [sentence]})


# --- Telling BroadWorks ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Change:
    """A change that holds its account: what it becomes, and what was left to do before."""

    account: ImpAccount
    connection: BroadworksConnection | None
    password: str
    claim: uuid.UUID
    former_work: str


def _change(
    actor: Actor | None, user: EndUser, account: ImpAccount, password: str, *, how: str = "changed"
) -> ImpAccount:
    connection = connection_of(user.system_provider_id)
    change = _hold(account, connection, password)
    server = server_of(connection)
    if server is not None:
        try:
            run(server, commands.set_imp_password(user.login, password))
        except BroadworksError as error:
            give_up(change, is_doubtful=isinstance(error, Doubtful))
            raise broadworks_problem(error) from error
    adopted = adopt(actor, user, change, how=how)
    if adopted is None:
        raise Problem("broadworks_unreachable", "BroadWorks took too long. Nothing was changed.", status=502)
    update_devices(adopted, connection, change.claim)
    adopted.refresh_from_db()
    return adopted


def _hold(account: ImpAccount, connection: BroadworksConnection | None, password: str) -> Change:
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


def adopt(actor: Actor | None, user: EndUser, change: Change, *, how: str) -> ImpAccount | None:
    """BroadWorks has it: so do we. None when somebody else took the account over meanwhile, who will set it right."""
    with transaction.atomic():
        row = ImpAccount.objects.select_for_update().filter(pk=change.account.pk).first()
        if row is None or row.claim != change.claim:
            _restore_after_all(change)
            return None
        row.password, row.pending_password = change.password, ""
        row.password_set_at = clock.now()
        row.version += 1
        if row.status in TERMINAL:
            row.status, row.status_reason, row.status_at = AccountStatus.OFFLINE, "", clock.now()
        _note_devices(row, change.connection)
        row.work, row.work_detail, row.work_tries = next_work(row), "", 0
        # The claim stays for the device configuration, which follows at once.
        row.work_due_at = clock.now() + CLAIM if row.work else None
        row.claim = change.claim if row.work == Work.DEVICE else None
        row.save()
        audit.record(actor, "imp_password", user, after={"imp_password": how})
        tell_user(row, session=False)
    return row


def _note_devices(account: ImpAccount, connection: BroadworksConnection | None) -> None:
    has_files = connection is not None and bool(connection.host) and any(connection.tag_names)
    account.password_state = PasswordState.DEVICE_CONFIG_PENDING if has_files else PasswordState.SET


def give_up(change: Change, *, is_doubtful: bool) -> None:
    """Drop the pending password; where BroadWorks may have it, or another one, the present one is to be set again."""
    unsure = is_doubtful or change.former_work == Work.RESTORE
    held = ImpAccount.objects.filter(pk=change.account.pk, claim=change.claim)
    if unsure and change.account.password:
        held.update(pending_password="", claim=None, work=Work.RESTORE, work_due_at=clock.now())
        run_soon(WORK_TASK)
        return
    work = Work.GENERATE if change.former_work == Work.GENERATE else next_work(change.account)
    due = clock.now() + timedelta(minutes=1) if work else None
    held.update(pending_password="", claim=None, work=work, work_due_at=due)


def next_work(account: ImpAccount) -> str:
    """What is left to do once the password is settled."""
    if not account.is_on:
        return ""
    if not account.imp_id:
        return Work.NAME
    return Work.DEVICE if account.password_state == PasswordState.DEVICE_CONFIG_PENDING else ""


def _restore_after_all(change: Change) -> None:
    """We were so slow that the account is another's, who may have set its password before ours arrived."""
    late = ImpAccount.objects.filter(pk=change.account.pk, claim=None).exclude(password="")
    late.update(work=Work.RESTORE, work_due_at=clock.now())
    run_soon(WORK_TASK)
