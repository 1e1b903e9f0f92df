"""End-user routes of blocking (contracts section 4, S4.15)."""

from __future__ import annotations

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from cpaas.api import shapes
from cpaas.api.objects import blocked_objects
from cpaas.models import BlockedParty
from cpaas.services import blocking, sending
from portal.api.base import UserView
from portal.api.fields import Id, Text
from portal.api.idempotency import idempotent
from portal.api.strict import ListQuery, StrictSerializer
from portal.scoping import get_visible


class BlockSerializer(StrictSerializer):
    number = Text(max_length=100, help_text="Id or telephone number of an own number.")
    remote = Text(max_length=100, help_text="As it is dialled, or the short code or name a text came from.")


class BlockedQuery(ListQuery):
    number = Id(required=False, help_text="Id of an own number, or of one of the caller's media streams.")


class Blocked(UserView):
    """The parties whose texts are not delivered; blocking one again answers with the same row. Without `number` the
    own numbers' are listed; agents block for their whole media stream (S4.16).

    409 `blocking_not_allowed` when the number may not block. Those of a number that no longer may are still listed,
    but their texts are delivered.
    """

    serializer_class = shapes.BlockedShape  # type: ignore[assignment]
    bodies = {"POST": BlockSerializer}
    query_classes = {"GET": BlockedQuery}
    order = ("-id",)

    def get(self, request: Request) -> Response:
        rows = BlockedParty.objects.visible_to(self.user)
        of = {"number_id": self.query["number"]} if "number" in self.query else {"user": self.user}
        page = self.page_of(rows.filter(**of), self.order)
        return Response(page.answer(blocked_objects(self.user, page.rows)))

    @idempotent()
    def post(self, request: Request) -> Response:
        body = self.read_body(BlockSerializer)
        number = sending.choose_number(user=self.user, value=body["number"])
        blocked = blocking.block_party(user=self.user, number=number, remote=body["remote"])
        return Response(blocked_objects(self.user, [blocked])[0], status=201)


class BlockedItem(UserView):
    answers = {"GET": {200: shapes.BlockedShape}}

    def get(self, request: Request, pk: str) -> Response:
        """One blocked party."""
        blocked = get_visible(BlockedParty.objects.all(), self.user, pk)
        return Response(blocked_objects(self.user, [blocked])[0])

    def delete(self, request: Request, pk: str) -> Response:
        """Texts of the party are delivered again from now on; what came in meanwhile stays blocked (R19)."""
        blocking.unblock_party(user=self.user, blocked=get_visible(BlockedParty.objects.all(), self.user, pk))
        return Response(status=204)


urlpatterns = [
    path("blocked/", Blocked.as_view()),
    path("blocked/<str:pk>/", BlockedItem.as_view()),
]
