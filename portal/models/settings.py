"""A user's own settings (contracts section 4, `settings/`)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from portal.scoping import TenantModel


class UserSettings(TenantModel):
    """One row a user, made with the user. Defaults are the seeds' (S1.13–S1.19, S0.30–S0.32)."""

    user = models.OneToOneField("portal.EndUser", models.CASCADE, primary_key=True, related_name="settings")
    allow_any_number = models.BooleanField("Allow messages to be sent to any phone number", default=True)
    default_country = models.CharField(max_length=2, default="US")
    exclude_leading_zero = models.BooleanField(
        "Exclude the leading zero if applying the default country code", default=True
    )
    sms_docked = models.BooleanField(default=True)
    im_docked = models.BooleanField(default=True)
    sms_alert_audio = models.BooleanField(default=True)
    sms_alert_visual = models.BooleanField(default=True)
    im_alert_audio = models.BooleanField(default=True)
    im_alert_visual = models.BooleanField(default=True)
    auto_subscribe_xmpp = models.BooleanField(
        "Subscribe to the XMPP presence of all monitored users",
        default=False,
        help_text="The buddy list of UC-One may become very large. Only for who seldom uses it.",
    )
    auto_accept_xmpp = models.BooleanField(
        "Accept XMPP subscription requests by itself", default=False, help_text="Off: each request is a prompt."
    )
    im_priority = models.CharField(
        "Instant message priority",
        max_length=10,
        default="both",
        choices=[("own", "Own"), ("xmpp", "XMPP"), ("both", "Both")],
        help_text="What carries an instant message to one person. Recommended: both.",
    )
    call_waiting = models.BooleanField(default=True)

    tenant_paths: ClassVar[dict[str, str]] = {"user": "pk"}

    def __str__(self) -> str:
        return f"settings of {self.user_id}"
