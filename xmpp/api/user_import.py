"""Provisioning `broadworks/{id}/import/`: users of a BroadWorks group, with a dry run."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.base import RowView
from portal.api.fields import Boolean, Choice, Integer, Text, Visible
from portal.api.strict import Query, StrictSerializer
from portal.models import Group, Licence
from portal.scoping import TenantQuerySet
from xmpp.api.broadworks import BroadworksSerializer
from xmpp.models import BroadworksConnection
from xmpp.services import user_import


class UserImportSerializer(StrictSerializer):
    service_provider = Text(max_length=120, help_text="Id of the service provider or enterprise in BroadWorks.")
    broadworks_group = Text(max_length=120, help_text="Id of the group in BroadWorks.")
    group = Visible(Group.objects.all())
    licence = Choice(choices=Licence.choices, required=False, default=Licence.NONE, help_text="Of users that are new.")


class ImportQuery(Query):
    dry_run = Choice(choices=["0", "1"], required=False, default="0", help_text="1: only say what would happen.")


class RowShape(StrictSerializer):
    login = Text()
    action = Choice(choices=user_import.ACTIONS)
    changes = serializers.DictField(child=serializers.ListField(), help_text="[before, after] by field.")
    detail = Text()


class UserImportShape(StrictSerializer):
    dry_run = Boolean()
    counts = serializers.DictField(child=Integer(), help_text="By action.")
    results = RowShape(many=True)


class UserImport(RowView):
    """Takes over the users of a BroadWorks group, each for itself, and says what became of it.

    Nobody is deleted and no password is touched; what could not be taken is a `conflict`.
    """

    http_method_names = ["post"]
    serializer_class = BroadworksSerializer
    bodies = {"POST": UserImportSerializer}
    query_classes = {"POST": ImportQuery}
    answers = {"POST": {200: UserImportShape}}
    problems = {"POST": (404, 409, 502)}

    def rows(self) -> TenantQuerySet[BroadworksConnection]:
        return BroadworksConnection.objects.all()

    def post(self, request: Request, **kwargs: Any) -> Response:
        connection = self.writable_row()
        body = self.read_body(UserImportSerializer)
        dry_run = self.query["dry_run"] == "1"
        report = user_import.import_users(actor=self.actor, connection=connection, dry_run=dry_run, **body)
        rows = [vars(row) for row in report.rows]
        return Response({"dry_run": report.dry_run, "counts": report.counts, "results": rows})
