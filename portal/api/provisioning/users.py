"""`users/`: the end users of a group."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, Value
from django.db.models.functions import Lower
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal import extensions
from portal.api.base import CollectionView, ItemView
from portal.api.fields import Id, Text, Visible, VisibleList
from portal.api.idempotency import idempotent
from portal.api.strict import ListQuery, StrictModelSerializer
from portal.models import EndUser, Group
from portal.scoping import TenantQuerySet
from portal.services import users


class UserSerializer(StrictModelSerializer):
    create_only = frozenset({"group"})
    group = Visible(Group.objects.all())
    password = Text(write_only=True, required=False, trim_whitespace=False, max_length=1000)
    monitored = VisibleList(EndUser.objects.all(), required=False)

    class Meta:
        model = EndUser
        fields = [
            "id",
            "group",
            "login",
            "name",
            "email",
            "password",
            "licence",
            "extension",
            "sip_uri",
            "mobile",
            "country",
            "time_zone",
            "voicemail_number",
            "monitored",
            "is_active",
            "mailbox",
            "ring_seconds",
            "created_at",
        ]
        read_only_fields = ["id", "created_at"]

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Its own, and those that apps keep."""
        found = super().get_fields()
        for part in extensions.user_parts:
            found |= part.fields()
        return found


class UserQuery(ListQuery):
    group = Id(required=False)
    login = Text(required=False, max_length=160)


def _with_parts(rows: TenantQuerySet[EndUser]) -> TenantQuerySet[EndUser]:
    related = [name for part in extensions.user_parts for name in part.related]
    unread = [name for part in extensions.user_parts for name in part.unread]
    return rows.select_related(*related).defer(*unread) if related else rows


def _parts_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Take the fields that apps keep out of `fields`."""
    return {name: fields.pop(name) for name in extensions.user_part_names() & fields.keys()}


def _has_parts(request: Request) -> bool:
    return isinstance(request.data, dict) and bool(extensions.user_part_names() & request.data.keys())


class Users(CollectionView):
    serializer_class = UserSerializer
    query_classes = {"GET": UserQuery}
    problems = {"POST": (502,)}

    def rows(self) -> TenantQuerySet[EndUser]:
        return _with_parts(EndUser.objects.prefetch_related("monitored"))

    @idempotent(talks_outside=_has_parts)
    def post(self, request: Request, **kwargs: Any) -> Response:
        return self._create()

    def filtered(self, rows: TenantQuerySet[Any]) -> TenantQuerySet[Any]:
        """A login as it is logged in with: in any case, by the index that keeps it unique."""
        if "group" in self.query:
            rows = rows.filter(group=self.query["group"])
        if "login" in self.query:
            rows = rows.filter(login__lower=Lower(Value(self.query["login"])))
        return rows

    def create(self, fields: dict[str, Any]) -> Model:
        return users.create_user(actor=self.actor, parts=_parts_of(fields), **fields)


class UserItem(ItemView):
    serializer_class = UserSerializer
    problems = {"PATCH": (502,)}

    def rows(self) -> TenantQuerySet[EndUser]:
        return _with_parts(EndUser.objects.prefetch_related("monitored"))

    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        password, monitored = changes.pop("password", None), changes.pop("monitored", None)
        parts = _parts_of(changes)
        return users.update_user(
            actor=self.actor, user=row, changes=changes, password=password, monitored=monitored, parts=parts
        )

    def remove(self, row: Any) -> None:
        users.delete_user(actor=self.actor, user=row)
