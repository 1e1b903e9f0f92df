"""The objects of `presence.objects` as the OpenAPI document describes them."""

from __future__ import annotations

from rest_framework import serializers

from portal.api.fields import Id, Time
from portal.api.shape import Shape
from presence.states import LABELS, Detail

STATUSES = [(status.value, label) for status, label in LABELS.items()]
DETAILS = [detail.value for detail in Detail]


class NoteTextShape(Shape):
    text = serializers.CharField()
    by = serializers.CharField(help_text="Name of who wrote it.")
    at = Time()


class NoteShape(Shape):
    user = Id()
    text = serializers.CharField(allow_blank=True)
    by = serializers.CharField(allow_null=True, help_text="Name of who wrote it.")
    at = Time(allow_null=True)


class RichShape(Shape):
    status = serializers.ChoiceField(choices=STATUSES)
    label_ = serializers.CharField()
    message = serializers.CharField(allow_blank=True)
    source_ = serializers.CharField()
    at = Time(allow_null=True)


class TelephonyShape(Shape):
    status = serializers.ChoiceField(choices=STATUSES)
    label_ = serializers.CharField()
    detail = serializers.ChoiceField(choices=DETAILS, allow_null=True)
    forwarded_to = serializers.CharField(allow_null=True)
    source_ = serializers.CharField()
    at = Time(allow_null=True)


class PresenceShape(Shape):
    user = Id()
    status = serializers.ChoiceField(choices=STATUSES)
    label_ = serializers.CharField(help_text="The status for people.")
    message = serializers.CharField(allow_blank=True)
    note = NoteTextShape(allow_null=True)
    rich = RichShape(allow_null=True)
    telephony = TelephonyShape(allow_null=True)
    why = serializers.ListField(child=serializers.CharField(), help_text="Sentences, the rule that won first.")
