"""End users: the people of a group who text, call and see presence through the REST API."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.auth.hashers import check_password, make_password
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower

from portal.indexes import Folded, level_indexes
from portal.models.base import BelowGroup
from portal.time_zones import validate_time_zone


class Licence(models.TextChoices):
    NONE = "none", "None"
    DESKTOP = "desktop", "Desktop"
    AGENT = "agent", "Agent"
    SUPERVISOR = "supervisor", "Supervisor"
    RECEPTION = "reception", "Reception"


class EndUser(BelowGroup):
    """A user of the client. `login` is the BroadWorks user id, unique over all tenants."""

    # Unique by the constraint below. On the bare column PostgreSQL would take a change of it for one of a key, and keep
    # out whoever writes a text or an event of this user, who refers to the row.
    login = models.CharField(max_length=160, help_text="BroadWorks user id.")
    password = models.CharField(max_length=128, blank=True, default="", editable=False)
    name = models.CharField(max_length=120)
    email = models.EmailField(blank=True, default="")
    licence = models.CharField(max_length=20, choices=Licence.choices, default=Licence.DESKTOP)
    extension = models.CharField(max_length=20, blank=True, default="")
    sip_uri = models.CharField("SIP URI", max_length=255, blank=True, default="")
    mobile = models.CharField(max_length=32, blank=True, default="", help_text="Mobile number, stored as E.164.")
    country = models.CharField(max_length=2, blank=True, default="", help_text="ISO 3166; empty: the provider's.")
    time_zone = models.CharField(max_length=64, blank=True, default="", help_text="Empty: the provider's.")
    voicemail_number = models.CharField(max_length=32, blank=True, default="")
    is_active = models.BooleanField("active", default=True)
    mailbox = models.BooleanField(default=True)
    ring_seconds = models.PositiveSmallIntegerField(default=20)
    monitored = models.ManyToManyField("self", symmetrical=False, blank=True, related_name="monitored_by")

    tenant_paths: ClassVar[dict[str, str]] = {**BelowGroup.tenant_paths, "user": "pk"}

    class Meta:
        verbose_name = "user"
        constraints = [models.UniqueConstraint(Lower("login"), name="user_login_in_any_case")]
        indexes = [
            models.Index(fields=["system_provider", "id"], name="user_sp_id"),
            models.Index(fields=["reseller", "id"], name="user_reseller_id"),
            models.Index(fields=["group", "id"], name="user_group_id"),
            models.Index(fields=["group", "mobile"], name="user_group_mobile"),
            models.Index("group", Folded("name"), "id", name="user_group_name"),
            *level_indexes("user_name", Folded("name")),
            *level_indexes("user_login", Folded("login")),
            *level_indexes("user_licence", "licence"),
            *level_indexes("user_inactive", "is_active", condition=models.Q(is_active=False)),
        ]

    def __str__(self) -> str:
        return self.name or self.login

    def clean_fields(self, exclude: object = None) -> None:
        super().clean_fields(exclude=exclude)  # type: ignore[arg-type]
        if self.time_zone:
            try:
                validate_time_zone(self.time_zone)
            except ValidationError as error:
                raise ValidationError({"time_zone": error.messages}) from error

    @property
    def actor_level(self) -> str:
        return "user"

    @property
    def actor_scope_id(self) -> uuid.UUID:
        return self.pk

    @property
    def may_write(self) -> bool:
        return True

    @property
    def is_licensed(self) -> bool:
        return self.licence != Licence.NONE

    def set_password(self, raw: str) -> None:
        self.password = make_password(raw)

    def check_password(self, raw: str) -> bool:
        """Takes as long for a user who has no password yet."""
        if not self.password:
            make_password(raw)
            return False
        return check_password(raw, self.password)
