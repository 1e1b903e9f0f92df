"""API tokens: of devices (end users) and of staff. Only a digest is stored; the token is shown once."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from portal.models.base import Row


class Device(Row):
    """A client a user logged in with; its token lapses 90 days after the last use.

    `heard_number` is the last of the user's events that was sent to it, noted at `heard_at`, some seconds later.
    """

    user = models.ForeignKey("portal.EndUser", models.CASCADE, related_name="devices")
    name = models.CharField(max_length=120)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    last_used_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    heard_number = models.BigIntegerField(default=0, db_default=0, editable=False)
    heard_at = models.DateTimeField(null=True, editable=False)

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "user__system_provider_id",
        "reseller": "user__reseller_id",
        "group": "user__group_id",
        "user": "user_id",
    }

    class Meta:
        indexes = [models.Index(fields=["user", "id"], name="device_user_id")]

    def __str__(self) -> str:
        return self.name


class StaffToken(Row):
    """A token for automation with the scope and role its account has at the moment of use."""

    account = models.ForeignKey("portal.PortalAccount", models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=120)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "account__system_provider_id",
        "reseller": "account__reseller_id",
        "group": "account__group_id",
    }

    class Meta:
        verbose_name = "API token"
        indexes = [models.Index(fields=["account", "id"], name="stafftoken_account_id")]

    def __str__(self) -> str:
        return self.name
