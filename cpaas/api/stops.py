"""Provisioning `stops/`: who has asked for no more texts from which number, to read (R20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cpaas.api.numbers import e164_of_query
from cpaas.models import CpaasNumber, Stop, StopEvidence
from cpaas.services.stops import history_of
from portal.api.base import ListView
from portal.api.fields import Id, Text, Time
from portal.api.strict import ListQuery, StrictModelSerializer
from portal.scoping import TenantQuerySet, parse_id


class StopEvidenceSerializer(StrictModelSerializer):
    at = Time(source="created_at")
    keyword = Text(allow_blank=True, help_text="What the remote wrote, as it is spelled in the list of keywords.")
    carrier_code = Text(allow_blank=True, help_text="The carrier's error that told of it instead.")
    number = Id(source="number_id", help_text="Id the number had then.")
    message = Id(source="message_id", allow_null=True, help_text="The text that said so, or was refused.")

    class Meta:
        model = StopEvidence
        fields = ["at", "stopped", "keyword", "carrier_code", "number", "message"]
        read_only_fields = fields


class StopSerializer(StrictModelSerializer):
    number = Text(source="tn", help_text="The own number in E.164, also when it is deleted.")
    history = serializers.SerializerMethodField()

    class Meta:
        model = Stop
        fields = ["id", "number", "remote", "stopped", "at", "keyword", "carrier_code", "history"]
        read_only_fields = fields

    @extend_schema_field(StopEvidenceSerializer(many=True))
    def get_history(self, stop: Stop) -> Any:
        return StopEvidenceSerializer(self.context["history"][stop.pk], many=True).data


class StopQuery(ListQuery):
    number = Text(required=False, max_length=40, help_text="Id of an own number, or the telephone number in E.164.")
    remote = Text(required=False, max_length=40, help_text="The other party in E.164, or its short code.")


class Stops(ListView):
    """Pairs of own number and remote party that were ever stopped, the newest first, each with all its changes.

    Nobody here lifts a stop: only the remote's own START does.
    """

    serializer_class = StopSerializer
    query_classes = {"GET": StopQuery}

    def rows(self) -> TenantQuerySet[Stop]:
        return Stop.objects.all()

    def filtered(self, rows: TenantQuerySet[Any]) -> TenantQuerySet[Any]:
        if "number" in self.query:
            rows = rows.filter(tn=self._tn(self.query["number"]))
        if "remote" in self.query:
            remote = self.query["remote"]
            rows = rows.filter(remote__in=[remote, e164_of_query(remote)])
        return rows

    def _tn(self, number: str) -> str:
        key = parse_id(number)
        if key is None:
            return e164_of_query(number)
        row = CpaasNumber.objects.visible_to(self.actor).filter(pk=key).first()
        return row.number if row else ""

    def show(self, rows: Sequence[Any]) -> list[Any]:
        context = {"request": self.request, "history": history_of(rows)}
        return list(StopSerializer(rows, many=True, context=context).data)
