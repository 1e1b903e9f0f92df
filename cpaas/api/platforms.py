"""Provisioning `platforms/`: a system provider's accounts at carriers."""

from __future__ import annotations

from typing import Any, cast

from django.db.models import Model
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cpaas.carriers.registry import CARRIER_LABELS, CARRIERS, get_carrier
from cpaas.models import CpaasPlatform
from cpaas.models.platforms import default_options
from cpaas.services import platforms
from portal.api.base import ActionView, ItemView, ListView, OutsideCollectionView, RowsView
from portal.api.fields import Choice, Id, Text, Time, Visible
from portal.api.strict import ListQuery, StrictModelSerializer, StrictSerializer
from portal.encryption import mask
from portal.models import Level, PortalAccount, SystemProvider
from portal.scoping import TenantQuerySet

_OPEN_OBJECT = {"type": "object", "additionalProperties": True}


class OpenObject(serializers.Field[Any, Any, Any, Any]):
    """A JSON object whose members the service knows."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Give an object.")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


_NAMES = ", ".join(
    f"{code} {{{' '.join(field.name for field in carrier.credential_fields)}}}" for code, carrier in CARRIERS.items()
)


@extend_schema_field({**_OPEN_OBJECT, "description": f"{_NAMES}. Secrets are shown masked; left out or blank: kept."})
class Credentials(OpenObject):
    def get_attribute(self, instance: CpaasPlatform) -> dict[str, str]:
        secret = {field.name: field.secret for field in get_carrier(instance.carrier).credential_fields}
        # A name the carrier does not know any more is taken for a secret.
        return {name: mask(value) if secret.get(name, True) else value for name, value in instance.credentials.items()}


@extend_schema_field({**_OPEN_OBJECT, "description": "What is not set shows its default; null goes back to it."})
class Options(OpenObject):
    def get_attribute(self, instance: CpaasPlatform) -> dict[str, Any]:
        adapter = get_carrier(instance.carrier)
        switches = {switch.name: False for switch in adapter.switches}
        shown = {**default_options(), **adapter.default_options, **switches, **instance.options}
        shown["allowed_countries"] = shown["allowed_countries"] or [instance.system_provider.default_country]
        return shown


class StatusSerializer(StrictSerializer):
    state = Choice(choices=["connected", "failed"])
    detail = Text(source="state_detail")
    checked_at = Time(allow_null=True)


class PlatformSerializer(StrictModelSerializer):
    create_only = frozenset({"system_provider", "carrier"})
    system_provider = Visible(SystemProvider.objects.all())
    carrier = Choice(choices=list(CARRIER_LABELS.items()))
    credentials = Credentials()
    options = Options(required=False)
    status = StatusSerializer(source="*", read_only=True)
    inbound_url = serializers.SerializerMethodField()
    status_url = serializers.SerializerMethodField()

    class Meta:
        model = CpaasPlatform
        fields = [
            "id",
            "system_provider",
            "carrier",
            "name",
            "credentials",
            "options",
            "user_confirmation_required",
            "user_can_block",
            "mms",
            "opt_in_prompt",
            "status",
            "inbound_url",
            "status_url",
            "created_at",
        ]
        read_only_fields = ["id", "created_at"]

    def get_inbound_url(self, platform: CpaasPlatform) -> str | None:
        return platform.inbound_url if self._may_see_urls() else None

    def get_status_url(self, platform: CpaasPlatform) -> str | None:
        return platform.status_url if self._may_see_urls() else None

    def _may_see_urls(self) -> bool:
        """The URLs hold a secret: administrators of the system provider, and operators, only (contracts section 2)."""
        actor: PortalAccount = self.context["request"].user
        return actor.may_write and actor.level in (Level.OPERATOR, Level.SYSTEM_PROVIDER)


class PlatformQuery(ListQuery):
    system_provider = Id(required=False)
    carrier = serializers.ChoiceField(choices=list(CARRIER_LABELS.items()), required=False)


class _Platforms(RowsView):
    serializer_class = PlatformSerializer

    def rows(self) -> TenantQuerySet[CpaasPlatform]:
        return CpaasPlatform.objects.select_related("system_provider")


class Platforms(_Platforms, OutsideCollectionView):
    query_classes = {"GET": PlatformQuery}
    problems = {"POST": (502,)}

    def create(self, fields: dict[str, Any]) -> Model:
        return platforms.create_platform(actor=self.actor, **fields)


class PlatformItem(_Platforms, ItemView):
    problems = {"PATCH": (502,)}

    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        return platforms.update_platform(actor=self.actor, platform=row, changes=changes)

    def remove(self, row: Any) -> None:
        platforms.delete_platform(actor=self.actor, platform=row)


class PlatformTest(_Platforms, ActionView):
    """Asks the carrier whether the credentials work; `status` in the answer says."""

    def act(self, row: Any) -> None:
        platforms.test_platform(actor=self.actor, platform=row)


class PlatformChoiceSerializer(StrictModelSerializer):
    class Meta:
        model = CpaasPlatform
        fields = ["id", "carrier", "name"]
        read_only_fields = fields


class PlatformChoices(ListView):
    """Id and name of the platforms a number can be assigned through, for staff of every level (S4.27)."""

    serializer_class = PlatformChoiceSerializer

    def rows(self) -> TenantQuerySet[CpaasPlatform]:
        return CpaasPlatform.objects.all()

    def visible_rows(self) -> TenantQuerySet[Any]:
        return platform_choices(self.actor)


def platform_choices(actor: PortalAccount) -> TenantQuerySet[CpaasPlatform]:
    """The platforms `actor` may assign numbers through: those of the own tenant, whatever the level."""
    if actor.system_provider_id is None:
        return CpaasPlatform.objects.visible_to(actor)
    return cast(TenantQuerySet[CpaasPlatform], platforms.platforms_for(actor.system_provider_id))
