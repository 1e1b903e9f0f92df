"""`users/`: the end users of a group."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, Value
from django.db.models.functions import Lower

from portal.api.base import CollectionView, ItemView
from portal.api.fields import Id, Text, Visible, VisibleList
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


class UserQuery(ListQuery):
    group = Id(required=False)
    login = Text(required=False, max_length=160)


class Users(CollectionView):
    serializer_class = UserSerializer
    query_classes = {"GET": UserQuery}

    def rows(self) -> TenantQuerySet[EndUser]:
        return EndUser.objects.prefetch_related("monitored")

    def filtered(self, rows: TenantQuerySet[Any]) -> TenantQuerySet[Any]:
        """A login as it is logged in with: in any case, by the index that keeps it unique."""
        if "group" in self.query:
            rows = rows.filter(group=self.query["group"])
        if "login" in self.query:
            rows = rows.filter(login__lower=Lower(Value(self.query["login"])))
        return rows

    def create(self, fields: dict[str, Any]) -> Model:
        return users.create_user(actor=self.actor, **fields)


class UserItem(ItemView):
    serializer_class = UserSerializer

    def rows(self) -> TenantQuerySet[EndUser]:
        return EndUser.objects.prefetch_related("monitored")

    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        password, monitored = changes.pop("password", None), changes.pop("monitored", None)
        return users.update_user(actor=self.actor, user=row, changes=changes, password=password, monitored=monitored)

    def remove(self, row: Any) -> None:
        users.delete_user(actor=self.actor, user=row)
