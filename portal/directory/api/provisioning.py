"""Provisioning `directories/`: what staff give the users of a group or system provider to look into (S1.35)."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.urls import path
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.base import ActionView, CollectionView, ItemView, RowsView, RowView
from portal.api.fields import Choice, Id, Text, Time, Visible
from portal.api.strict import ListQuery, Query, StrictModelSerializer, StrictSerializer
from portal.api.uploads import CSVParser, FileField, UploadParser
from portal.directory.models import Directory, DirectoryKind
from portal.directory.services import asking, directories, importing
from portal.directory.sources import SOURCES
from portal.encryption import mask
from portal.models import Group, SystemProvider
from portal.scoping import TenantQuerySet

_OPEN_OBJECT = {"type": "object", "additionalProperties": True}


@extend_schema_field(
    {**_OPEN_OBJECT, "description": "By kind. What is not set shows its default; null goes back to it. Secrets are "
     "shown masked; left out or blank: kept."}
)  # fmt: skip
class Settings(serializers.Field[Any, Any, Any, Any]):
    """The settings of a server, its secrets write-only."""

    def get_attribute(self, instance: Directory) -> dict[str, Any]:
        source = SOURCES.get(instance.kind)
        known = source.settings if source else ()
        return {
            setting.name: mask(instance.secrets.get(setting.name, ""))
            if setting.secret
            else instance.settings.get(setting.name, setting.default)
            for setting in known
        }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("Give an object.")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class DirectoryStatusSerializer(StrictSerializer):
    state = Choice(choices=["new", "connected", "failed", "loaded"])
    detail = Text(source="state_detail")
    checked_at = Time(allow_null=True)
    rows = serializers.SerializerMethodField(help_text="Contacts in it; null for a server.")

    def get_rows(self, directory: Directory) -> int | None:
        return None if directory.is_asked else directory.row_count


class DirectorySerializer(StrictModelSerializer):
    create_only = frozenset({"system_provider", "group", "kind"})
    system_provider = Visible(
        SystemProvider.objects.all(), required=False, allow_null=True, help_text="Of all its users."
    )
    group = Visible(Group.objects.all(), required=False, allow_null=True, help_text="Of the group's users only.")
    kind = Choice(choices=DirectoryKind.choices)
    settings = Settings(required=False)
    status = DirectoryStatusSerializer(source="*", read_only=True)

    class Meta:
        model = Directory
        fields = ["id", "system_provider", "group", "kind", "name", "settings", "status", "created_at"]
        read_only_fields = ["id", "created_at"]


class DirectoryQuery(ListQuery):
    system_provider = Id(required=False)
    group = Id(required=False)
    kind = Choice(choices=DirectoryKind.choices, required=False)


class _Directories(RowsView):
    serializer_class = DirectorySerializer

    def rows(self) -> TenantQuerySet[Directory]:
        return Directory.objects.select_related("system_provider")


class Directories(_Directories, CollectionView):
    query_classes = {"GET": DirectoryQuery}

    def create(self, fields: dict[str, Any]) -> Model:
        return directories.create_directory(actor=self.actor, **fields)


class DirectoryItem(_Directories, ItemView):
    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        return directories.update_directory(actor=self.actor, directory=row, changes=changes)

    def remove(self, row: Any) -> None:
        directories.delete_directory(actor=self.actor, directory=row)


class DirectoryTest(_Directories, ActionView):
    """Asks the server for a few contacts; `status` in the answer says what came of it."""

    def act(self, row: Any) -> None:
        asking.test_directory(actor=self.actor, directory=row)


class ImportQuery(Query):
    dry_run = Choice(choices=["0", "1"], required=False, default="0", help_text="1: only say what would happen.")


class ImportSerializer(StrictSerializer):
    file = FileField(help_text=f"CSV in UTF-8 with the columns {','.join(importing.COLUMNS)}.")


class FaultShape(serializers.Serializer[Any]):
    row = serializers.IntegerField(help_text="Line of the file.")
    field = serializers.CharField()
    error = serializers.CharField()


class ReportShape(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    rows = serializers.IntegerField()
    contacts = serializers.IntegerField()
    added = serializers.IntegerField()
    changed = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    removed = serializers.IntegerField()
    error_count = serializers.IntegerField()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `errors` is an attribute of every serializer.
        return {**super().get_fields(), "errors": FaultShape(many=True, help_text="The first 200.")}


class DirectoryImport(_Directories, RowView):
    """Makes the contacts of a CSV file those of the directory. Sent as multipart `file`, or as a text/csv body."""

    http_method_names = ["post"]
    parser_classes = [UploadParser, CSVParser]
    bodies = {"POST": ImportSerializer}
    query_classes = {"POST": ImportQuery}
    answers = {"POST": {200: ReportShape}}

    def post(self, request: Request, **kwargs: Any) -> Response:
        row = self.writable_row()
        content = self.read_body(ImportSerializer)["file"].read(importing.MOST_BYTES)
        report = importing.import_contacts(
            actor=self.actor, directory=row, content=content, dry_run=self.query["dry_run"] == "1"
        )
        return Response(
            {
                "dry_run": report.dry_run,
                "rows": report.rows,
                "contacts": report.contacts,
                **vars(report.changes),
                "errors": report.errors,
                "error_count": report.error_count,
            }
        )


urlpatterns = [
    path("directories/", Directories.as_view()),
    path("directories/<str:pk>/", DirectoryItem.as_view()),
    path("directories/<str:pk>/test/", DirectoryTest.as_view()),
    path("directories/<str:pk>/import/", DirectoryImport.as_view()),
]
