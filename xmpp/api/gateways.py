"""Provisioning `sms-gateways/`: the XEP-0114 component through which XMPP users of a system provider text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Model
from rest_framework import serializers

from portal.api.base import ActionView, CollectionView, ItemView, RowsView
from portal.api.fields import Id, Text, Time, Visible
from portal.api.strict import ListQuery, StrictModelSerializer, StrictSerializer
from portal.encryption import mask_of
from portal.models import SystemProvider
from portal.scoping import TenantQuerySet
from xmpp.models import SmsGateway
from xmpp.services import gateways
from xmpp.services.gateway_standing import standings_of

_KEPT = "Shown masked; left out or blank: kept."


class Secret(serializers.CharField):
    """What the server asks the component for: shown by its last four characters only (R9)."""

    def get_attribute(self, instance: Any) -> str:
        return mask_of(instance, "secret")


class GatewayStatusSerializer(StrictSerializer):
    state = Text(
        source="standing.status", help_text="disabled, connecting, online, refused, unreachable, or empty at first."
    )
    detail = Text(source="standing.detail")
    checked_at = Time(allow_null=True)


class GatewaySerializer(StrictModelSerializer):
    create_only = frozenset({"system_provider"})
    id = Id(source="pk", read_only=True)
    system_provider = Visible(SystemProvider.objects.all())
    secret = Secret(max_length=200, help_text=_KEPT)
    status = GatewayStatusSerializer(source="*", read_only=True)

    class Meta:
        model = SmsGateway
        fields = ["id", "system_provider", "enabled", "domain", "host", "port", "secret", "status", "created_at"]
        read_only_fields = ["created_at"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A blank one is no mistake when there is one to keep.
        self.fields["secret"] = Secret(
            max_length=200, required=not self.partial, allow_blank=self.partial, help_text=_KEPT
        )


class GatewayQuery(ListQuery):
    system_provider = Id(required=False)


class _Gateways(RowsView):
    serializer_class = GatewaySerializer

    def rows(self) -> TenantQuerySet[SmsGateway]:
        return SmsGateway.objects.select_related("system_provider")

    def show(self, rows: Sequence[Any]) -> list[Any]:
        standings = standings_of(rows)
        for row in rows:
            row.standing = standings[row.pk]
        return super().show(rows)


class Gateways(_Gateways, CollectionView):
    """One for a system provider; its id is that of the system provider. It connects by itself."""

    query_classes = {"GET": GatewayQuery}
    problems = {"POST": (409,)}
    order = ("-system_provider_id",)

    def create(self, fields: dict[str, Any]) -> Model:
        return gateways.create_gateway(actor=self.actor, **fields)


class GatewayItem(_Gateways, ItemView):
    problems = {"PATCH": (409,)}

    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        return gateways.update_gateway(actor=self.actor, gateway=row, changes=changes)

    def remove(self, row: Any) -> None:
        gateways.delete_gateway(actor=self.actor, gateway=row)


class GatewayTest(_Gateways, ActionView):
    """Connects as the gateway would; `status` in the answer says what the server said."""

    def act(self, row: Any) -> None:
        gateways.test_gateway(actor=self.actor, gateway=row)
