"""`session/` and `settings/`."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.base import UserView
from portal.api.enduser.login import SessionUserSerializer
from portal.api.strict import StrictModelSerializer
from portal.countries import calling_code
from portal.models import Licence, UserSettings
from portal.services import users
from portal.services.session import session_object, settings_of


class SettingsSerializer(StrictModelSerializer):
    country_code = serializers.SerializerMethodField()

    class Meta:
        model = UserSettings
        exclude = ["user"]

    def get_country_code(self, settings: UserSettings) -> str:
        return calling_code(settings.default_country)


class FeaturesSerializer(serializers.Serializer[Any]):
    sms = serializers.BooleanField()
    xmpp = serializers.BooleanField()
    unique_account = serializers.BooleanField()
    contact_centre = serializers.BooleanField()


class NewSerializer(serializers.Serializer[Any]):
    conversations = serializers.IntegerField()
    messages = serializers.IntegerField()
    missed_calls = serializers.IntegerField()


@extend_schema_field({"type": "array", "items": {"type": "object", "additionalProperties": True}})
class OpenObjects(serializers.JSONField):
    """Objects that another part of the portal describes."""


class SessionSerializer(serializers.Serializer[Any]):
    user = SessionUserSerializer()
    licence = serializers.ChoiceField(choices=Licence.choices)
    features = FeaturesSerializer()
    settings = SettingsSerializer()
    numbers = OpenObjects()
    new = NewSerializer()
    cursor = serializers.IntegerField(help_text="Start the event stream here and nothing is missed.")


class Session(UserView):
    """What a client needs at its start."""

    answers = {"GET": {200: SessionSerializer}}

    def get(self, request: Request) -> Response:
        return Response(session_object(self.user))


class Settings(UserView):
    """The user's own settings."""

    serializer_class = SettingsSerializer

    def get(self, request: Request) -> Response:
        return Response(SettingsSerializer(settings_of(self.user)).data)

    def patch(self, request: Request) -> Response:
        changed = users.update_settings(user=self.user, changes=self.read_body(partial=True))
        return Response(SettingsSerializer(changed).data)
