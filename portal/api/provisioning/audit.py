"""`audit/`: who did what, newest first."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q

from portal.api.base import ListView
from portal.api.fields import Id, Text, Time
from portal.api.strict import ListQuery, StrictModelSerializer
from portal.ids import first_id_at
from portal.models import AuditEntry
from portal.scoping import TenantQuerySet, parse_id


class AuditSerializer(StrictModelSerializer):
    at = Time(source="created_at")
    actor = Id(source="actor_id", allow_null=True)
    object = Id(source="object_id", allow_null=True)

    class Meta:
        model = AuditEntry
        fields = [
            "id",
            "at",
            "actor_kind",
            "actor",
            "actor_name",
            "action",
            "object_type",
            "object",
            "object_name",
            "before",
            "after",
            "ip",
            "request_id",
        ]
        read_only_fields = fields


class AuditQuery(ListQuery):
    actor = Text(required=False, max_length=160, help_text="Id or user name of who acted.")
    object = Id(required=False, help_text="Id of the row that was changed.")
    action = Text(required=False, max_length=60)
    after = Time(required=False, help_text="At this time or later.")
    before = Time(required=False, help_text="Before this time.")


class Audit(ListView):
    serializer_class = AuditSerializer
    query_classes = {"GET": AuditQuery}

    def rows(self) -> TenantQuerySet[AuditEntry]:
        return AuditEntry.objects.all()

    def filtered(self, rows: TenantQuerySet[Any]) -> TenantQuerySet[Any]:
        if actor := self.query.get("actor"):
            key = parse_id(actor)
            rows = rows.filter(Q(actor_id=key) if key else Q(actor_name=actor))
        if "object" in self.query:
            rows = rows.filter(object_id=self.query["object"])
        if "action" in self.query:
            rows = rows.filter(action=self.query["action"])
        return within(rows, self.query.get("after"), self.query.get("before"))


def within(rows: TenantQuerySet[Any], after: datetime | None, before: datetime | None) -> TenantQuerySet[Any]:
    """Rows made in [after, before), by their ids: these sort by time, and the list's index is on them."""
    if after is not None:
        rows = rows.filter(pk__gte=first_id_at(after))
    if before is not None:
        rows = rows.filter(pk__lt=first_id_at(before))
    return rows
