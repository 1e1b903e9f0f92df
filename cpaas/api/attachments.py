"""Uploading files to send (contracts section 4, S1.37)."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cpaas.api import shapes
from cpaas.api.objects import attachment_object
from cpaas.services.attachments import MOST_FILES, expected_way, store_upload, unknown_attachment
from portal.api.base import UserView
from portal.api.fields import ID_SCHEMA, VisibleList
from portal.api.idempotency import idempotent
from portal.api.strict import StrictSerializer
from portal.api.uploads import FileField, UploadParser
from portal.scoping import parse_id


@extend_schema_field({"type": "array", "items": ID_SCHEMA, "maxItems": MOST_FILES})
class UnusedFiles(VisibleList):
    """Ids of files the user has uploaded and not sent, each once, in their order."""

    def to_internal_value(self, data: Any) -> list[Model]:
        if not isinstance(data, list) or len(data) > MOST_FILES:
            raise serializers.ValidationError(f"Give a list of at most {MOST_FILES} ids.")
        keys = [parse_id(key) if isinstance(key, str) else None for key in data]
        found = self.queryset.visible_to(self.context["request"].user).in_bulk({key for key in keys if key})
        if len(found) < len(keys):
            raise unknown_attachment()
        return [found[key] for key in keys]


class UploadSerializer(StrictSerializer):
    file = FileField(help_text="A file of at most 25 MB: .txt .mpeg .mp3 .mp4 .pdf .jpeg .jpg .bmp .png .gif .csv")


class Attachments(UserView):
    """Takes in a file, as `multipart/form-data`; name it in `attachments` of a message within a day."""

    parser_classes = [UploadParser]
    serializer_class = UploadSerializer
    answers = {"POST": {201: shapes.AttachmentShape}}

    @idempotent(talks_outside=True)
    def post(self, request: Request) -> Response:
        file = self.read_body()["file"]
        row = store_upload(user=self.user, name=file.name, content=file.content, size=file.size)
        return Response(attachment_object(row, expected_way(self.user, row)), status=201)
