"""Portal accounts. Whatever changes who gets alerts runs with the tenant locked, so that two administrators who act at
the same moment cannot together leave a system provider without anyone to alert (S4.21, R10)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from portal.extensions import check_guards
from portal.models import Group, Level, PortalAccount, Reseller, StaffToken, SystemProvider
from portal.problems import Problem, conflict, invalid, not_found
from portal.scoping import Actor, require_writer
from portal.services import audit
from portal.services.changes import apply_changes, require_free_name, validate
from portal.services.throttling import check_attempts, forgive_attempt

Scope = SystemProvider | Reseller | Group | None
ACCOUNT_FIELDS = {"username", "email", "name", "role", "send_alerts", "is_active", "time_zone"}
OWN_FIELDS = {"name", "time_zone"}
SCOPE_MODELS: dict[str, type[SystemProvider | Reseller | Group]] = {
    Level.SYSTEM_PROVIDER.value: SystemProvider,
    Level.RESELLER.value: Reseller,
    Level.GROUP.value: Group,
}
_RANK = [Level.OPERATOR.value, Level.SYSTEM_PROVIDER.value, Level.RESELLER.value, Level.GROUP.value]


def create_operator(*, username: str, email: str, password: str) -> PortalAccount:
    """The first account of an installation; an operator of that name is kept as it is (safe to repeat)."""
    existing: PortalAccount | None = account_named(username)
    if existing is not None:
        if existing.level != Level.OPERATOR:
            raise conflict("username_taken", f"{username} exists and is not an operator. Choose another user name.")
        return existing
    return create_account(actor=None, level="operator", scope=None, username=username, email=email, password=password)


def account_named(username: str) -> PortalAccount | None:
    """The account with that user name, in upper or lower case."""
    try:
        account: PortalAccount = PortalAccount.objects.get_by_natural_key(username)
    except PortalAccount.DoesNotExist:
        return None
    return account


def create_account(
    *, actor: Actor | None, level: str, scope: Scope, password: str = "", **fields: Any
) -> PortalAccount:
    """A new account of `level` for the row `scope`, which the caller found through `visible_to`.

    Raises Problem `invalid`, or `not_allowed` when `level` is above the actor's own.
    """
    require_writer(actor)
    _require_level(actor, level)
    with transaction.atomic():
        account = PortalAccount(**fields)
        _set_scope(account, level, scope)
        _set_password(account, password)
        validate(account, exclude={"password"})
        require_free_name(account, "username")
        account.save(force_insert=True)
        after = {"username": account.username, "level": level, "role": account.role, "send_alerts": account.send_alerts}
        audit.record(actor, "create", account, after=after)
    return account


def update_account(
    *,
    actor: Actor | None,
    account: PortalAccount,
    changes: Mapping[str, Any],
    level: str | None = None,
    scope: Scope = None,
    password: str | None = None,
) -> PortalAccount:
    """Change or move an account; with `level` it moves to `scope`. New passwords and deactivation end its tokens and
    sessions, another level or role its sessions.

    Raises Problem `last_alert_account` (409, S4.21), `invalid`, `not_allowed`.
    """
    require_writer(actor)
    if level is not None:
        _require_level(actor, level)
    with transaction.atomic():
        account = _lock(account)
        was = {"level": account.level, "scope": str(account.actor_scope_id)}
        before, after = apply_changes(account, changes, allowed=ACCOUNT_FIELDS)
        if level is not None:
            _set_scope(account, level, scope)
            now = {"level": account.level, "scope": str(account.actor_scope_id)}
            before, after = (before | was, after | now) if was != now else (before, after)
        if password:
            _renew_password(account, password)
            after |= {"password": "changed"}
        validate(account, exclude={"password"})
        if "username" in after:
            require_free_name(account, "username")
        if {"is_active", "role", *was} & set(after):
            account.end_sessions()
        account.save()
        if not account.is_active:
            StaffToken.objects.filter(account=account).delete()
        check_guards(account, "update")
        _forbid_own(actor, account, after)
        audit.record(actor, "update", account, before=before, after=after)
    return account


def update_own_account(*, account: PortalAccount, changes: Mapping[str, Any]) -> PortalAccount:
    """What everyone may change of the own account, read-only ones too. Raises Problem `invalid`."""
    with transaction.atomic():
        account = PortalAccount.objects.select_for_update().get(pk=account.pk)
        before, after = apply_changes(account, changes, allowed=OWN_FIELDS)
        validate(account, exclude={"password"})
        account.save()
        if after:
            audit.record(account, "update", account, before=before, after=after)
    return account


def change_own_password(*, account: PortalAccount, present_password: str, password: str) -> PortalAccount:
    """A new password for the own account, which ends its API tokens and sessions.

    Raises Problem `invalid`, and what `require_password` raises.
    """
    require_password(account=account, present_password=present_password)
    with transaction.atomic():
        account = PortalAccount.objects.select_for_update().get(pk=account.pk)
        _renew_password(account, password)
        account.save()
        audit.record(account, "update", account, after={"password": "changed"})
    return account


def require_password(*, account: PortalAccount, present_password: str) -> None:
    """The password once more, so that an unlocked screen or a stolen session does not give the account away.

    Raises Problem `bad_credentials` (401), `rate_limited` (429): whoever has a session may not guess either.
    """
    check_attempts("staff", account.username)
    if not account.check_password(present_password):
        sentence = "This is not your present password."
        raise Problem("bad_credentials", sentence, status=401, errors={"present_password": [sentence]})
    forgive_attempt("staff", account.username)


def delete_account(*, actor: Actor | None, account: PortalAccount) -> None:
    """Delete an account with its tokens. Raises Problem `last_alert_account` (409, S4.21)."""
    require_writer(actor)
    with transaction.atomic():
        account = _lock(account)
        check_guards(account, "delete")
        if actor is not None and actor.pk == account.pk:
            raise conflict("own_account", "You cannot delete the account you are logged in with.")
        audit.record(actor, "delete", account, before={"username": account.username, "level": account.level})
        account.delete()


def alert_accounts(system_provider_id: uuid.UUID) -> list[PortalAccount]:
    """The active accounts of the system provider itself that get alert mails (S1.8, R10)."""
    return list(
        PortalAccount.objects.filter(
            system_provider_id=system_provider_id, level=Level.SYSTEM_PROVIDER, send_alerts=True, is_active=True
        ).order_by("id")
    )


def branch_alert_accounts(reseller_id: uuid.UUID, group_id: uuid.UUID) -> list[PortalAccount]:
    """Reseller and group accounts that opted for the alerts of their own branch (R10)."""
    active = PortalAccount.objects.filter(send_alerts=True, is_active=True)
    return list(active.filter(level=Level.RESELLER, reseller_id=reseller_id)) + list(
        active.filter(level=Level.GROUP, group_id=group_id)
    )


def lock_tenant(system_provider_id: uuid.UUID) -> None:
    """Wait for and hold the tenant's row until commit: who gets alerts and whether a platform exists change in turn."""
    list(SystemProvider.objects.select_for_update().filter(pk=system_provider_id).values_list("pk"))


