"""Portal accounts: the staff who log in to the portal. Each belongs to one level with one role."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac

from portal.indexes import Folded, level_indexes
from portal.models.base import Row
from portal.models.tenants import Group, Reseller, SystemProvider
from portal.scoping import TenantQuerySet
from portal.time_zones import validate_time_zone


class Level(models.TextChoices):
    OPERATOR = "operator", "Operator"
    SYSTEM_PROVIDER = "system_provider", "System provider"
    RESELLER = "reseller", "Reseller"
    GROUP = "group", "Group"


class Role(models.TextChoices):
    ADMINISTRATOR = "administrator", "Administrator"
    READ_ONLY = "read_only", "Read-only"


class AccountManager(BaseUserManager["PortalAccount"].from_queryset(TenantQuerySet)):  # type: ignore[misc]
    """Finds accounts by login name, in upper or lower case."""

    def get_by_natural_key(self, username: str | None) -> PortalAccount:
        account: PortalAccount = self.get(username__lower=Lower(models.Value(username or "")))
        return account


class PortalAccount(AbstractBaseUser, Row):
    """A person of a provider, reseller or group. `scope` is the row of its level; the levels above are copies."""

    username = models.CharField(max_length=150, unique=True)
    email = models.EmailField()
    name = models.CharField(max_length=120, blank=True, default="")
    level = models.CharField(max_length=20, choices=Level.choices)
    role = models.CharField(max_length=20, choices=Role.choices, default=Role.ADMINISTRATOR)
    system_provider = models.ForeignKey(SystemProvider, models.PROTECT, null=True, blank=True, related_name="accounts")
    reseller = models.ForeignKey(Reseller, models.PROTECT, null=True, blank=True, related_name="accounts")
    group = models.ForeignKey(Group, models.PROTECT, null=True, blank=True, related_name="accounts")
    send_alerts = models.BooleanField(
        "Send Alerts", default=False, help_text="Gets a mail when a user declines text messaging for a number."
    )
    is_active = models.BooleanField("active", default=True, help_text="An inactive account cannot log in.")
    time_zone = models.CharField(max_length=64, blank=True, default="", validators=[validate_time_zone])
    # Counted on to end every session of the account: it is part of what a session is compared with.
    session_stamp = models.PositiveIntegerField(default=0, db_default=0, editable=False)

    # Set by the service while the account changes: the tenant it belonged to before, for the guards to look at.
    left_tenant_id: uuid.UUID | None = None

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["email"]
    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "group_id",
    }

    objects: ClassVar[Any] = AccountManager()

    class Meta:
        verbose_name = "portal account"
        constraints = [
            models.UniqueConstraint(Lower("username"), name="account_username_in_any_case"),
            models.CheckConstraint(
                name="account_scope_fits_level",
                condition=(
                    models.Q(level="operator", system_provider=None, reseller=None, group=None)
                    | models.Q(level="system_provider", system_provider__isnull=False, reseller=None, group=None)
                    | models.Q(level="reseller", system_provider__isnull=False, reseller__isnull=False, group=None)
                    | models.Q(
                        level="group", system_provider__isnull=False, reseller__isnull=False, group__isnull=False
                    )
                ),
            ),
        ]
        indexes = [
            models.Index(fields=["system_provider", "id"], name="account_sp_id"),
            models.Index(fields=["reseller", "id"], name="account_reseller_id"),
            models.Index(fields=["group", "id"], name="account_group_id"),
            *level_indexes("account_name", Folded("username")),
            *level_indexes("account_level", "level"),
            *level_indexes("account_role", "role"),
            *level_indexes("account_alerts", "send_alerts"),
            *level_indexes("account_inactive", "is_active", condition=models.Q(is_active=False)),
        ]

    def __str__(self) -> str:
        return self.username

    @property
    def actor_level(self) -> str:
        return self.level

    @property
    def actor_scope_id(self) -> uuid.UUID | None:
        """The id of the row of the own level, None for an operator."""
        return {
            Level.SYSTEM_PROVIDER.value: self.system_provider_id,
            Level.RESELLER.value: self.reseller_id,
            Level.GROUP.value: self.group_id,
        }.get(self.level)

    @property
    def scope(self) -> SystemProvider | Reseller | Group | None:
        return {
            Level.SYSTEM_PROVIDER.value: self.system_provider,
            Level.RESELLER.value: self.reseller,
            Level.GROUP.value: self.group,
        }.get(self.level)

    @property
    def may_write(self) -> bool:
        return self.role == Role.ADMINISTRATOR

    @property
    def has_second_factor(self) -> bool:
        """Whether logging in asks for a code; for lists, which read the factor along."""
        factor = getattr(self, "second_factor", None)
        return factor is not None and factor.confirmed_at is not None

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """A session counts while this is the same: until the password changes or `session_stamp` does."""
        salt = "portal.models.accounts.session"
        value = f"{self.password}:{self.session_stamp}"
        return salted_hmac(salt, value, secret=secret, algorithm="sha256").hexdigest()

    def end_sessions(self) -> None:
        """Every session of the account ends when this row is saved."""
        self.session_stamp += 1

    # What Django's admin asks of an account. Rows are kept apart by visible_to, not by permissions.
    @property
    def is_staff(self) -> bool:
        return True

    @property
    def is_superuser(self) -> bool:
        return False

    def has_perm(self, permission: str, obj: object = None) -> bool:
        """Reading is allowed to everyone active, writing to administrators; rows are a matter of `visible_to`."""
        return self.is_active and (self.may_write or ".view_" in permission)

    def has_perms(self, permissions: list[str], obj: object = None) -> bool:
        return all(self.has_perm(permission, obj) for permission in permissions)

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active

    def get_full_name(self) -> str:
        return self.name or self.username

    def get_short_name(self) -> str:
        return self.name or self.username
