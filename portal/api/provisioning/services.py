"""`services/`: what runs in the workers, and starting, stopping and restarting it (contracts section 5, R36)."""

from __future__ import annotations

from rest_framework import serializers

from portal.api.base import ActionView, ListView, RowView
from portal.api.fields import Choice, Id, Text, Time
from portal.api.strict import ListQuery, Query, StrictSerializer
from portal.models import Service
from portal.scoping import TenantQuerySet
from portal.services import residents


class ServiceSerializer(StrictSerializer):
    id = Id()
    name = Text()
    title = Text()
    system_provider = Id(source="system_provider_id", allow_null=True, help_text="null: of the whole installation.")
    desired = Choice(choices=["running", "stopped"])
    actual = serializers.SerializerMethodField()
    detail = serializers.SerializerMethodField(help_text="Why it is so, in words.")
    holder = Text(help_text="The worker that reported last.")
    since = Time()
    seen_at = Time(allow_null=True)
    counters = serializers.DictField(child=serializers.IntegerField(), help_text="Sums over all workers.")

    def get_actual(self, row: Service) -> str:
        return residents.standing_of(row).actual

    def get_detail(self, row: Service) -> str:
        return residents.standing_of(row).detail


class ServiceQuery(Query):
    system_provider = Id(required=False, help_text="Whose service is meant, where each has its own.")


class ServiceListQuery(ListQuery, ServiceQuery):
    name = Text(required=False, max_length=60)


class _Services(RowView):
    serializer_class = ServiceSerializer

    def rows(self) -> TenantQuerySet[Service]:
        return Service.objects.select_related("system_provider")

    def get_row(self) -> Service:
        """By id or by name."""
        return residents.find_service(self.actor, self.kwargs["pk"], self.query.get("system_provider"))


class Services(ListView):
    """The services that the caller may manage: an operator all of them, others those of their system provider."""

    serializer_class = ServiceSerializer
    query_classes = {"GET": ServiceListQuery}

    def rows(self) -> TenantQuerySet[Service]:
        return Service.objects.select_related("system_provider")


class ServiceItem(_Services):
    """One service; `{id}` is its id or its name."""

    query_classes = {"GET": ServiceQuery}


class _Action(_Services, ActionView):
    query_classes = {"POST": ServiceQuery}


class Start(_Action):
    """Have it run wherever its worker does."""

    def act(self, row: Service) -> None:
        residents.start_service(actor=self.actor, service=row)


class Stop(_Action):
    """Have it run nowhere until somebody starts it."""

    def act(self, row: Service) -> None:
        residents.stop_service(actor=self.actor, service=row)


class Restart(_Action):
    """Have every worker end it in order and start it again."""

    def act(self, row: Service) -> None:
        residents.restart_service(actor=self.actor, service=row)
