"""`events/` as the OpenAPI document shows it. The stream itself is served by `portal.asgi`, not by this view."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.authentication import DeviceTokenAuthentication
from portal.api.base import ApiView
from portal.api.schema import PROBLEM
from portal.problems import Problem


class EventSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField(allow_null=True, help_text="Counts up by one per user, in commit order.")
    type = serializers.CharField()
    at = serializers.DateTimeField()
    data: Any = serializers.DictField(help_text="The whole object; of what is gone, its id and `gone`.")


class EventsSerializer(serializers.Serializer[Any]):
    events = EventSerializer(many=True)
    cursor = serializers.IntegerField(help_text="Ask again with ?after= this.")
    reset = serializers.BooleanField(help_text="Fetch session and lists again, then go on from the cursor.")


class Events(ApiView):
    """News as it happens: `text/event-stream`, or with `Accept: application/json` one answer of up to 200 events."""

    authentication_classes = [DeviceTokenAuthentication]
    problems = {"GET": (404,)}

    @extend_schema(
        parameters=[
            OpenApiParameter("after", OpenApiTypes.INT, description="Begin after this event; left out: from now."),
            OpenApiParameter(
                "wait", OpenApiTypes.NUMBER, description="JSON form: seconds to wait for a first event, ≤ 30."
            ),
            OpenApiParameter(
                "Last-Event-ID", OpenApiTypes.INT, OpenApiParameter.HEADER, description="As `after`, and wins over it."
            ),
        ],
        responses={
            (200, "application/json"): EventsSerializer,
            (200, "text/event-stream"): OpenApiTypes.STR,
            **{
                (status, PROBLEM): OpenApiResponse({"$ref": "#/components/schemas/Problem"}, description=text)
                for status, text in (
                    (400, "`invalid_cursor`"),
                    (401, "No valid token, or it has expired."),
                    (404, "This server has no streams; ask the stream server."),
                    (503, "Try again soon."),
                )
            },
        },
    )
    def get(self, request: Request) -> Response:
        raise Problem("not_found", "Event streams are served by the portal's stream server.", status=404)
