"""Integrated IM&P in the users of the provisioning API (contracts section 6)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from portal.api.fields import Boolean, Text
from portal.api.strict import StrictSerializer
from portal.models import EndUser
from xmpp.models import ImpAccount
from xmpp.services.accounts import shown_service


def _account(user: EndUser) -> ImpAccount | None:
    return getattr(user, "imp", None)


class IntegratedImp(StrictSerializer):
    """`assigned` and `enabled`; what is left out stays, and what is not assigned is not enabled either."""

    assigned = Boolean(required=False)
    enabled = Boolean(required=False)

    def get_attribute(self, instance: Any) -> Any:
        return shown_service(_account(instance))["integrated_imp"]


@extend_schema_field({"type": "string", "readOnly": True})
class ImpId(serializers.Field[Any, Any, Any, Any]):
    """Read-only everywhere (S0.10); "" unless the service is assigned and enabled (S0.8)."""

    def get_attribute(self, instance: Any) -> Any:
        return shown_service(_account(instance))["imp_id"]

    def to_representation(self, value: Any) -> str:
        return str(value)


def user_fields() -> dict[str, Any]:
    return {
        "integrated_imp": IntegratedImp(required=False),
        "imp_id": ImpId(read_only=True),
        "imp_password": Text(write_only=True, required=False, trim_whitespace=False, max_length=1000),
    }
