"""The second factor of a portal account: a TOTP secret (RFC 6238) and the codes to get in without the device."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from portal.encryption import EncryptedTextField
from portal.models.base import Row


class SecondFactor(Row):
    """The secret an authenticator app shares with us. Until `confirmed_at` it is being set up and asked for nowhere.

    `last_step` is the newest time step a code was accepted of, so that no code counts twice. After some wrong codes
    none is looked at until `wait_until`.
    """

    account = models.OneToOneField("portal.PortalAccount", models.CASCADE, related_name="second_factor")
    secret = EncryptedTextField(editable=False)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    last_step = models.BigIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    wait_until = models.DateTimeField(null=True, blank=True)

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "account__system_provider_id",
        "reseller": "account__reseller_id",
        "group": "account__group_id",
    }

    def __str__(self) -> str:
        return f"second factor of {self.account_id}"


class RecoveryCode(Row):
    """One of the codes that stand in for the device, each once. Only a digest is stored."""

    factor = models.ForeignKey(SecondFactor, models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64, editable=False)
    used_at = models.DateTimeField(null=True, blank=True)

    tenant_paths: ClassVar[dict[str, str]] = {
        level: f"factor__{path}" for level, path in SecondFactor.tenant_paths.items()
    }

    class Meta:
        constraints = [models.UniqueConstraint(fields=["factor", "digest"], name="recovery_code_once")]

    def __str__(self) -> str:
        return f"recovery code of {self.factor_id}"
