"""Provisioning `media-streams/`."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from cpaas.models import MediaStream
from cpaas.services import media_streams
from portal.api.base import CollectionView, ItemView, RowsView
from portal.api.fields import Id, Visible, VisibleList
from portal.api.strict import ListQuery, StrictModelSerializer
from portal.models import EndUser, Group
from portal.scoping import TenantQuerySet


class MediaStreamSerializer(StrictModelSerializer):
    create_only = frozenset({"group"})
    group = Visible(Group.objects.all())
    agents = VisibleList(EndUser.objects.all(), required=False)

    class Meta:
        model = MediaStream
        fields = ["id", "group", "name", "media_type", "routing", "offer_timeout_s", "agents", "created_at"]
        read_only_fields = ["id", "created_at"]


class MediaStreamQuery(ListQuery):
    group = Id(required=False)


class _MediaStreams(RowsView):
    serializer_class = MediaStreamSerializer

    def rows(self) -> TenantQuerySet[MediaStream]:
        return MediaStream.objects.prefetch_related("agents")


class MediaStreams(_MediaStreams, CollectionView):
    query_classes = {"GET": MediaStreamQuery}

    def create(self, fields: dict[str, Any]) -> Model:
        return media_streams.create_media_stream(actor=self.actor, **fields)


class MediaStreamItem(_MediaStreams, ItemView):
    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        agents = changes.pop("agents", None)
        return media_streams.update_media_stream(actor=self.actor, media_stream=row, changes=changes, agents=agents)

    def remove(self, row: Any) -> None:
        media_streams.delete_media_stream(actor=self.actor, media_stream=row)
