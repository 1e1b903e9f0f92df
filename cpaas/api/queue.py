"""End-user routes of the contact centre: the queue, and what an agent does with its conversations (S4.3)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cpaas.api import shapes
from cpaas.api.enduser import shown_conversations
from cpaas.api.objects import conversation_objects
from cpaas.api.queue_objects import queue_objects, queue_rows
from cpaas.models import Conversation, QueueEntry
from cpaas.models.queue import QueueState
from cpaas.services import agents, queueing
from portal.api.base import UserView
from portal.api.fields import Id
from portal.api.strict import ListQuery, StrictSerializer
from portal.problems import not_found
from portal.scoping import get_visible


class QueueQuery(ListQuery):
    media_stream = Id(required=False, help_text="Id of a media stream.")
    state = serializers.ChoiceField(choices=QueueState.choices, required=False)


class Queue(UserView):
    """What waits in the caller's media streams and who has what, the longest waiting first. Asking is a sign of life:
    whoever asks is offered conversations for the next half minute."""

    serializer_class = shapes.QueueRowShape  # type: ignore[assignment]
    query_classes = {"GET": QueueQuery}
    problems = {"GET": (404,)}
    order = ("waiting_since", "id")

    def get(self, request: Request) -> Response:
        streams = agents.streams_of(self.user)
        if not streams:
            raise not_found("Queue")
        agents.note_agents([self.user.pk])
        if "media_stream" in self.query:
            streams = [key for key in streams if key == self.query["media_stream"]]
        rows = QueueEntry.objects.visible_to(self.user)
        # Of one stream the index gives the order.
        rows = rows.filter(media_stream=streams[0]) if len(streams) == 1 else rows.filter(media_stream__in=streams)
        if "state" in self.query:
            rows = rows.filter(state=self.query["state"])
        page = self.page_of(rows.select_related("conversation", "media_stream"), self.order)
        return Response(page.answer(queue_objects([(self.user, row) for row in queue_rows(page.rows)])))


class _QueueAction(UserView, ABC):
    """Something an agent does with a conversation of a media stream, answered with the conversation."""

    serializer_class = StrictSerializer
    answers = {"POST": {200: shapes.ConversationShape}}
    bodies = {"POST": None}

    @abstractmethod
    def act(self, conversation: Conversation) -> Conversation:
        """Done by the service."""

    def post(self, request: Request, pk: str) -> Response:
        conversation = get_visible(shown_conversations(self.user), self.user, pk)
        self.read_body(StrictSerializer)
        return Response(conversation_objects([(self.user, self.act(conversation))])[0])


class Reserve(_QueueAction):
    """Takes the conversation for the caller alone. 409 `already_reserved` {by} when another agent was first."""

    def act(self, conversation: Conversation) -> Conversation:
        return queueing.reserve_conversation(user=self.user, conversation=conversation)


class Release(_QueueAction):
    """Gives the conversation back to the queue. 409 `not_reserved`."""

    def act(self, conversation: Conversation) -> Conversation:
        return queueing.release_conversation(user=self.user, conversation=conversation)


class Close(_QueueAction):
    """Ends the reservation; the next text of the remote party starts anew. 409 `not_reserved`."""

    def act(self, conversation: Conversation) -> Conversation:
        return queueing.close_conversation(user=self.user, conversation=conversation)


class Decline(_QueueAction):
    """Turns an offer down, so that the next agent is asked at once. 409 `not_offered`."""

    def act(self, conversation: Conversation) -> Conversation:
        return queueing.decline_conversation(user=self.user, conversation=conversation)


urlpatterns = [
    path("queue/", Queue.as_view()),
    path("conversations/<str:pk>/reserve/", Reserve.as_view()),
    path("conversations/<str:pk>/release/", Release.as_view()),
    path("conversations/<str:pk>/close/", Close.as_view()),
    path("conversations/<str:pk>/decline/", Decline.as_view()),
]
