"""What users say of themselves, and the sign that a client of theirs is open (contracts section 5)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from portal.scoping import TenantModel
from presence.states import OWN_STATUSES

OF_USER: dict[str, str] = {
    "system_provider": "user__system_provider_id",
    "reseller": "user__reseller_id",
    "group": "user__group_id",
    "user": "pk",
}


class OwnStatus(TenantModel):
    """The status a user has chosen (`PUT presence/me/`); without a row, it follows from their clients."""

    user = models.OneToOneField("portal.EndUser", models.CASCADE, primary_key=True, related_name="+")
    status = models.CharField(max_length=10, choices=[(status.value, status.label) for status in OWN_STATUSES])
    message = models.CharField(max_length=500, blank=True, default="")
    at = models.DateTimeField()

    tenant_paths: ClassVar[dict[str, str]] = OF_USER

    class Meta:
        verbose_name = "own status"

    def __str__(self) -> str:
        return f"{self.user_id} {self.status}"


class SignOfLife(TenantModel):
    """The user has an event stream open, or polls, until then unless it is renewed. A process that is killed renews
    nothing, so nobody stays online by accident.

    It is written all the time and only ever found by its user: without another index the row is changed in place.
    """

    user = models.OneToOneField("portal.EndUser", models.CASCADE, primary_key=True, related_name="+")
    online_until = models.DateTimeField()

    tenant_paths: ClassVar[dict[str, str]] = OF_USER

    class Meta:
        verbose_name = "sign of life"

    def __str__(self) -> str:
        return f"{self.user_id} until {self.online_until}"
