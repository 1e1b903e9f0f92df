"""`login/`, `logout/` and `devices/`."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.base import ApiView, UserView
from portal.api.fields import Text, Time
from portal.api.strict import ListQuery, StrictSerializer
from portal.clock import iso
from portal.events.departures import note_logout
from portal.models import Device
from portal.scoping import get_visible
from portal.services import tokens
from portal.services.session import user_object


class LoginSerializer(StrictSerializer):
    login = Text(max_length=160)
    password = Text(max_length=1000, trim_whitespace=False)
    device = Text(max_length=120, help_text="What the user calls this client.")


class SessionUserSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    login = serializers.CharField()
    name = serializers.CharField()
    email = serializers.CharField(allow_blank=True)
    group = serializers.UUIDField()
    country = serializers.CharField()
    time_zone = serializers.CharField()


class LoggedInSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Shown this once. Lapses 90 days after its last use.")
    expires_at = Time()
    user = SessionUserSerializer()


class DeviceSerializer(StrictSerializer):
    id = serializers.UUIDField()
    name = serializers.CharField()
    created_at = Time()
    last_used_at = Time()
    current = serializers.BooleanField()


class Login(ApiView):
    """A device token for a login name and password."""

    authentication_classes = []
    serializer_class = LoginSerializer
    public_methods = ("POST",)
    answers = {"POST": {200: LoggedInSerializer}}
    problems = {"POST": (401, 429)}

    def post(self, request: Request) -> Response:
        body = self.read_body()
        issued, user = tokens.log_in_device(**body)
        answer = {"token": issued.plain, "expires_at": iso(issued.row.expires_at), "user": user_object(user)}
        return Response(answer)


class Logout(UserView):
    """Ends the token it is called with, and that device's event streams."""

    answers = {"POST": {204: None}}

    def post(self, request: Request) -> Response:
        self.read_body(StrictSerializer)
        note_logout(self.device.pk)
        tokens.revoke_device(device=self.device)
        return Response(status=204)


class Devices(UserView):
    """The clients the user is logged in with."""

    serializer_class = DeviceSerializer
    query_classes = {"GET": ListQuery}
    order = ("-id",)

    def get(self, request: Request) -> Response:
        page = self.page_of(Device.objects.visible_to(self.user), self.order)
        return Response(page.answer([device_object(device, self.device) for device in page.rows]))


class DeviceItem(UserView):
    """DELETE logs a device out."""

    http_method_names = ["delete"]

    def delete(self, request: Request, pk: str) -> Response:
        tokens.revoke_device(device=get_visible(Device.objects.all(), self.user, pk))
        return Response(status=204)


def device_object(device: Device, current: Device) -> dict[str, Any]:
    return {
        "id": str(device.pk),
        "name": device.name,
        "created_at": iso(device.created_at),
        "last_used_at": iso(device.last_used_at),
        "current": device.pk == current.pk,
    }
