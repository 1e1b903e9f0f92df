"""End-user routes of messaging: own numbers, conversations, messages (contracts section 4)."""

from __future__ import annotations

import re
from typing import Any

from django.db.models import Q
from django.urls import include, path
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cpaas.api import blocked, shapes
from cpaas.api.attachments import Attachments, UnusedFiles
from cpaas.api.objects import SHOWN_STATUSES, conversation_objects, message_objects, number_object
from cpaas.models import Attachment, Conversation, CpaasNumber, Message
from cpaas.models.attachments import AttachmentState
from cpaas.services import conversations, opt_in, sending
from cpaas.services.numbers import own_numbers
from portal.api.base import UserView
from portal.api.fields import Choice, Id, Text
from portal.api.idempotency import idempotent
from portal.api.strict import ListQuery, StrictSerializer
from portal.directory.models import ContactNumber
from portal.directory.services.reading import AddressBooks
from portal.models import EndUser
from portal.scoping import TenantQuerySet, get_visible


@extend_schema_field({"type": "string", "description": "A telephone number as the user dials it, or E.164."})
class Recipient(serializers.JSONField):
    """Whatever was sent as `to`: the service says what is wrong with several, or with none."""


class OptInAnswerSerializer(StrictSerializer):
    answer = Choice(choices=["yes", "no", "cancel"])
    prompt = Text(required=False, allow_null=True, max_length=100, help_text="Id of the prompt that was shown.")