def _lock(account: PortalAccount) -> PortalAccount:
    """The account as it is now, with the tenant it belongs to now locked before it; `left_tenant_id` is that tenant.

    Raises Problem `not_found`, or `changed_meanwhile` when it was moved while we waited.
    """
    found = PortalAccount.objects.filter(pk=account.pk)
    tenant_id = found.values_list("system_provider_id", flat=True).first()
    if tenant_id is not None:
        lock_tenant(tenant_id)
    row: PortalAccount | None = found.select_for_update().first()
    if row is None:
        raise not_found("Portal account")
    if row.system_provider_id != tenant_id:
        raise conflict("changed_meanwhile", "Somebody else moved this account just now. Look and try again.")
    row.left_tenant_id = tenant_id
    return row


def _require_level(actor: Actor | None, level: str) -> None:
    if level not in _RANK:
        raise invalid(level=f"Choose one of {', '.join(_RANK)}.")
    if actor is not None and _RANK.index(level) < _RANK.index(actor.actor_level):
        raise Problem("not_allowed", "You cannot give an account a level above your own.", status=403)


def _set_scope(account: PortalAccount, level: str, scope: Scope) -> None:
    """Put the account on `level`, with the levels above it copied from `scope`."""
    wanted = SCOPE_MODELS.get(level)
    if (wanted is None) != (scope is None) or (wanted is not None and not isinstance(scope, wanted)):
        raise invalid(scope="An operator has no scope." if wanted is None else f"Choose the {level.replace('_', ' ')}.")
    account.level = level
    account.group = scope if isinstance(scope, Group) else None
    account.reseller = scope if isinstance(scope, Reseller) else getattr(scope, "reseller", None)
    account.system_provider = scope if isinstance(scope, SystemProvider) else getattr(scope, "system_provider", None)


def _forbid_own(actor: Actor | None, account: PortalAccount, after: Mapping[str, Any]) -> None:
    if actor is None or actor.pk != account.pk:
        return
    if {"role", "is_active", "level", "scope"} & set(after):
        raise conflict("own_account", "You cannot change the level or role of your own account, nor deactivate it.")
    if "password" in after:
        raise conflict("own_account", "Change your own password under My account, where the present one is asked for.")


def _renew_password(account: PortalAccount, password: str) -> None:
    """It ends the account's API tokens and sessions. The caller saves."""
    _set_password(account, password)
    account.end_sessions()
    StaffToken.objects.filter(account=account).delete()


def _set_password(account: PortalAccount, password: str) -> None:
    try:
        validate_password(password, account)
    except ValidationError as error:
        raise Problem("invalid", " ".join(error.messages), errors={"password": error.messages}) from error
    account.set_password(password)
