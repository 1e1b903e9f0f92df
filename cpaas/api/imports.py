"""Provisioning `numbers/import/` and the imports that were begun, with their lines."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cpaas.models import NumberImport, NumberImportLine
from cpaas.models.imports import ImportStatus
from cpaas.services import importing
from cpaas.services.import_files import COLUMNS, MOST_BYTES, MOST_LINES
from cpaas.services.import_work import work_until
from portal.api.base import ListView, RowView, StaffView
from portal.api.fields import Choice, Id, Text, Time
from portal.api.idempotency import idempotent
from portal.api.strict import ListQuery, Query, StrictModelSerializer, StrictSerializer
from portal.api.uploads import CSVParser, FileField, UploadParser
from portal.scoping import TenantQuerySet, get_visible, require_writer

# How long a caller waits for the report. What takes longer goes on without them.
PATIENCE_S = 20


class ImportLineSerializer(StrictModelSerializer):
    id = Id(source="number_id", allow_null=True, help_text="Of the number that was assigned.")

    class Meta:
        model = NumberImportLine
        fields = ["line", *COLUMNS, "status", "code", "detail", "id"]
        read_only_fields = fields


class ImportSerializer(StrictModelSerializer):
    state = Choice(choices=["running", "done"])
    account = Text(source="account_name", help_text="User name of who asked for it.")
    created_at = Time()
    finished_at = Time(allow_null=True)

    class Meta:
        model = NumberImport
        fields = [
            "id",
            "state",
            "dry_run",
            "atomic",
            "file_name",
            "account",
            "total",
            "good",
            "taken",
            "refused",
            "created_at",
            "finished_at",
        ]
        read_only_fields = fields


class ImportReport(ImportSerializer):
    results = serializers.SerializerMethodField()

    class Meta(ImportSerializer.Meta):
        fields = [*ImportSerializer.Meta.fields, "results"]
        read_only_fields = fields

    @extend_schema_field(ImportLineSerializer(many=True))
    def get_results(self, job: NumberImport) -> list[Any]:
        return list(ImportLineSerializer(job.lines.order_by("line"), many=True).data)


class ImportFile(StrictSerializer):
    file = FileField(help_text=f"CSV with the columns {','.join(COLUMNS)}, at most {MOST_LINES} lines.")


class ImportFlags(Query):
    dry_run = Choice(choices=["0", "1"], required=False, default="0", help_text="1: only say what would happen.")
    atomic = Choice(choices=["0", "1"], required=False, default="0", help_text="1: all lines or none.")


class NumberImports(StaffView):
    """Assigns the numbers of a CSV file, sent as multipart `file` or as a text/csv body; answers line by line.

    A file that takes long is answered 202 with what is there so far, and goes on: see `imports/{id}/`.
    """

    http_method_names = ["post"]
    parser_classes = [UploadParser, CSVParser]
    bodies = {"POST": ImportFile}
    query_classes = {"POST": ImportFlags}
    answers = {"POST": {200: ImportReport, 202: ImportReport}}

    @idempotent(talks_outside=True)
    def post(self, request: Request, **kwargs: Any) -> Response:
        require_writer(self.actor)
        file = self.read_body(ImportFile)["file"]
        job = importing.begin_import(
            actor=self.actor,
            content=file.read(MOST_BYTES),
            file_name=file.name,
            dry_run=self.query["dry_run"] == "1",
            atomic=self.query["atomic"] == "1",
        )
        job = work_until(job, PATIENCE_S)
        return Response(ImportReport(job).data, status=200 if job.state == "done" else 202)


class Imports(ListView):
    """The imports of the last 90 days, newest first."""

    serializer_class = ImportSerializer

    def rows(self) -> TenantQuerySet[NumberImport]:
        return NumberImport.objects.all()


class ImportItem(RowView):
    """How far an import is."""

    serializer_class = ImportSerializer
    http_method_names = ["get", "head"]

    def rows(self) -> TenantQuerySet[NumberImport]:
        return NumberImport.objects.all()


class ImportLinesQuery(ListQuery):
    status = serializers.ChoiceField(choices=ImportStatus.choices, required=False)


class ImportLines(ListView):
    """The lines of an import in the order of the file."""

    order = ("line", "id")
    serializer_class = ImportLineSerializer
    query_classes = {"GET": ImportLinesQuery}

    def rows(self) -> TenantQuerySet[NumberImportLine]:
        job = get_visible(NumberImport.objects.all(), self.actor, self.kwargs["pk"])
        return NumberImportLine.objects.filter(job=job)
