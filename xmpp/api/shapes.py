"""The objects of IM and XMPP as the OpenAPI document describes them."""

from __future__ import annotations

from rest_framework import serializers

from portal.api.fields import Id, Time
from portal.api.shape import Shape
from presence.api.shapes import PresenceShape
from xmpp.states import Direction, MessageStatus, SubscriptionState

PLATFORMS = ["own", "xmpp"]


class ImPresenceShape(PresenceShape):
    """As the presence of a user; of somebody who is none, what the caller's own XMPP session hears."""

    user = Id(allow_null=True)


class SenderShape(Shape):
    user = Id(allow_null=True)
    jid = serializers.CharField(allow_null=True)
    name = serializers.CharField(allow_blank=True)


class ImMessageShape(Shape):
    id = Id()
    conversation = Id()
    direction = serializers.ChoiceField(choices=["in", "out"])
    sender = SenderShape()
    platforms = serializers.ListField(
        child=serializers.ChoiceField(choices=PLATFORMS), help_text="Those that carried it."
    )
    via = serializers.ChoiceField(choices=["direct", "carbon", "archive"])
    text = serializers.CharField()
    status = serializers.ChoiceField(choices=MessageStatus.choices)
    error = serializers.CharField(allow_null=True, help_text="Why it failed, in words.")
    client_id = serializers.CharField(allow_null=True)
    at = Time(help_text="When it was sent.")


class ParticipantShape(SenderShape):
    platforms = serializers.ListField(
        child=serializers.ChoiceField(choices=PLATFORMS), help_text="Those a message of the caller would go by now."
    )
    presence = ImPresenceShape(allow_null=True)


class ImConversationShape(Shape):
    id = Id()
    group = serializers.BooleanField()
    participants = ParticipantShape(many=True, help_text="The others.")
    last_message_at = Time(allow_null=True)
    last_message_received_at = Time(allow_null=True)
    last_message = ImMessageShape(allow_null=True)
    new_count = serializers.IntegerField()
    docked = serializers.BooleanField()


class SubscriptionShape(Shape):
    id = Id()
    user = Id(allow_null=True)
    jid = serializers.CharField()
    name = serializers.CharField()
    direction = serializers.ChoiceField(choices=Direction.choices, help_text="out: the caller watches.")
    state = serializers.ChoiceField(choices=SubscriptionState.choices)
    automatic = serializers.BooleanField(help_text="Made by auto-subscribe.")
    at = Time()
    may_retry_at = Time(allow_null=True)
