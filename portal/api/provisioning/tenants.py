"""`system-providers/`, `resellers/`, `groups/`."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from portal.api.base import CollectionView, ItemView
from portal.api.fields import Boolean, Id, Visible
from portal.api.strict import ListQuery, StrictModelSerializer, StrictSerializer
from portal.models import Group, Reseller, SystemProvider
from portal.scoping import TenantQuerySet
from portal.services import tenants


class BrandingSerializer(StrictSerializer):
    auto_generate_xmpp_password = Boolean(
        required=False, allow_null=True, help_text="null goes back to the default, true."
    )


class SystemProviderSerializer(StrictModelSerializer):
    branding = BrandingSerializer(source="*", required=False)

    class Meta:
        model = SystemProvider
        fields = ["id", "name", "branding", "time_zone", "default_country", "staff_may_read_messages", "created_at"]
        read_only_fields = ["id", "created_at"]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("auto_generate_xmpp_password", True) is None:
            attrs["auto_generate_xmpp_password"] = True
        return attrs


class ResellerSerializer(StrictModelSerializer):
    create_only = frozenset({"system_provider"})
    system_provider = Visible(SystemProvider.objects.all())

    class Meta:
        model = Reseller
        fields = ["id", "system_provider", "name", "created_at"]
        read_only_fields = ["id", "created_at"]


class GroupSerializer(StrictModelSerializer):
    create_only = frozenset({"reseller"})
    reseller = Visible(Reseller.objects.all())

    class Meta:
        model = Group
        fields = ["id", "reseller", "name", "enterprise", "created_at"]
        read_only_fields = ["id", "created_at"]


class SystemProviders(CollectionView):
    serializer_class = SystemProviderSerializer

    def rows(self) -> TenantQuerySet[SystemProvider]:
        return SystemProvider.objects.all()

    def create(self, fields: dict[str, Any]) -> Model:
        return tenants.create_system_provider(actor=self.actor, **fields)


class TenantItem(ItemView):
    """One level of the tenant tree."""

    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        changed: Model = tenants.update_tenant(actor=self.actor, row=row, changes=changes)
        return changed

    def remove(self, row: Any) -> None:
        tenants.delete_tenant(actor=self.actor, row=row)


class SystemProviderItem(TenantItem):
    serializer_class = SystemProviderSerializer

    def rows(self) -> TenantQuerySet[SystemProvider]:
        return SystemProvider.objects.all()


class ResellerQuery(ListQuery):
    system_provider = Id(required=False)


class Resellers(CollectionView):
    serializer_class = ResellerSerializer
    query_classes = {"GET": ResellerQuery}

    def rows(self) -> TenantQuerySet[Reseller]:
        return Reseller.objects.all()

    def create(self, fields: dict[str, Any]) -> Model:
        return tenants.create_reseller(actor=self.actor, **fields)


class ResellerItem(TenantItem):
    serializer_class = ResellerSerializer

    def rows(self) -> TenantQuerySet[Reseller]:
        return Reseller.objects.all()


class GroupQuery(ListQuery):
    reseller = Id(required=False)


class Groups(CollectionView):
    serializer_class = GroupSerializer
    query_classes = {"GET": GroupQuery}

    def rows(self) -> TenantQuerySet[Group]:
        return Group.objects.all()

    def create(self, fields: dict[str, Any]) -> Model:
        return tenants.create_group(actor=self.actor, **fields)


class GroupItem(TenantItem):
    serializer_class = GroupSerializer

    def rows(self) -> TenantQuerySet[Group]:
        return Group.objects.all()
