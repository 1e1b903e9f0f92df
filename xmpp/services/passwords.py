"""XMPP passwords: what may be one, and who may change it: users and staff, or nobody where they are made at random
(S0.12-S0.24, R1, R2). How a change reaches BroadWorks says `password_changes`.
"""

from __future__ import annotations

import secrets
import string

from portal import clock
from portal.background import run_soon
from portal.encryption import readable
from portal.models import EndUser
from portal.problems import Problem, conflict, invalid, not_found
from portal.scoping import Actor, require_writer
from portal.services import throttling
from xmpp.models import ImpAccount
from xmpp.services.accounts import account_of
from xmpp.services.connections import WORK_TASK, connection_of
from xmpp.services.device_config import update_devices
from xmpp.services.password_changes import adopt, begin_change
from xmpp.states import PasswordState, Work

SHORTEST, LONGEST, GENERATED = 8, 100, 24
_ALPHABET = string.ascii_letters + string.digits


def change_own_password(*, user: EndUser, password: str, retype: str) -> ImpAccount:
    """*Change Password* of the client (S0.13-S0.17). A wrong attempt changes nothing.

    Raises Problem `not_found` without the service, `password_managed` (409), `mismatch`, `too_short`, `same_as_login`
    (400), `broadworks_refused`, `broadworks_unreachable` (502).
    """
    account = account_of(user)
    if account is None or not account.is_on:
        raise not_found("XMPP")
    return _change(user, user, account, _checked(user, password, retype), how="changed")


def generate_password(*, actor: Actor | None, user: EndUser) -> ImpAccount:
    """*Generate anew*: a random password, whatever the branding says (S0.24).

    Raises Problem `imp_not_enabled`, `change_in_progress` (409), `broadworks_refused`, `broadworks_unreachable` (502).
    """
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


def check_password(user: EndUser, password: str, retype: str | None = None) -> None:
    """Whether staff may set this password, which is not done here.

    Raises Problem `password_managed` (409), `mismatch`, `too_short`, `same_as_login` (400), `rate_limited` (429).
    """
    _checked(user, password, password if retype is None else retype)


def refuse_as_login(user: EndUser, password: str) -> Problem | None:
    """R1 from the other side: the XMPP password becomes no login password either (extensions.login_password_rules)."""
    account = None if user._state.adding else account_of(user)
    if account is None or not password or readable(account, "password") != password:
        return None
    return invalid(password="This is the user's XMPP password. Choose another one.")  # noqa: S106


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


def _change(actor: Actor | None, user: EndUser, account: ImpAccount, password: str, *, how: str) -> ImpAccount:
    connection = connection_of(user.system_provider_id)
    change = begin_change(account, connection, password, user.login)
    adopted = adopt(actor, user, change, how=how)
    update_devices(adopted, connection, change.claim)
    adopted.refresh_from_db()
    return adopted
