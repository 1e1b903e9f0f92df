"""The objects of `objects.py` as the OpenAPI document describes them. Nothing is read or written through these."""

from __future__ import annotations

from rest_framework import serializers

from cpaas.models.queue import QueueState
from cpaas.states import MessageStatus, NumberStatus, OptInState
from portal.api.fields import ID_SCHEMA, Id, Time
from portal.api.shape import Shape

__all__ = [
    "ID_SCHEMA",
    "AttachmentShape",
    "BlockedShape",
    "ConversationShape",
    "MessageShape",
    "NumberShape",
    "PreviewShape",
    "QueueRowShape",
]


class ChoiceShape(Shape):
    answer = serializers.ChoiceField(choices=["yes", "no", "cancel"])
    label_ = serializers.CharField()


class PromptShape(Shape):
    id = serializers.CharField()
    title = serializers.CharField()
    text = serializers.CharField()
    choices = ChoiceShape(many=True)


class OptInShape(Shape):
    state = serializers.ChoiceField(choices=OptInState.choices)
    at = Time(allow_null=True)
    prompt = PromptShape(allow_null=True, help_text="What to ask now; null when there is nothing to ask.")


class NumberShape(Shape):
    id = Id()
    number = serializers.CharField()
    national = serializers.CharField()
    friendly_name = serializers.CharField()
    display = serializers.CharField()
    carrier = serializers.CharField()
    messaging_type = serializers.ChoiceField(choices=["SMS", "MMS & SMS"])
    can_block = serializers.BooleanField()
    status = serializers.ChoiceField(choices=NumberStatus.choices)
    opt_in = OptInShape()
    usable = serializers.BooleanField()


class ErrorShape(Shape):
    code = serializers.CharField(allow_blank=True)
    text = serializers.CharField(allow_blank=True)


class AttemptShape(Shape):
    n = serializers.IntegerField()
    sid = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=MessageStatus.choices)
    at = Time()
    error = ErrorShape(allow_null=True)


class AttachmentShape(Shape):
    id = Id()
    name = serializers.CharField()
    content_type = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes.")
    url = serializers.URLField(help_text="Opens without a token; gone with the message.")
    thumbnail_url = serializers.URLField(allow_null=True, help_text="A small picture of a picture.")
    as_ = serializers.ChoiceField(choices=["mms", "link"])


class MessageShape(Shape):
    id = Id()
    conversation = Id()
    direction = serializers.ChoiceField(choices=["in", "out"])
    kind = serializers.ChoiceField(choices=["sms", "mms"])
    status = serializers.ChoiceField(choices=MessageStatus.choices)
    from_ = serializers.CharField()
    to = serializers.CharField()
    text = serializers.CharField(allow_blank=True)
    encoding = serializers.ChoiceField(choices=["gsm7", "ucs2"])
    segments = serializers.IntegerField()
    characters = serializers.IntegerField()
    attachments = AttachmentShape(many=True)
    media_waiting = serializers.IntegerField(help_text="Files of an inbound message that are still being fetched.")
    media_failed = serializers.IntegerField(help_text="Files that the carrier did not hand over.")
    error = ErrorShape(allow_null=True)
    attempts = AttemptShape(many=True)
    resendable = serializers.BooleanField()
    at = Time()
    sent_at = Time(allow_null=True)
    delivered_at = Time(allow_null=True)


class StepShape(Shape):
    at = Time()
    type = serializers.CharField()
    title = serializers.CharField(help_text="What happened, as a sentence.")
    detail = serializers.CharField(allow_blank=True)
    attempt = serializers.IntegerField(allow_null=True)
    word = serializers.CharField(allow_null=True, help_text="The carrier's own word.")


