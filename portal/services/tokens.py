"""API tokens of staff and devices: made at random, shown once, stored as a digest, revocable, expiring."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Lower

from portal import clock
from portal.events import wake
from portal.models import Device, EndUser, PortalAccount, StaffToken
from portal.problems import Problem, invalid
from portal.scoping import Actor
from portal.services import audit, second_factor
from portal.services.accounts import account_named, require_password
from portal.services.throttling import check_attempts, forgive_attempt
from portal.sql import columns_of, execute_planned, load

STAFF_PREFIX = "pps_"
DEVICE_PREFIX = "ppd_"
_USED_RESOLUTION = timedelta(minutes=1)

# Each call of each client asks it; by the ORM it took a third of a short call.
_DEVICE = f"""
    SELECT {columns_of(Device, "d")}, {columns_of(EndUser, "u")}
    FROM portal_device d JOIN portal_enduser u ON u.id = d.user_id WHERE d.digest = %(digest)s
"""  # noqa: S608 - made of names of columns
_DEVICE_COLUMNS = len(Device._meta.concrete_fields)


@dataclass(frozen=True)
class IssuedToken:
    """A new token in plain, for this once."""

    plain: str = field(repr=False)
    row: StaffToken | Device


def digest_of(plain: str) -> str:
    """What is stored of a token. A token has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(plain.encode()).hexdigest()


def bad_credentials() -> Problem:
    return Problem("bad_credentials", "User name or password is wrong, or the account is inactive.", status=401)


def otp_required(detail: str) -> Problem:
    return Problem("otp_required", detail, status=401)


def log_in_staff(*, username: str, password: str, otp: str = "", name: str, days: int | None = None) -> IssuedToken:
    """A staff token for a user name and password, and a code where the account has a second factor.

    Raises Problem `bad_credentials`, `otp_required` (401), `rate_limited` (429).
    """
    check_attempts("staff", username)
    account = account_named(username)
    if account is None:
        make_password(password)  # the same time whether or not the name exists
    if account is None or not account.check_password(password) or not account.is_active:
        raise bad_credentials()
    asks_for_code = second_factor.is_on(account)
    if asks_for_code and otp:
        second_factor.require_code(account=account, code=otp)
    forgive_attempt("staff", username)
    if asks_for_code and not otp:
        raise otp_required("Send the code of your authenticator app, or a recovery code, as otp.")
    if second_factor.must_set_up(account):
        raise otp_required("Every account needs two-step login here. Set yours up on the staff site first.")
    return issue_staff_token(account=account, name=name, days=days)


def issue_own_token(*, account: PortalAccount, present_password: str, name: str, days: int) -> IssuedToken:
    """A token for whoever is logged in: it lives on when the session has ended.

    Raises Problem `bad_credentials` (401), `rate_limited` (429), `invalid`.
    """
    require_password(account=account, present_password=present_password)
    return issue_staff_token(account=account, name=name, days=days)


def issue_staff_token(*, account: PortalAccount, name: str, days: int | None = None) -> IssuedToken:
    """A token with the account's scope and role. `days` up to 365. Raises Problem `invalid`."""
    days = settings.STAFF_TOKEN_DAYS if days is None else days
    if not 1 <= days <= settings.STAFF_TOKEN_DAYS:
        raise invalid(expires_in_days=f"Choose 1 to {settings.STAFF_TOKEN_DAYS} days.")
    if not name.strip():
        raise invalid(name="Give the token a name, so that you know it again.")
    plain = STAFF_PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        row = StaffToken.objects.create(
            account=account,
            name=name.strip()[:120],
            digest=digest_of(plain),
            expires_at=clock.now() + timedelta(days=days),
        )
        audit.record(account, "create", row, after={"name": row.name, "expires_at": str(row.expires_at)})
    return IssuedToken(plain, row)


def revoke_staff_token(*, actor: Actor | None, token: StaffToken) -> None:
    """End a token at once."""
    with transaction.atomic():
        audit.record(actor, "delete", token, before={"name": token.name})
        token.delete()


def staff_of_token(plain: str) -> tuple[PortalAccount, StaffToken]:
    """The account behind a token. Raises Problem `unauthenticated` or `token_expired` (401)."""
    row = StaffToken.objects.select_related("account").filter(digest=digest_of(plain)).first()
    if row is None or not row.account.is_active:
        raise unauthenticated()
    _require_unexpired(row.expires_at)
    if row.last_used_at is None or clock.now() - row.last_used_at > _USED_RESOLUTION:
        StaffToken.objects.filter(pk=row.pk).update(last_used_at=clock.now())
    return row.account, row


def log_in_device(*, login: str, password: str, device: str) -> tuple[IssuedToken, EndUser]:
    """A device token for a user. Raises Problem `bad_credentials` (401), `rate_limited` (429), `invalid`."""
    check_attempts("user", login)
    users = EndUser.objects.select_related("system_provider")  # it is shown with the user
    user = users.filter(login__lower=Lower(Value(login))).first()
    if user is None:
        make_password(password)  # the same time whether or not the login exists
    if user is None or not user.check_password(password) or not user.is_active:
        raise bad_credentials()
    forgive_attempt("user", login)
    plain = DEVICE_PREFIX + secrets.token_urlsafe(32)
    row = Device.objects.create(
        user=user, name=device[:120], digest=digest_of(plain), expires_at=_device_expiry(clock.now())
    )
    return IssuedToken(plain, row), user


def device_of_token(plain: str) -> Device:
    """The device behind a token; its user under `.user`. Raises Problem `unauthenticated` or `token_expired` (401)."""
    row = _device_with(digest_of(plain))
    if row is None or not row.user.is_active:
        raise unauthenticated()
    _require_unexpired(row.expires_at)
    now = clock.now()
    if now - row.last_used_at > _USED_RESOLUTION:
        Device.objects.filter(pk=row.pk).update(last_used_at=now, expires_at=_device_expiry(now))
    return row


def _device_with(digest: str) -> Device | None:
    rows = execute_planned(_DEVICE, {"digest": digest})
    if not rows:
        return None
    device = load(Device, rows[0][:_DEVICE_COLUMNS])
    device.user = load(EndUser, rows[0][_DEVICE_COLUMNS:])
    return device


def revoke_device(*, device: Device) -> None:
    """Log a device out; its event streams end within seconds."""
    user_id = device.user_id
    device.delete()
    wake(f"user:{user_id}")


def unauthenticated() -> Problem:
    return Problem("unauthenticated", "Send a valid token as Authorization: Bearer <token>.", status=401)


def _require_unexpired(expires_at: datetime) -> None:
    if expires_at <= clock.now():
        raise Problem("token_expired", "This token has expired. Log in again.", status=401)


def _device_expiry(now: datetime) -> datetime:
    return now + timedelta(days=settings.DEVICE_TOKEN_IDLE_DAYS)
