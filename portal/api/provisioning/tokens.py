"""`tokens/`: API tokens of the own account. The only way in takes a user name and password."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.base import ListView, RemovableView
from portal.api.fields import Integer, Text, Time
from portal.api.strict import StrictModelSerializer, StrictSerializer
from portal.clock import iso
from portal.models import StaffToken
from portal.scoping import TenantQuerySet
from portal.services import tokens


class TokenSerializer(StrictModelSerializer):
    class Meta:
        model = StaffToken
        fields = ["id", "name", "created_at", "last_used_at", "expires_at"]
        read_only_fields = fields


class TokenRequestSerializer(StrictSerializer):
    username = Text(max_length=150)
    password = Text(max_length=1000, trim_whitespace=False)
    otp = Text(
        required=False,
        allow_blank=True,
        max_length=40,
        help_text="A code of the second factor, or a recovery code, where the account has one.",
    )
    name = Text(max_length=120)
    expires_in_days = Integer(required=False, min_value=1, max_value=365)


class NewTokenSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    name = serializers.CharField()
    token = serializers.CharField(help_text="Shown this once.")
    expires_at = Time()


class Tokens(ListView):
    serializer_class = TokenSerializer
    public_methods = ("POST",)
    bodies = {"POST": TokenRequestSerializer}
    answers = {"POST": {201: NewTokenSerializer}}
    problems = {"POST": (401, 429)}

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [] if self.request and self.request.method in self.public_methods else super().get_authenticators()

    def rows(self) -> TenantQuerySet[StaffToken]:
        return StaffToken.objects.filter(account=self.actor)

    def post(self, request: Request) -> Response:
        body = self.read_body(TokenRequestSerializer)
        issued = tokens.log_in_staff(
            username=body["username"],
            password=body["password"],
            otp=body.get("otp", ""),
            name=body["name"],
            days=body.get("expires_in_days"),
        )
        row = issued.row
        answer = {"id": str(row.pk), "name": row.name, "token": issued.plain, "expires_at": iso(row.expires_at)}
        return Response(answer, status=201)


class TokenItem(RemovableView):
    """DELETE ends a token at once. One's own token one may always end, whatever the role."""

    serializer_class = TokenSerializer
    http_method_names = ["get", "head", "delete"]

    def rows(self) -> TenantQuerySet[StaffToken]:
        return StaffToken.objects.filter(account=self.actor)

    def writable_row(self) -> Any:
        return self.get_row()

    def remove(self, row: Any) -> None:
        tokens.revoke_staff_token(actor=self.actor, token=row)
