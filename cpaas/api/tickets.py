"""Provisioning `tickets/` and `dead-letters/` (S1.59, S1.60)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Model
from django.db.models.functions import Length
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cpaas.models import CpaasNumber, Message, Ticket, TicketNote, WebhookEvent
from cpaas.models.webhook_events import DEAD
from cpaas.services import dead_letters, tickets
from portal.api.base import ActionView, CollectionView, ListView, RowsView, RowView
from portal.api.fields import Choice, Id, Text, Time, Visible
from portal.api.idempotency import idempotent
from portal.api.strict import ListQuery, StrictModelSerializer
from portal.problems import invalid
from portal.scoping import TenantQuerySet, require_writer

_TO = ["carrier", "portal"]
_STATES = ["open", "answered", "closed"]


class NoteSerializer(StrictModelSerializer):
    at = Time(source="created_at", read_only=True)

    class Meta:
        model = TicketNote
        fields = ["at", "by", "text"]
        read_only_fields = ["by"]


class TicketSerializer(StrictModelSerializer):
    """`number` and `message` stay when these are deleted."""

    create_only = frozenset({"number", "message", "subject", "text", "to"})
    number = Visible(CpaasNumber.objects.all(), source="number_id", required=False, help_text="Or `message` says it.")
    message = Visible(Message.objects.all(), source="message_id", required=False, allow_null=True)
    to = Choice(choices=_TO)
    state = Choice(choices=_STATES, required=False)
    notes = NoteSerializer(many=True, read_only=True)
    at = Time(source="created_at", read_only=True)
    story = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Ticket
        fields = [
            "id",
            "at",
            "number",
            "tn",
            "remote",
            "message",
            "subject",
            "text",
            "to",
            "state",
            "sid",
            "story",
            "raised_by",
            "notes",
        ]
        read_only_fields = ["id", "tn", "remote", "sid", "raised_by"]


class TicketQuery(ListQuery):
    number = Id(required=False, help_text="Id of a CPaaS number, also of a deleted one.")
    state = serializers.ChoiceField(choices=_STATES, required=False)
    to = serializers.ChoiceField(choices=_TO, required=False)


class _Tickets(RowsView):
    serializer_class = TicketSerializer

    def rows(self) -> TenantQuerySet[Ticket]:
        return Ticket.objects.prefetch_related("notes")


class Tickets(_Tickets, CollectionView):
    """Tickets, newest first. A new one gets the story of its message and is mailed to the alert accounts."""

    query_classes = {"GET": TicketQuery}

    def filtered(self, rows: TenantQuerySet[Any]) -> TenantQuerySet[Any]:
        names = {"number": "number_id"}
        given = {names.get(key, key): value for key, value in self.query.items() if key not in ("cursor", "limit")}
        return rows.filter(**given)

    def create(self, fields: dict[str, Any]) -> Model:
        message: Message | None = fields.get("message_id")
        number: CpaasNumber | None = fields.get("number_id") or (message.number if message else None)
        if number is None:
            raise invalid(number="Say which number the ticket is about.")
        if fields.get("state", "open") != "open":
            raise invalid(state="A new ticket is open.")
        return tickets.raise_ticket(
            actor=self.actor,
            number=number,
            message=message,
            **{name: fields[name] for name in ("to", "subject", "text")},
        )


class TicketItem(_Tickets, RowView):
    """A ticket; PATCH moves its state."""

    def patch(self, request: Request, **kwargs: Any) -> Response:
        row = self.writable_row()
        changes = self.read_body(partial=True)
        if "state" in changes:
            row = tickets.update_ticket(actor=self.actor, ticket=row, state=changes["state"])
        return Response(self.show_one(row))


class TicketNotes(_Tickets, RowView):
    """POST a note; answered with the ticket."""

    http_method_names = ["post"]
    bodies = {"POST": NoteSerializer}
    answers = {"POST": {201: TicketSerializer}}

    @idempotent()
    def post(self, request: Request, **kwargs: Any) -> Response:
        row = self.get_row()
        require_writer(self.actor)
        tickets.add_note(actor=self.actor, ticket=row, text=self.read_body(NoteSerializer)["text"])
        return Response(self.show_one(row), status=201)


class DeadLetterSerializer(StrictModelSerializer):
    at = Time(source="created_at")
    platform = Id(source="platform_id")
    sender = Text(help_text="Who texted, when the call could be read.")
    recipient = Text(help_text="The number that is none of ours.")
    size = serializers.SerializerMethodField(help_text="Bytes of the call that are kept.")

    class Meta:
        model = WebhookEvent
        fields = ["id", "at", "platform", "state", "sender", "recipient", "sid", "content_type", "size"]
        read_only_fields = fields

    def get_size(self, call: WebhookEvent) -> int:
        size: int = self.context["sizes"][call.pk]
        return size


class DeadLetterQuery(ListQuery):
    platform = Id(required=False)


class _DeadLetters(RowsView):
    serializer_class = DeadLetterSerializer

    def rows(self) -> TenantQuerySet[Any]:
        # A page of bodies may have 200 MB.
        return WebhookEvent.objects.filter(state__in=(*DEAD, "replayed")).defer("body", "text")

    def show(self, rows: Sequence[Any]) -> list[Any]:
        sizes = WebhookEvent.objects.filter(pk__in=[row.pk for row in rows]).values_list("pk", Length("body"))
        return list(DeadLetterSerializer(rows, many=True, context={"sizes": dict(sizes)}).data)


class DeadLetters(_DeadLetters, ListView):
    """Calls of carriers that nobody got: to a number that is none of ours, or unreadable. Kept 14 days."""

    query_classes = {"GET": DeadLetterQuery}


class Replay(_DeadLetters, ActionView):
    """Takes the call in now; safe to repeat."""

    def act(self, row: Any) -> None:
        dead_letters.replay(actor=self.actor, call=row)
