"""Provisioning `broadworks/`: the BroadWorks of a system provider, and what is done there for users (contracts 6)."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from portal.api.base import ActionView, ItemView, OutsideCollectionView, RowsView
from portal.api.fields import Id, Text, Time, Visible
from portal.api.provisioning.users import UserItem
from portal.api.strict import ListQuery, StrictModelSerializer, StrictSerializer
from portal.models import EndUser, SystemProvider
from portal.scoping import TenantQuerySet
from xmpp.models import BroadworksConnection
from xmpp.services import connections, passwords


class ConnectionStatusSerializer(StrictSerializer):
    state = Text(source="status", help_text='"connected", "failed", or "" when there is no BroadWorks to be asked.')
    detail = Text(source="status_detail")
    checked_at = Time(allow_null=True)


class BroadworksSerializer(StrictModelSerializer):
    create_only = frozenset({"system_provider"})
    id = Id(source="pk", read_only=True)
    system_provider = Visible(SystemProvider.objects.all())
    password = Text(write_only=True, required=False, allow_blank=True, trim_whitespace=False, max_length=200)
    imp_domain = Text(required=False, max_length=255, help_text="Left out, what BroadWorks says.")
    status = ConnectionStatusSerializer(source="*", read_only=True)

    class Meta:
        model = BroadworksConnection
        fields = [
            "id",
            "system_provider",
            "host",
            "port",
            "transport",
            "tls",
            "soap_path",
            "username",
            "password",
            "imp_domain",
            "xmpp_host",
            "xmpp_port",
            "xmpp_ca",
            "device_tag_user",
            "device_tag_password",
            "device_types",
            "status",
            "created_at",
        ]
        read_only_fields = ["created_at"]


class BroadworksQuery(ListQuery):
    system_provider = Id(required=False)


class _Connections(RowsView):
    serializer_class = BroadworksSerializer

    def rows(self) -> TenantQuerySet[BroadworksConnection]:
        return BroadworksConnection.objects.select_related("system_provider")


class Broadworks(_Connections, OutsideCollectionView):
    """One for a system provider; its id is that of the system provider. Saved only when BroadWorks lets us in."""

    query_classes = {"GET": BroadworksQuery}
    problems = {"POST": (409, 502)}
    order = ("-system_provider_id",)

    def create(self, fields: dict[str, Any]) -> Model:
        return connections.create_connection(actor=self.actor, **fields)


class BroadworksItem(_Connections, ItemView):
    problems = {"PATCH": (409, 502)}

    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        return connections.update_connection(actor=self.actor, connection=row, changes=changes)

    def remove(self, row: Any) -> None:
        connections.delete_connection(actor=self.actor, connection=row)


class BroadworksTest(_Connections, ActionView):
    """Asks BroadWorks whether it lets us in; `status` in the answer says."""

    def act(self, row: Any) -> None:
        connections.test_connection(actor=self.actor, connection=row)


class GenerateImpPassword(ActionView):
    """*Generate anew*: a random password, set at BroadWorks and in the device configuration (S0.24)."""

    serializer_class = UserItem.serializer_class
    rows = UserItem.rows
    problems = {"POST": (409, 502)}

    def act(self, row: EndUser) -> None:
        passwords.generate_password(actor=self.actor, user=row)