class LogFileShape(Shape):
    name = serializers.CharField(allow_null=True, allow_blank=True)
    content_type = serializers.CharField(allow_blank=True)
    size = serializers.IntegerField(help_text="Bytes.")
    as_ = serializers.ChoiceField(choices=["mms", "link"])
    state = serializers.ChoiceField(choices=["waiting", "stored", "failed"], help_text="waiting: still at the carrier.")
    error_ = serializers.CharField(allow_blank=True, help_text="Why the carrier did not hand it over, so far.")


class LogEntryShape(Shape):
    id = Id()
    at = Time()
    from_ = serializers.CharField(allow_blank=True)
    to = serializers.CharField(allow_blank=True)
    direction = serializers.ChoiceField(choices=["in", "out"])
    api_direction = serializers.ChoiceField(choices=["outbound-api", "inbound"])
    kind = serializers.ChoiceField(choices=["sms", "mms"])
    status = serializers.ChoiceField(choices=[*MessageStatus.values, "unassigned"])
    sid = serializers.CharField(allow_null=True, help_text="The carrier's id, for tickets to the carrier.")
    sid_history = serializers.ListField(child=serializers.CharField())
    text = serializers.CharField(allow_null=True, allow_blank=True)
    attachments = LogFileShape(many=True)
    encoding = serializers.ChoiceField(choices=["gsm7", "ucs2"])
    segments = serializers.IntegerField()
    characters = serializers.IntegerField()
    price_segments = serializers.IntegerField(help_text="What the carrier counts, over all attempts it took.")
    number = Id(allow_null=True)
    user = Id(allow_null=True)
    group = Id(allow_null=True)
    reseller = Id(allow_null=True)
    system_provider = Id(allow_null=True)
    error = ErrorShape(allow_null=True)
    attempts = AttemptShape(many=True)
    events = StepShape(many=True)


class OwnNumberShape(Shape):
    id = Id()
    number = serializers.CharField()
    display = serializers.CharField()


class RemoteShape(Shape):
    number = serializers.CharField()
    national = serializers.CharField()
    name = serializers.CharField(allow_null=True)
    kind = serializers.ChoiceField(choices=["mobile", "landline", "voip", "short_code", "alphanumeric", "unknown"])
    source_ = serializers.CharField(allow_null=True, help_text="The directory that knows the name.")


class ConversationShape(Shape):
    id = Id()
    number = OwnNumberShape()
    remote = RemoteShape()
    last_message_at = Time(allow_null=True)
    last_received_at = Time(allow_null=True)
    last_message = MessageShape(allow_null=True)
    new_count = serializers.IntegerField()
    blocked = serializers.BooleanField()
    stopped = serializers.BooleanField()
    reserved_by = Id(allow_null=True)
    can_reply = serializers.BooleanField()


class BlockedShape(Shape):
    id = Id()
    number = Id(help_text="Id of the own number.")
    remote = serializers.CharField(help_text="E.164, or a short code or name as it writes to us.")
    national = serializers.CharField()
    name = serializers.CharField(allow_null=True)
    at = Time()


class PreviewFileShape(Shape):
    id = Id()
    as_ = serializers.ChoiceField(choices=["mms", "link"])


class StreamShape(Shape):
    id = Id()
    name = serializers.CharField()


class QueueRowShape(Shape):
    id = Id()
    conversation = Id()
    media_stream = StreamShape()
    remote = RemoteShape()
    waiting_since = Time()
    offered_to = serializers.ListField(child=Id(), help_text="The agents who are asked now.")
    offered_until = Time(allow_null=True, help_text="When the offer goes on to the next agent.")
    state = serializers.ChoiceField(choices=QueueState.choices)
    reserved_by = Id(allow_null=True)


class PreviewShape(Shape):
    to = serializers.CharField()
    kind = serializers.ChoiceField(choices=["sms", "mms"])
    encoding = serializers.ChoiceField(choices=["gsm7", "ucs2"])
    segments = serializers.IntegerField()
    characters = serializers.IntegerField()
    culprit = serializers.CharField(allow_null=True, help_text="The first character that forces UCS-2.")
    attachments = PreviewFileShape(many=True)
