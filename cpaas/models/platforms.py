"""CPaaS platforms: a system provider's account at a carrier (S4.9, S4.10)."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import replace
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from cpaas.carriers.base import CarrierAccount
from cpaas.carriers.registry import CARRIER_LABELS, get_carrier
from portal.encryption import EncryptedJSONField, EncryptedTextField
from portal.models.base import Row
from portal.scoping import TenantQuerySet

# {number} {name} {provider} are replaced when the prompt is shown (contracts, Opt-in).
DEFAULT_OPT_IN_PROMPT = (
    "Text messaging (SMS) has been set up for your number {number} by {provider}. If you accept, people can send "
    "messages to this number and you may receive messages you did not ask for. Do you want to use text messaging with "
    "this number?"
)


def new_webhook_secret() -> str:
    return secrets.token_urlsafe(32)


def default_options() -> dict[str, Any]:
    """What a platform's options are when not set (contracts 2). `allowed_countries` None: the tenant's country; limits
    None: there is none."""
    return {
        "allowed_countries": None,
        "per_number_per_minute": 60,
        "per_number_per_day": 1000,
        "per_platform_per_minute": None,
        "per_platform_per_day": None,
        "queue_ttl_s": settings.QUEUE_TTL_S,
        "mms_limit_bytes": 614400,
        "stop_reply": None,
        "brand_id": None,
        "campaign_id": None,
    }


class PlatformQuerySet(TenantQuerySet["CpaasPlatform"]):
    """Platforms."""

    def of_tenant(self, system_provider_id: uuid.UUID) -> PlatformQuerySet:
        """Those whose numbers the users of that system provider may have, whoever assigns them (S4.27)."""
        return self.filter(system_provider_id=system_provider_id)


class CpaasPlatform(Row):
    """`credentials` are encrypted; `options` holds only what differs from the defaults.

    `reachable` is the dispatcher's view: False while connections fail and the platform is probed every 15 s (R32).
    `former_keys` signed webhooks until `keys_changed_at`; they hold until the carrier has the new ones and does not
    repeat old calls any more. At `hooks_due_at` the hooks are to be set again. At `comparing_due_at` its numbers are to
    be compared with the carrier (R44), on from the number `compared_up_to`; `compared_at` is when that was last done.
    Up to `inbound_listed_at` we know every text that came in (R37).
    The carrier wants no texts until `paused_until` (facts 4.7).
    """

    system_provider = models.ForeignKey("portal.SystemProvider", models.PROTECT, related_name="cpaas_platforms")
    carrier = models.CharField(max_length=20, choices=list(CARRIER_LABELS.items()))
    name = models.CharField(max_length=120)
    credentials = EncryptedJSONField(default=dict)
    options = models.JSONField(default=dict, blank=True)
    user_confirmation_required = models.BooleanField(
        "User Confirmation Required",
        default=True,
        help_text="Users are asked whether they want text messaging when a number is assigned to them.",
    )
    user_can_block = models.BooleanField(
        "User Can Block Numbers",
        default=False,
        help_text="Users can block a remote party, whose messages are then not forwarded to them.",
    )
    mms = models.BooleanField(
        "MMS Available",
        default=False,
        help_text="Attachments that fit go out as MMS, which the carrier charges for; otherwise as a link in an SMS.",
    )
    opt_in_prompt = models.TextField(
        "opt-in prompt",
        default=DEFAULT_OPT_IN_PROMPT,
        help_text="What users are asked. {number}, {name} and {provider} are filled in.",
    )
    webhook_secret = EncryptedTextField(default=new_webhook_secret, editable=False)
    webhook_digest = models.CharField(max_length=64, editable=False)
    state = models.CharField(
        max_length=10, default="connected", choices=[("connected", "Connected"), ("failed", "Failed")], editable=False
    )
    state_detail = models.CharField(max_length=300, blank=True, default="", editable=False)
    checked_at = models.DateTimeField(default=timezone.now, editable=False)
    former_keys = EncryptedJSONField(default=dict, editable=False)
    keys_changed_at = models.DateTimeField(null=True, editable=False)
    hooks_due_at = models.DateTimeField(null=True, editable=False)
    inbound_listed_at = models.DateTimeField(null=True, editable=False)
    reachable = models.BooleanField(default=True, editable=False)
    probe_at = models.DateTimeField(null=True, editable=False)
    comparing_due_at = models.DateTimeField(null=True, editable=False)
    compared_up_to = models.UUIDField(null=True, editable=False)
    compared_at = models.DateTimeField("numbers compared", null=True, editable=False)
    paused_until = models.DateTimeField(null=True, editable=False)

    tenant_paths: ClassVar[dict[str, str]] = {"system_provider": "system_provider_id"}

    objects: ClassVar[Any] = PlatformQuerySet.as_manager()

    class Meta:
        verbose_name = "CPaaS platform"
        indexes = [models.Index(fields=["system_provider", "id"], name="platform_sp_id")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.webhook_digest = hashlib.sha256(self.webhook_secret.encode()).hexdigest()
        super().save(*args, **kwargs)

    def option(self, name: str) -> Any:
        """An option, its default when it is not set."""
        value = self.options.get(name)
        return default_options().get(name) if value is None else value

    @property
    def inbound_url(self) -> str:
        """Where the carrier posts inbound texts and receipts (contracts section 3). Contains the secret."""
        return f"{settings.PUBLIC_URL}/webhooks/{self.carrier}/{self.pk}/{self.webhook_secret}/"

    @property
    def status_url(self) -> str:
        return f"{self.inbound_url}status/"

    def account(self) -> CarrierAccount:
        """The platform as its adapter sees it, secrets in plain."""
        adapter = get_carrier(self.carrier)
        urls = {name: self.options.get(name) or url for name, url in adapter.default_options.items()}
        switches = frozenset(switch.name for switch in adapter.switches if self.options.get(switch.name))
        return CarrierAccount(self.credentials, urls, self.inbound_url, self.status_url, switches)

    def former_account(self) -> CarrierAccount | None:
        """The platform with the keys that calls may still be signed with, None when there are none."""
        if not self.former_keys:
            return None
        return replace(self.account(), credentials=self.credentials | self.former_keys)
