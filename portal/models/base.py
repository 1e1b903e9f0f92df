"""What rows share: a UUIDv7 id, and for what lives below a group the ids of all levels above it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from portal.ids import new_id
from portal.scoping import TenantModel

# `field__lower=Lower(Value(…))` finds names whatever their case, by the index of a UniqueConstraint(Lower(field)).
models.CharField.register_lookup(Lower)


class Row(TenantModel):
    """A row with an id that sorts by creation, and its creation time (UTC)."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True


class BelowGroup(Row):
    """A row of a group that also carries the group's reseller and system provider.

    The copies make every level's list one index range however many rows other tenants have (architecture, rule 7).
    They cannot go stale, because a group never changes its reseller nor a reseller its system provider.
    """

    system_provider = models.ForeignKey("portal.SystemProvider", models.PROTECT, related_name="+", editable=False)
    reseller = models.ForeignKey("portal.Reseller", models.PROTECT, related_name="+", editable=False)
    group = models.ForeignKey("portal.Group", models.PROTECT, related_name="%(class)ss")

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "system_provider_id",
        "reseller": "reseller_id",
        "group": "group_id",
    }

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            self.reseller_id = self.group.reseller_id
            self.system_provider_id = self.group.system_provider_id
        super().save(*args, **kwargs)
