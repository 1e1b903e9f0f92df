"""The tenant tree: system provider → reseller → group. A row never moves to another parent."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from portal.indexes import Folded, level_indexes
from portal.models.base import Row
from portal.time_zones import validate_time_zone


class SystemProvider(Row):
    """A telephony provider that runs the portal for its resellers. The owner of CPaaS platforms."""

    name = models.CharField(max_length=120)
    auto_generate_xmpp_password = models.BooleanField(
        "auto-generate the XMPP password",
        default=True,
        help_text="Branding: the client makes a random XMPP password at its first start.",
    )
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    default_country = models.CharField(max_length=2, default="US", help_text="ISO 3166 code, for example US or GB.")
    staff_may_read_messages = models.BooleanField(
        "resellers and groups may read messages",
        default=True,
        help_text="When off, staff below the system provider see messages without their text.",
    )

    tenant_paths: ClassVar[dict[str, str]] = {"system_provider": "pk"}

    class Meta:
        verbose_name = "system provider"
        indexes = level_indexes("provider_name", Folded("name"), levels=())

    def __str__(self) -> str:
        return self.name


class Reseller(Row):
    system_provider = models.ForeignKey(SystemProvider, models.PROTECT, related_name="resellers")
    name = models.CharField(max_length=120)

    tenant_paths: ClassVar[dict[str, str]] = {"system_provider": "system_provider_id", "reseller": "pk"}

    class Meta:
        indexes = [
            models.Index(fields=["system_provider", "id"], name="reseller_sp_id"),
            *level_indexes("reseller_name", Folded("name"), levels=("system_provider",)),
        ]

    def __str__(self) -> str:
        return self.name


class Group(Row):
    """The organisation users belong to. Groups of one reseller with the same `enterprise` know each other (R42)."""

    system_provider = models.ForeignKey(SystemProvider, models.PROTECT, related_name="+", editable=False)
    reseller = models.ForeignKey(Reseller, models.PROTECT, related_name="groups")
    name = models.CharField(max_length=120)
    enterprise = models.CharField(
        max_length=120, blank=True, default="", help_text="Groups of a reseller with the same text see each other."
    )

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "pk",
    }

    class Meta:
        indexes = [
            models.Index(fields=["system_provider", "id"], name="group_sp_id"),
            models.Index(fields=["reseller", "id"], name="group_reseller_id"),
            models.Index(
                fields=["reseller", "enterprise"], condition=~models.Q(enterprise=""), name="group_enterprise"
            ),
            *level_indexes("group_name", Folded("name")),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: object, **kwargs: object) -> None:
        if self._state.adding:
            self.system_provider_id = self.reseller.system_provider_id
        super().save(*args, **kwargs)  # type: ignore[arg-type]
