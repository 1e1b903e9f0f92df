"""How much is texted, counted by the hour so that a chart costs the same however many messages there are."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models

from portal.scoping import TenantModel

EVERYBODY = uuid.UUID(int=0)


class TrafficHour(TenantModel):
    """The texts of one hour (UTC) of one tenant. They are kept when the texts are purged.

    `scope_id` is the id of a system provider, reseller or group, each with all below it, or EVERYBODY. There is a row
    of EVERYBODY for each hour that was counted, so it also tells how far counting has come. `sent` is what was handed
    over or still is to be, `failed` what was refused or did not arrive.
    """

    scope_id = models.UUIDField()
    hour = models.DateTimeField()
    received = models.PositiveIntegerField(default=0)
    sent = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "scope_id",
        "reseller": "scope_id",
        "group": "scope_id",
    }

    class Meta:
        constraints = [models.UniqueConstraint(fields=["scope_id", "hour"], name="traffic_scope_hour")]

    def __str__(self) -> str:
        return f"{self.scope_id} {self.hour}"