class OutgoingSerializer(StrictSerializer):
    to = Recipient()
    text = Text(required=False, default="", allow_blank=True, trim_whitespace=False)
    attachments = UnusedFiles(
        Attachment.objects.filter(state=AttachmentState.UNUSED),
        required=False,
        default=list,
        help_text="Uploaded files.",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        sender = Text(
            required=False,
            allow_null=True,
            allow_blank=True,
            max_length=100,
            help_text="Id or telephone number of an own number; may be left out by who has one.",
        )
        return {"from": sender, **super().get_fields()}


class ReadSerializer(StrictSerializer):
    up_to = Id(help_text="Id of a message: this one and older ones are read.")


def shown_messages(user: EndUser) -> TenantQuerySet[Message]:
    """The messages of the user's conversations that this API shows."""
    return Message.objects.visible_to(user).filter(status__in=SHOWN_STATUSES)


def shown_conversations(user: EndUser) -> TenantQuerySet[Conversation]:
    """The conversations in which there is something to see (S1.20)."""
    return Conversation.objects.visible_to(user).filter(last_message_at__isnull=False)


class Numbers(UserView):
    """The own numbers that are enabled for text messaging, each with the opt-in prompt to show, if any (S1.1, S1.3)."""

    serializer_class = shapes.NumberShape  # type: ignore[assignment]
    query_classes = {"GET": ListQuery}
    order = ("id",)

    def get(self, request: Request) -> Response:
        page = self.page_of(own_numbers(self.user).select_related("platform__system_provider", "user"), self.order)
        return Response(page.answer([number_object(number) for number in page.rows]))


class OptIn(UserView):
    """The user's answer to the opt-in prompt of a number (R3)."""

    serializer_class = OptInAnswerSerializer
    answers = {"POST": {200: shapes.NumberShape}}

    def post(self, request: Request, pk: str) -> Response:
        numbers = CpaasNumber.objects.select_related("platform__system_provider", "user")
        number = get_visible(numbers, self.user, pk)
        body = self.read_body()
        opt_in.record_opt_in(user=self.user, number=number, answer=body["answer"], prompt_id=body.get("prompt"))
        return Response(number_object(get_visible(numbers, self.user, pk)))


class ConversationQuery(ListQuery):
    number = Id(required=False, help_text="Id of an own number, or of one of the caller's media streams.")
    new = serializers.ChoiceField(choices=["0", "1"], required=False, help_text="1: only those with new messages.")
    q = Text(required=False, max_length=100, help_text="Part of a number, or of a name.")


class Conversations(UserView):
    """The user's conversations, the one with the last message first (S1.48): of own numbers, and of media streams those
    the user has reserved; with `number`, all of that number (S4.3)."""

    serializer_class = shapes.ConversationShape  # type: ignore[assignment]
    query_classes = {"GET": ConversationQuery}
    order = ("-last_message_at", "-id")

    def get(self, request: Request) -> Response:
        rows = shown_conversations(self.user)
        if "number" in self.query:
            rows = rows.filter(number_id=self.query["number"])
        else:
            rows = rows.filter(user=self.user)
        if self.query.get("new") == "1":
            rows = rows.filter(new_count__gt=0)
        if "q" in self.query:
            rows = rows.filter(_matches(self.user, self.query["q"]))
        page = self.page_of(rows, self.order)
        return Response(page.answer(conversation_objects((self.user, row) for row in page.rows)))


class ConversationItem(UserView):
    answers = {"GET": {200: shapes.ConversationShape}}

    def get(self, request: Request, pk: str) -> Response:
        """One conversation."""
        conversation = get_visible(shown_conversations(self.user), self.user, pk)
        return Response(conversation_objects([(self.user, conversation)])[0])


class ConversationMessages(UserView):
    """The messages of a conversation, newest first."""

    serializer_class = shapes.MessageShape  # type: ignore[assignment]
    query_classes = {"GET": ListQuery}
    order = ("-position",)

    def get(self, request: Request, pk: str) -> Response:
        conversation = get_visible(shown_conversations(self.user), self.user, pk)
        page = self.page_of(shown_messages(self.user).filter(conversation=conversation), self.order)
        return Response(page.answer(message_objects(page.rows)))


class ConversationRead(UserView):
    """Clears *new* of a message and those before it, on every device (S1.54)."""

    serializer_class = ReadSerializer
    answers = {"POST": {200: shapes.ConversationShape}}

    def post(self, request: Request, pk: str) -> Response:
        conversation = get_visible(shown_conversations(self.user), self.user, pk)
        messages = shown_messages(self.user).filter(conversation=conversation)
        up_to = get_visible(messages, self.user, self.read_body()["up_to"])
        conversations.mark_read(user=self.user, conversation=conversation, up_to=up_to)
        conversation.refresh_from_db()
        return Response(conversation_objects([(self.user, conversation)])[0])


class _Outgoing(UserView):
    """What sending and previewing read of a body."""

    serializer_class = OutgoingSerializer

    def read_outgoing(self) -> dict[str, Any]:
        body = self.read_body()
        number = sending.choose_number(user=self.user, value=body.get("from"))
        chosen = {name: body[name] for name in ("to", "text", "attachments")}
        return {"user": self.user, "number": number, **chosen}


class Messages(_Outgoing):
    """Queues a text (S1.20, S1.24–S1.27)."""

    answers = {"POST": {202: shapes.MessageShape}}
    problems = {"POST": (429,)}

    @idempotent()
    def post(self, request: Request) -> Response:
        message = sending.send_message(**self.read_outgoing())
        return Response(message_objects([message])[0], status=202)


class MessageItem(UserView):
    answers = {"GET": {200: shapes.MessageShape}}

    def get(self, request: Request, pk: str) -> Response:
        """One message."""
        message = get_visible(shown_messages(self.user), self.user, pk, "Message")
        return Response(message_objects([message])[0])


class Resend(UserView):
    """A new attempt of a text that failed, was not delivered, or whose fate is unknown (R22)."""

    answers = {"POST": {202: shapes.MessageShape}}
    bodies = {"POST": None}
    problems = {"POST": (429,)}

    @idempotent()
    def post(self, request: Request, pk: str) -> Response:
        message = get_visible(shown_messages(self.user), self.user, pk, "Message")
        self.read_body(StrictSerializer)
        message = sending.resend_message(user=self.user, message=message)
        return Response(message_objects([message])[0], status=202)


class Preview(_Outgoing):
    """What a text would be on the wire, without sending it."""

    answers = {"POST": {200: shapes.PreviewShape}}

    def post(self, request: Request) -> Response:
        return Response(sending.preview_message(**self.read_outgoing()))


def _matches(user: EndUser, words: str) -> Q:
    """Conversations by part of the remote number, dialled any way, or by a name that a directory knows it under."""
    found = Q(remote__icontains=words)
    # National digits begin with a trunk zero in many countries, E.164 never does.
    digits = re.sub(r"[^0-9]", "", words).lstrip("0")
    if len(digits) >= 3:
        found |= Q(remote__contains=digits)
    books = AddressBooks(user)
    for contacts in books.contacts_matching(words):
        found |= Q(remote__in=ContactNumber.objects.filter(contact_id__in=contacts).values("number"))
    for people in books.people_matching(words):
        numbers = CpaasNumber.objects.filter(user_id__in=people.values("pk"))
        found |= Q(remote__in=people.values("mobile")) | Q(remote__in=numbers.values("number"))
    return found


urlpatterns = [
    path("numbers/", Numbers.as_view()),
    path("numbers/<str:pk>/opt-in/", OptIn.as_view()),
    path("conversations/", Conversations.as_view()),
    path("conversations/<str:pk>/", ConversationItem.as_view()),
    path("conversations/<str:pk>/messages/", ConversationMessages.as_view()),
    path("conversations/<str:pk>/read/", ConversationRead.as_view()),
    path("attachments/", Attachments.as_view()),
    path("messages/", Messages.as_view()),
    path("messages/preview/", Preview.as_view()),
    path("messages/<str:pk>/", MessageItem.as_view()),
    path("messages/<str:pk>/resend/", Resend.as_view()),
    path("", include("cpaas.api.queue")),
    *blocked.urlpatterns,
]
