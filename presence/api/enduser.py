"""End-user routes of presence (contracts section 5)."""

from __future__ import annotations

from typing import Any

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from portal.api.base import UserView
from portal.api.fields import Choice, Text
from portal.api.strict import ListQuery, StrictSerializer
from portal.models import EndUser
from portal.services.organisation import colleagues_of, get_colleague
from presence.api.shapes import NoteShape, PresenceShape
from presence.objects import note_object, presence_object
from presence.services.notes import LONGEST_NOTE, write_note
from presence.services.own import LONGEST_MESSAGE, set_own_status
from presence.services.reading import presences
from presence.states import ALIASES, OWN_STATUSES


class OwnStatusSerializer(StrictSerializer):
    status = Choice(choices=[*OWN_STATUSES, *ALIASES], allow_null=True, help_text="null clears it, and the message.")
    message = Text(required=False, allow_null=True, allow_blank=True, max_length=LONGEST_MESSAGE)


class UserNoteSerializer(StrictSerializer):
    text = Text(allow_blank=True, max_length=LONGEST_NOTE, help_text='"" deletes the note.')


def _shown_to(viewer: EndUser, user: EndUser) -> dict[str, Any]:
    pair = (viewer.pk, user.pk)
    return presence_object(presences([pair])[pair])


class Monitored(UserView):
    """The presence of the users the caller monitors."""

    serializer_class = PresenceShape  # type: ignore[assignment]
    query_classes = {"GET": ListQuery}
    order = ("-id",)

    def get(self, request: Request) -> Response:
        page = self.page_of(colleagues_of(self.user).filter(monitored_by=self.user), self.order)
        shown = presences([(self.user.pk, row.pk) for row in page.rows])
        return Response(page.answer([presence_object(found) for found in shown.values()]))


class Me(UserView):
    """The caller's own presence, as colleagues see it."""

    serializer_class = OwnStatusSerializer
    answers = {"GET": {200: PresenceShape}, "PUT": {200: PresenceShape}}

    def get(self, request: Request) -> Response:
        return Response(_shown_to(self.user, self.user))

    def put(self, request: Request) -> Response:
        """What the caller says of itself; it stands until it is changed or cleared with null."""
        body = self.read_body()
        set_own_status(user=self.user, status=body["status"], message=body.get("message") or "")
        return Response(_shown_to(self.user, self.user))


class One(UserView):
    """The presence of a user of the caller's organisation."""

    answers = {"GET": {200: PresenceShape}}

    def get(self, request: Request, pk: str) -> Response:
        return Response(_shown_to(self.user, get_colleague(self.user, pk)))


class UserNote(UserView):
    """The note on a user of the caller's organisation, seen by all of it at once (S3.6, S3.7)."""

    serializer_class = UserNoteSerializer
    answers = {"PUT": {200: NoteShape}}

    def put(self, request: Request, pk: str) -> Response:
        user = get_colleague(self.user, pk)
        return Response(note_object(write_note(actor=self.user, user=user, text=self.read_body()["text"])))


urlpatterns = [
    path("presence/", Monitored.as_view()),
    path("presence/me/", Me.as_view()),
    path("presence/<str:pk>/", One.as_view()),
    path("users/<str:pk>/note/", UserNote.as_view()),
]
