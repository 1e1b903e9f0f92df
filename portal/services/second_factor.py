"""The second factor of staff: TOTP (RFC 6238) with recovery codes. Logging in asks for it after the password.

Every change ends the account's other sessions, stands in the audit trail and is told to the account by mail.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import timedelta
from hmac import compare_digest
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import transaction
from django_otp.oath import hotp

from portal import clock
from portal.models import PortalAccount, RecoveryCode, SecondFactor
from portal.problems import Problem, conflict
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.services.accounts import require_password
from portal.services.mail import queue_mail

ISSUER = "Partner Portal"
STEP_S = 30
DRIFT_STEPS = 1
RECOVERY_CODES = 10
# 80 random bits, which need neither a slow hash nor a limit on guesses.
_RECOVERY_BYTES = 10
_RECOVERY_LENGTH = 16
# Six digits can be guessed: after so many wrong ones each try must wait, twice as long every time.
FREE_FAILURES = 5
_FIRST_WAIT_S = 30
_LONGEST_WAIT_S = 15 * 60
_FORGOTTEN_AFTER = timedelta(days=1)


def factor_of(account: PortalAccount) -> SecondFactor | None:
    """The account's factor, also one that is being set up."""
    return SecondFactor.objects.filter(account=account).first()


def is_on(account: PortalAccount) -> bool:
    """Whether logging in asks for a code."""
    return SecondFactor.objects.filter(account=account, confirmed_at__isnull=False).exists()


def must_set_up(account: PortalAccount) -> bool:
    """Whether the installation asks for a second factor (PORTAL_REQUIRE_2FA) that the account does not have yet."""
    return bool(settings.REQUIRE_2FA) and not is_on(account)


def codes_left(factor: SecondFactor) -> int:
    return RecoveryCode.objects.filter(factor=factor, used_at=None).count()


def begin(*, account: PortalAccount) -> SecondFactor:
    """A new secret for an authenticator app. It counts when a code of it has been given to `confirm`.

    Raises Problem `second_factor_on` (409) when the account has one.
    """
    with transaction.atomic():
        account = _locked(account)
        if is_on(account):
            raise conflict("second_factor_on", "Two-step login is on. Turn it off before you set up another device.")
        SecondFactor.objects.filter(account=account).delete()
        secret = base64.b32encode(secrets.token_bytes(20)).decode()
        factor = SecondFactor.objects.create(account=account, secret=secret)
        audit.record(account, "begin_second_factor", account)
    return factor


def cancel(*, account: PortalAccount) -> None:
    """Forget a secret that was not confirmed."""
    with transaction.atomic():
        dropped, _ = SecondFactor.objects.filter(account=account, confirmed_at=None).delete()
        if dropped:
            audit.record(account, "cancel_second_factor", account)


def confirm(*, account: PortalAccount, present_password: str, code: str) -> list[str]:
    """Turn the factor on with a first code of it; returns the recovery codes, for this once.

    Raises Problem `bad_credentials` (401), `rate_limited` (429), `second_factor_off` (409) when none was begun.
    """
    require_password(account=account, present_password=present_password)
    _require_code(account, code, confirmed=False)
    with transaction.atomic():
        account = _locked(account)
        factor = SecondFactor.objects.filter(account=account, confirmed_at=None).first()
        if factor is None:
            raise _off()
        factor.confirmed_at = clock.now()
        factor.save(update_fields=["confirmed_at"])
        codes = _new_recovery_codes(factor)
        _changed(account, account, "enable_second_factor", "Two-step login was turned on for your account.")
    return codes


def renew_recovery_codes(*, account: PortalAccount, present_password: str, code: str) -> list[str]:
    """Ten new recovery codes; the former ones end. Raises Problem as `turn_off`."""
    require_password(account=account, present_password=present_password)
    require_code(account=account, code=code)
    with transaction.atomic():
        account = _locked(account)
        factor = SecondFactor.objects.filter(account=account, confirmed_at__isnull=False).first()
        if factor is None:
            raise _off()
        codes = _new_recovery_codes(factor)
        _changed(account, account, "renew_recovery_codes", "New recovery codes were made for your account.")
    return codes


def turn_off(*, account: PortalAccount, present_password: str, code: str) -> None:
    """End the second factor. Raises Problem `bad_credentials` (401), `rate_limited` (429), `second_factor_off` and,
    where the installation asks for one, `second_factor_required` (409)."""
    if settings.REQUIRE_2FA:
        raise conflict("second_factor_required", "Two-step login cannot be turned off here: every account needs it.")
    require_password(account=account, present_password=present_password)
    require_code(account=account, code=code)
    with transaction.atomic():
        account = _locked(account)
        SecondFactor.objects.filter(account=account).delete()
        _changed(account, account, "disable_second_factor", "Two-step login was turned off for your account.")


def reset(*, actor: Actor, account: PortalAccount) -> None:
    """Take the second factor of somebody who lost device and codes; `account` was found through `visible_to`.

    Raises Problem `read_only`, `own_account` and `second_factor_off` (409).
    """
    require_writer(actor)
    if actor.pk == account.pk:
        raise conflict("own_account", "Turn off your own two-step login under My account.")
    with transaction.atomic():
        account = _locked(account)
        if not is_on(account):
            raise _off()
        SecondFactor.objects.filter(account=account).delete()
        name = audit.actor_of(actor)["actor_name"]
        _changed(actor, account, "reset_second_factor", f"Two-step login was turned off for your account by {name}.")


