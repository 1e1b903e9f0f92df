"""`portal-accounts/` and `me/`: the staff themselves."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.base import ActionView, CollectionView, ItemView, RowsView, StaffView
from portal.api.fields import Choice, Id, Text
from portal.api.strict import ListQuery, StrictModelSerializer, StrictSerializer
from portal.models import Level, PortalAccount, Role
from portal.scoping import TenantQuerySet, get_visible
from portal.services import accounts, second_factor


class AccountSerializer(StrictModelSerializer):
    scope = Id(source="actor_scope_id", required=False, allow_null=True, help_text="Id of the row of its level.")
    second_factor = serializers.BooleanField(
        source="has_second_factor", read_only=True, help_text="Whether logging in asks for a code as well."
    )
    password = Text(write_only=True, trim_whitespace=False, max_length=1000)

    class Meta:
        model = PortalAccount
        fields = [
            "id",
            "username",
            "email",
            "name",
            "level",
            "scope",
            "role",
            "send_alerts",
            "is_active",
            "time_zone",
            "second_factor",
            "password",
            "created_at",
            "last_login",
        ]
        read_only_fields = ["id", "second_factor", "created_at", "last_login"]


class AccountQuery(ListQuery):
    level = serializers.ChoiceField(choices=Level.choices, required=False)
    username = Text(max_length=150, required=False)


class _Accounts(RowsView):
    serializer_class = AccountSerializer

    def rows(self) -> TenantQuerySet[PortalAccount]:
        found: TenantQuerySet[PortalAccount] = PortalAccount.objects.select_related("second_factor")
        return found

    def scope_of(self, level: str, scope_id: Any) -> Any:
        """The row an account of `level` belongs to. Raises Problem `not_found` for one the caller may not see."""
        model = accounts.SCOPE_MODELS.get(level)
        if scope_id is None or model is None:
            return scope_id
        rows: TenantQuerySet[Any] = model.objects.all()
        return get_visible(rows, self.actor, scope_id)


class Accounts(_Accounts, CollectionView):
    query_classes = {"GET": AccountQuery}

    def create(self, fields: dict[str, Any]) -> Model:
        level, scope_id = fields.pop("level"), fields.pop("actor_scope_id", None)
        return accounts.create_account(actor=self.actor, level=level, scope=self.scope_of(level, scope_id), **fields)


class AccountItem(_Accounts, ItemView):
    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        password, moved = changes.pop("password", None), {"level", "actor_scope_id"} & set(changes)
        level = changes.pop("level", row.level)
        scope_id = changes.pop("actor_scope_id", row.actor_scope_id if level == row.level else None)
        return accounts.update_account(
            actor=self.actor,
            account=row,
            changes=changes,
            level=level if moved else None,
            scope=self.scope_of(level, scope_id) if moved else None,
            password=password,
        )

    def remove(self, row: Any) -> None:
        accounts.delete_account(actor=self.actor, account=row)


class SecondFactorReset(_Accounts, ActionView):
    """Takes the second factor of an account whose owner lost it. The account is told by mail."""

    def act(self, row: Any) -> None:
        second_factor.reset(actor=self.actor, account=row)


class MeSerializer(StrictSerializer):
    account = AccountSerializer()
    level = Choice(choices=Level.choices)
    scope = Id(allow_null=True)
    role = Choice(choices=Role.choices)


class Me(StaffView):
    """Whose token this is, and what it may do."""

    serializer_class = MeSerializer

    def get(self, request: Request) -> Response:
        account = self.actor
        shown = {"account": account, "level": account.level, "scope": account.actor_scope_id, "role": account.role}
        return Response(MeSerializer(shown).data)
