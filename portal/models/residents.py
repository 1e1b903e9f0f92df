"""Rows behind the residents: leases, desired and actual states, when each periodic job ran (architecture 6)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from portal.models.base import Row

_ACRONYMS = {"cti", "sip", "sms", "xmpp"}


def title_of(name: str) -> str:
    """The name of a service or a lease in words: XMPP bridge."""
    words = [word.upper() if word in _ACRONYMS else word for word in name.split("-")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


class Lease(models.Model):
    """Who may act for `name`. `epoch` grows with each holder and stands in the WHERE of what a holder writes."""

    name = models.CharField(max_length=120, primary_key=True)
    holder = models.CharField(max_length=120, blank=True, default="")
    epoch = models.BigIntegerField(default=0)
    deadline = models.DateTimeField(default=timezone.now)
    held_since = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"


class Service(Row):
    """A resident as staff see it on Manage Services: what it should do and what it does.

    One for all, or one of each system provider. `holder` and `seen_at` are those of the worker that reported last.
    """

    name = models.CharField(max_length=60)
    system_provider = models.ForeignKey("portal.SystemProvider", models.CASCADE, null=True, related_name="services")
    desired = models.CharField(
        max_length=10, default="running", choices=[("running", "Running"), ("stopped", "Stopped")]
    )
    restart_requested_at = models.DateTimeField(null=True)
    actual = models.CharField(
        max_length=10,
        default="stopped",
        choices=[("running", "Running"), ("starting", "Starting"), ("stopped", "Stopped"), ("failed", "Failed")],
    )
    detail = models.CharField(max_length=300, blank=True, default="")
    holder = models.CharField(max_length=120, blank=True, default="")
    since = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(null=True)
    counters = models.JSONField(default=dict)

    tenant_paths: ClassVar[dict[str, str]] = {"system_provider": "system_provider_id"}

    class Meta:
        verbose_name = "service"
        constraints = [
            models.UniqueConstraint(fields=["name", "system_provider"], name="service_name_tenant"),
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(system_provider=None), name="service_name_of_all"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def title(self) -> str:
        return title_of(self.name)


class PeriodicRun(models.Model):
    """When a job of the schedule was last started, so that a restart neither skips nor repeats it."""

    name = models.CharField(max_length=120, primary_key=True)
    last_run_at = models.DateTimeField()
    total = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name
