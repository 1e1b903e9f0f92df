"""Remote parties that a user does not want to hear from (S4.15). Not to be mixed with STOP, which is the remote's own
word (stops.py), nor with the user's opt-in (consent.py)."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from cpaas.states import Override
from portal.models.base import Row
from portal.scoping import TenantQuerySet


class BlockedPartyQuerySet(TenantQuerySet["BlockedParty"]):
    """Blocked parties."""

    def in_force(self) -> Self:
        """Those whose number may block now; the others wait until it may again (S4.16)."""
        inherited = Q(number__can_block=Override.INHERIT, number__platform__user_can_block=True)
        return self.filter(Q(number__can_block=Override.ON) | inherited)


class BlockedParty(Row):
    """`remote` as texts come from it: E.164, or a short code or name verbatim. `user` is a copy of the number's."""

    number = models.ForeignKey("cpaas.CpaasNumber", models.CASCADE, related_name="blocked_parties", db_index=False)
    remote = models.CharField(max_length=32)
    user = models.ForeignKey(
        "portal.EndUser", models.DO_NOTHING, null=True, related_name="+", db_index=False, db_constraint=False
    )

    tenant_paths: ClassVar[dict[str, str]] = {
        "system_provider": "number__system_provider_id",
        "reseller": "number__reseller_id",
        "group": "number__group_id",
        "user": "user_id",
    }
    shared_paths: ClassVar[dict[str, tuple[str, str]]] = {"user": ("number", "media_stream__agents")}

    objects: ClassVar[BlockedPartyQuerySet] = BlockedPartyQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        verbose_name = "blocked party"
        verbose_name_plural = "blocked parties"
        constraints = [models.UniqueConstraint(fields=["number", "remote"], name="blocked_number_remote")]
        indexes = [
            models.Index(fields=["user", "id"], name="blocked_user_id"),
            models.Index(fields=["number", "id"], name="blocked_number_id"),
        ]

    def __str__(self) -> str:
        return f"{self.remote} for {self.number_id}"