def require_code(*, account: PortalAccount, code: str) -> None:
    """Accept a code of the device, or a recovery code, once.

    Raises Problem `bad_credentials` (401), `rate_limited` (429) after some wrong ones, which a recovery code passes.
    """
    _require_code(account, code, confirmed=True)


def setup_uri(factor: SecondFactor) -> str:
    """What the QR code says to an authenticator app (otpauth, the Key URI Format)."""
    label = quote(f"{ISSUER}:{factor.account.username}")
    return f"otpauth://totp/{label}?{urlencode({'secret': factor.secret, 'issuer': ISSUER}, quote_via=quote)}"


def _require_code(account: PortalAccount, code: str, *, confirmed: bool) -> None:
    with transaction.atomic():  # a refusal is raised after it, because wrong codes must stay counted
        factor = (
            SecondFactor.objects.select_for_update()
            .filter(account=account, confirmed_at__isnull=not confirmed)
            .select_related("account")
            .first()
        )
        if factor is None:
            raise _off()
        refusal = _refusal(factor, "".join(code.split()).replace("-", "").lower())
    if refusal is not None:
        raise refusal


def _refusal(factor: SecondFactor, code: str) -> Problem | None:
    """Why the code does not count; None when it does, and then it is used up."""
    if len(code) == _RECOVERY_LENGTH:
        return None if _use_recovery_code(factor, code) else _wrong()
    now = clock.now()
    if factor.wait_until is not None and factor.wait_until > now:
        wait_s = int((factor.wait_until - now).total_seconds()) + 1
        text = f"Too many wrong codes. Try again in {wait_s} seconds, or use a recovery code."
        return Problem("rate_limited", text, status=429, retry_after_s=wait_s)
    step = _step_of(factor, code, int(now.timestamp()) // STEP_S)
    if step is None:
        _count_failure(factor)
        return _wrong()
    factor.last_step, factor.failures, factor.wait_until = step, 0, None
    factor.save(update_fields=["last_step", "failures", "wait_until"])
    return None


def _step_of(factor: SecondFactor, code: str, now: int) -> int | None:
    """The time step whose code this is: the present one or a neighbour, later than any accepted before."""
    key = base64.b32decode(factor.secret)
    for step in range(now - DRIFT_STEPS, now + DRIFT_STEPS + 1):
        if step > factor.last_step and compare_digest(f"{hotp(key, step):06d}".encode(), code.encode()):
            return step
    return None


def _count_failure(factor: SecondFactor) -> None:
    now = clock.now()
    if factor.wait_until is not None and now - factor.wait_until > _FORGOTTEN_AFTER:
        factor.failures = 0
    factor.failures += 1
    over = factor.failures - FREE_FAILURES
    if over >= 0:
        factor.wait_until = now + timedelta(seconds=min(_FIRST_WAIT_S * 2 ** min(over, 10), _LONGEST_WAIT_S))
    factor.save(update_fields=["failures", "wait_until"])
    if over == 0 and factor.confirmed_at is not None:
        _tell(
            factor.account,
            "Several wrong codes were given for your account by somebody who knows your password. "
            "If that was not you, change your password now.",
        )


def _use_recovery_code(factor: SecondFactor, code: str) -> bool:
    unused = RecoveryCode.objects.filter(factor=factor, digest=_digest(code), used_at=None)
    if not unused.update(used_at=clock.now()):
        return False
    left = codes_left(factor)
    audit.record(factor.account, "use_recovery_code", factor.account, after={"codes_left": left})
    _tell(factor.account, f"A recovery code was used to log in to your account. You have {left} left.")
    return True


def _new_recovery_codes(factor: SecondFactor) -> list[str]:
    RecoveryCode.objects.filter(factor=factor).delete()
    codes = [base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower() for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.bulk_create([RecoveryCode(factor=factor, digest=_digest(code)) for code in codes])
    return ["-".join(code[at : at + 4] for at in range(0, _RECOVERY_LENGTH, 4)) for code in codes]


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _locked(account: PortalAccount) -> PortalAccount:
    row: PortalAccount = PortalAccount.objects.select_for_update().get(pk=account.pk)
    return row


def _changed(actor: Actor, account: PortalAccount, action: str, sentence: str) -> None:
    """What every change of a factor brings with it; `account` is locked."""
    account.end_sessions()
    account.save(update_fields=["session_stamp"])
    audit.record(actor, action, account)
    _tell(account, f"{sentence} If that was not you, tell your administrator at once.")


def _tell(account: PortalAccount, text: str) -> None:
    queue_mail(to=account.email, subject="Two-step login of your portal account", text=f"{account.username}: {text}\n")


def _wrong() -> Problem:
    return Problem("bad_credentials", "This code is wrong or was used already.", status=401)


def _off() -> Problem:
    return conflict("second_factor_off", "Two-step login is not set up for this account.")
