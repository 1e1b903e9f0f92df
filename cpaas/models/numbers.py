"""CPaaS numbers: a user's or media stream's own telephone number, SMS-enabled through a platform."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Right
from django.utils import timezone

from cpaas.carriers.registry import get_carrier
from cpaas.models.platforms import CpaasPlatform
from cpaas.states import OPT_IN_USABLE, HookState, NumberStatus, OptInState, Override
from portal.encryption import EncryptedJSONField
from portal.indexes import level_indexes
from portal.models.base import BelowGroup
from portal.phone_numbers import display_number, national_digits


class CpaasNumber(BelowGroup):
    """`number` is E.164 and unique over all tenants (S4.41). Exactly one of `user` and `media_stream` has it.

    `former_hook` is where the carrier sent the number's texts before it was ours, for it to be given back. Such
    addresses hold other people's secrets, so it is encrypted.
    `opt_in_cycle` counts assignments and resets; an answer belongs to the cycle it was given in (R3). What the carrier
    says of the number is as of `checked_at`, or the last comparison of its platform (R44); `warnings` are sentences.
    """

    number = models.CharField(max_length=20, unique=True)
    platform = models.ForeignKey(CpaasPlatform, models.PROTECT, related_name="numbers", db_index=False)
    user = models.ForeignKey("portal.EndUser", models.PROTECT, null=True, blank=True, related_name="cpaas_numbers")
    media_stream = models.ForeignKey(
        "cpaas.MediaStream", models.PROTECT, null=True, blank=True, related_name="cpaas_numbers"
    )
    friendly_name = models.CharField(max_length=120, blank=True, default="")
    mms = models.CharField(max_length=10, choices=Override.choices, default=Override.INHERIT)
    can_block = models.CharField(
        "User Can Block Numbers", max_length=10, choices=Override.choices, default=Override.INHERIT
    )
    note = models.TextField(blank=True, default="", max_length=2000)
    status = models.CharField(max_length=15, choices=NumberStatus.choices, default=NumberStatus.PROVISIONING)
    status_detail = models.CharField(max_length=400, blank=True, default="")
    next_try_at = models.DateTimeField(default=timezone.now, editable=False)
    tries = models.PositiveIntegerField(default=0, editable=False)
    claim = models.UUIDField(null=True, editable=False)
    former_hook = EncryptedJSONField(default=dict, editable=False)
    opt_in_state = models.CharField(max_length=15, choices=OptInState.choices, default=OptInState.PENDING)
    opt_in_at = models.DateTimeField(null=True, blank=True)
    opt_in_cycle = models.PositiveIntegerField(default=1, editable=False)
    hook_state = models.CharField(max_length=10, choices=HookState.choices, blank=True, default="", editable=False)
    messaging_class = models.CharField(max_length=40, blank=True, default="", editable=False)
    campaign = models.CharField(max_length=40, blank=True, default="", editable=False)
    warnings = models.JSONField(default=list, blank=True, editable=False)
    needs_attention = models.BooleanField(default=False, editable=False)
    checked_at = models.DateTimeField(null=True, editable=False)

    tenant_paths: ClassVar[dict[str, str]] = {**BelowGroup.tenant_paths, "user": "user_id"}
    shared_paths: ClassVar[dict[str, tuple[str, str]]] = {"user": ("media_stream", "agents")}

    class Meta:
        verbose_name = "CPaaS number"
        constraints = [
            models.CheckConstraint(
                name="number_has_one_owner",
                condition=models.Q(user__isnull=False, media_stream=None)
                | models.Q(user=None, media_stream__isnull=False),
            ),
        ]
        indexes = [
            models.Index(fields=["system_provider", "id"], name="number_sp_id"),
            models.Index(fields=["reseller", "id"], name="number_reseller_id"),
            models.Index(fields=["group", "id"], name="number_group_id"),
            models.Index(fields=["user", "id"], name="number_user_id"),
            models.Index(fields=["platform", "id"], name="number_platform_id"),
            *level_indexes("number_last_four", Right("number", 4)),
            *level_indexes("number_status", "status"),
            *level_indexes("number_opt_in", "opt_in_state"),
            *level_indexes("number_attention", "needs_attention", condition=models.Q(needs_attention=True)),
            models.Index(
                fields=["next_try_at"],
                condition=models.Q(status__in=["provisioning", "removing"]),
                name="number_work_due",
            ),
        ]

    def __str__(self) -> str:
        return self.display

    @property
    def national(self) -> str:
        return national_digits(self.number)

    @property
    def display(self) -> str:
        """`Chris Cell (2012010580)`, or just the digits without a friendly name (S1.49)."""
        return display_number(self.friendly_name, self.number)

    @property
    def mms_effective(self) -> bool:
        """Platform AND number (R12); never for a carrier without MMS (R13)."""
        able = get_carrier(self.platform.carrier).supports_mms
        return able and self.platform.mms and self.mms != Override.OFF

    @property
    def can_block_effective(self) -> bool:
        if self.can_block == Override.INHERIT:
            return self.platform.user_can_block
        return self.can_block == Override.ON

    @property
    def messaging_type(self) -> str:
        """`MMS & SMS` or `SMS` (S4.30)."""
        return "MMS & SMS" if self.mms_effective else "SMS"

    @property
    def is_usable(self) -> bool:
        """May text now: enabled at the carrier, opted in, owner licensed (S1.2, S4.2)."""
        licensed = self.user is None or (self.user.is_licensed and self.user.is_active)
        return self.status == NumberStatus.ENABLED and self.opt_in_state in OPT_IN_USABLE and licensed


class NumberPace(models.Model):
    """How fast a number sends: the theoretical arrival time of its bucket (GCRA), moved by any dispatcher. A platform
    whose whole traffic is limited has a row too, under its own id.

    Apart from the number and without a constraint, so that sending never waits for whoever edits or deletes it.
    """

    number_id = models.UUIDField(primary_key=True)
    arrival_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.number_id} {self.arrival_at}"
