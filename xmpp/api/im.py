"""End-user routes of instant messages (contracts section 6)."""

from __future__ import annotations

from typing import Any

from django.core.validators import ProhibitNullCharactersValidator
from django.urls import path
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from portal.api.base import UserView
from portal.api.fields import Boolean, Choice, Id, Text
from portal.api.idempotency import idempotent
from portal.api.parsing import JSONObjectParser
from portal.api.strict import ListQuery, StrictSerializer
from portal.scoping import get_visible
from xmpp.api.im_objects import conversation_objects, message_objects
from xmpp.api.shapes import ImConversationShape, ImMessageShape
from xmpp.services import chat_states, conversations, sending
from xmpp.services.conversations import get_conversation, shown_conversations
from xmpp.services.seeing import shown_messages
from xmpp.states import ChatStateName

_ONE = {"type": "string", "description": "Id of a user of the organisation, or a JID."}


@extend_schema_field({"oneOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1, "maxItems": 101}]})
class Recipients(serializers.JSONField):
    """Whatever was sent as `to`: the service says what is wrong with it."""


class MessageText(Text):
    """A text of which the service says what its characters may be."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)
        refused = (ProhibitNullCharactersValidator, ProhibitSurrogateCharactersValidator)
        self.validators = [check for check in self.validators if not isinstance(check, refused)]


class InstantMessageParser(JSONObjectParser):
    checked_by_service = frozenset({"text"})


class ImMessageSerializer(StrictSerializer):
    to = Recipients(help_text="A user of the organisation, a JID, or several users for a group chat.")
    text = MessageText()
    client_id = Text(
        required=False,
        allow_blank=True,
        allow_null=True,
        max_length=sending.LONGEST_CLIENT_ID,
        help_text="Chosen by the client; the same again gives the first message.",
    )


class DockedSerializer(StrictSerializer):
    docked = Boolean(required=False)


class ImReadSerializer(StrictSerializer):
    up_to = Id(help_text="Id of a message: this one and older ones are read.")


class ChatStateSerializer(StrictSerializer):
    state = Choice(choices=ChatStateName.choices, help_text="Whether the user is writing at the moment (XEP-0085).")


class Conversations(UserView):
    """The user's IM conversations, the one with the last message first, whatever platform carries them (S0.2)."""

    serializer_class = ImConversationShape  # type: ignore[assignment]
    query_classes = {"GET": ListQuery}
    order = ("-last_message_at", "-id")

    def get(self, request: Request) -> Response:
        page = self.page_of(shown_conversations(self.user), self.order)
        return Response(page.answer(conversation_objects((self.user, row) for row in page.rows)))


class _One(UserView):
    """What is answered with a conversation."""

    def show(self, pk: str) -> Response:
        return Response(conversation_objects([(self.user, get_conversation(self.user, pk))])[0])


class ConversationItem(_One):
    serializer_class = DockedSerializer
    answers = {"GET": {200: ImConversationShape}, "PATCH": {200: ImConversationShape}}

    def get(self, request: Request, pk: str) -> Response:
        """One IM conversation."""
        return self.show(pk)

    def patch(self, request: Request, pk: str) -> Response:
        """Whether it is shown docked or in a window of its own."""
        row = get_conversation(self.user, pk)
        body = self.read_body(partial=True)
        if "docked" in body:
            conversations.set_docked(user=self.user, conversation_id=row.conversation_id, docked=body["docked"])
        return self.show(pk)


class ConversationMessages(UserView):
    """The messages of an IM conversation, newest first. In a group only those that came while the user was online."""

    serializer_class = ImMessageShape  # type: ignore[assignment]
    query_classes = {"GET": ListQuery}
    order = ("-id",)

    def get(self, request: Request, pk: str) -> Response:
        row = get_conversation(self.user, pk)
        rows = shown_messages(self.user).filter(conversation=row.conversation_id).select_related("sender")
        page = self.page_of(rows, self.order)
        return Response(page.answer(message_objects((self.user.pk, message) for message in page.rows)))


class ConversationRead(_One):
    """Clears *new* of a message and those before it, on every device."""

    serializer_class = ImReadSerializer
    answers = {"POST": {200: ImConversationShape}}

    def post(self, request: Request, pk: str) -> Response:
        key = get_conversation(self.user, pk).conversation_id
        messages = shown_messages(self.user).filter(conversation=key)
        up_to = get_visible(messages, self.user, self.read_body()["up_to"])
        conversations.mark_read(user=self.user, conversation_id=key, up_to=up_to)
        return self.show(pk)


class ConversationState(UserView):
    """Says whether the user is writing, to the other of the two, by the platforms a message would go by now. It is
    soon forgotten, and the same again within a few seconds does nothing; in a group chat nobody is told."""

    serializer_class = ChatStateSerializer
    answers = {"POST": {204: None}}

    def post(self, request: Request, pk: str) -> Response:
        row = get_conversation(self.user, pk)
        chat_states.say_state(user=self.user, row=row, state=self.read_body()["state"])
        return Response(status=204)


class Messages(UserView):
    """Sends an instant message, by the platforms of the user's IM priority (S0.32). Several users make a group chat,
    which our own platform carries, for who is online in it (S0.3, S0.4)."""

    serializer_class = ImMessageSerializer
    parser_classes = [InstantMessageParser]
    answers = {"POST": {202: ImMessageShape}}

    @idempotent()
    def post(self, request: Request) -> Response:
        body = self.read_body()
        message = sending.send_message(
            user=self.user, to=body["to"], text=body["text"], client_id=body.get("client_id") or ""
        )
        return Response(message_objects([(self.user.pk, message)])[0], status=202)


urlpatterns = [
    path("im/conversations/", Conversations.as_view()),
    path("im/conversations/<str:pk>/", ConversationItem.as_view()),
    path("im/conversations/<str:pk>/messages/", ConversationMessages.as_view()),
    path("im/conversations/<str:pk>/read/", ConversationRead.as_view()),
    path("im/conversations/<str:pk>/state/", ConversationState.as_view()),
    path("im/messages/", Messages.as_view()),
]
