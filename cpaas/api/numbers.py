"""Provisioning `numbers/` with its actions, and `opt-in-history/`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import Model
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cpaas.api.platforms import platform_choices
from cpaas.models import CpaasNumber, CpaasPlatform, MediaStream, OptInEvidence
from cpaas.services import drift, numbers, opt_in, transferring
from cpaas.states import HookState, NumberStatus, OptInState
from portal.api.base import ActionView, ItemView, ListView, OutsideCollectionView, RowsView, RowView
from portal.api.fields import ID_SCHEMA, Boolean, Choice, Id, Text, Time, Visible
from portal.api.strict import ListQuery, StrictModelSerializer, StrictSerializer
from portal.clock import iso
from portal.models import EndUser
from portal.problems import not_found
from portal.scoping import TenantQuerySet, get_visible, parse_id


@extend_schema_field({**ID_SCHEMA, "nullable": True})
class PlatformChoice(Visible):
    """The id of a platform of the own tenant; the staff of lower levels may choose it though they see no platforms."""

    def to_internal_value(self, data: Any) -> Model:
        key = Id().to_internal_value(data)
        row = platform_choices(self.context["request"].user).filter(pk=key).first()
        if row is None:
            raise not_found("CPaaS platform")
        return row


class NumberOptInSerializer(StrictSerializer):
    state = Choice(choices=OptInState.choices)
    at = Time(allow_null=True)
    by = Text(allow_null=True, help_text="Login of who answered.")
    text = Text(allow_null=True, help_text="The words that were shown.")


class NumberSerializer(StrictModelSerializer):
    number = Text(max_length=64, help_text="Ten digits of North America, or E.164. Shown as E.164.")
    platform = PlatformChoice(
        CpaasPlatform.objects.all(), required=False, allow_null=True, help_text="May be left out when there is one."
    )
    user = Visible(EndUser.objects.all(), required=False, allow_null=True, help_text="Either this …")
    media_stream = Visible(MediaStream.objects.all(), required=False, allow_null=True, help_text="… or this.")
    national = serializers.CharField(read_only=True)
    display = serializers.CharField(read_only=True)
    messaging_type = serializers.ChoiceField(choices=["SMS", "MMS & SMS"], read_only=True)
    hook_state = serializers.SerializerMethodField()
    warnings = serializers.ListField(child=serializers.CharField(), read_only=True)
    opt_in = serializers.SerializerMethodField()
    message_count = serializers.SerializerMethodField()

    class Meta:
        model = CpaasNumber
        fields = [
            "id",
            "number",
            "platform",
            "friendly_name",
            "user",
            "media_stream",
            "mms",
            "can_block",
            "note",
            "display",
            "national",
            "messaging_type",
            "status",
            "status_detail",
            "hook_state",
            "messaging_class",
            "campaign",
            "warnings",
            "checked_at",
            "opt_in",
            "message_count",
            "created_at",
        ]
        read_only_fields = [
            "id",
            "status",
            "status_detail",
            "messaging_class",
            "campaign",
            "checked_at",
            "created_at",
        ]

    @extend_schema_field(NumberOptInSerializer)
    def get_opt_in(self, number: CpaasNumber) -> dict[str, Any]:
        answer: OptInEvidence | None = self.context["answers"].get((number.pk, number.opt_in_cycle))
        return {
            "state": number.opt_in_state,
            "at": iso(number.opt_in_at),
            "by": answer.actor_name if answer else None,
            "text": answer.prompt_text if answer else None,
        }

    @extend_schema_field(Choice(choices=HookState.choices, allow_null=True, help_text="null: not compared yet."))
    def get_hook_state(self, number: CpaasNumber) -> str | None:
        return number.hook_state or None

    def get_message_count(self, number: CpaasNumber) -> int:
        count: int = self.context["counts"][number.pk]
        return count


class NumberQuery(ListQuery):
    number = Text(required=False, max_length=40, help_text="Its id, or the telephone number in E.164.")
    user = Id(required=False)
    media_stream = Id(required=False)
    platform = Id(required=False)
    status = serializers.ChoiceField(choices=NumberStatus.choices, required=False)


class _Numbers(RowsView):
    serializer_class = NumberSerializer

    def rows(self) -> TenantQuerySet[CpaasNumber]:
        return CpaasNumber.objects.select_related("platform")

    def show(self, rows: Sequence[Any]) -> list[Any]:
        context = {
            "request": self.request,
            "counts": numbers.message_counts(rows),
            "answers": _last_answers([row.pk for row in rows]),
        }
        return list(NumberSerializer(rows, many=True, context=context).data)


class Numbers(_Numbers, OutsideCollectionView):
    query_classes = {"GET": NumberQuery}
    problems = {"POST": (502,)}

    def filtered(self, rows: TenantQuerySet[Any]) -> TenantQuerySet[Any]:
        plain = {name: value for name, value in self.query.items() if name not in ("cursor", "limit", "number")}
        if "number" in self.query:
            key = parse_id(self.query["number"])
            plain |= {"pk": key} if key else {"number": e164_of_query(self.query["number"])}
        return rows.filter(**plain)

    def create(self, fields: dict[str, Any]) -> Model:
        return numbers.assign_number(actor=self.actor, **fields)


class NumberItem(_Numbers, ItemView):
    answers = {"DELETE": {202: NumberSerializer}}

    def update(self, row: Any, changes: dict[str, Any]) -> Model:
        return numbers.update_number(actor=self.actor, number=row, changes=changes)

    def remove(self, row: Any) -> None:
        numbers.delete_number(actor=self.actor, number=row)

    def delete(self, request: Request, **kwargs: Any) -> Response:
        """Its messages are gone with this answer; the number itself when the carrier's hook is."""
        row = self.writable_row()
        self.remove(row)
        return Response(self.show_one(row), status=202)


class NumberAction(_Numbers, ActionView):
    """Something done to one number."""


class ResetOptIn(NumberAction):
    """The user is asked again at the next start; until then the number is unusable (S4.36)."""

    def act(self, row: Any) -> None:
        opt_in.reset_opt_in(actor=self.actor, number=row)


class DeleteMessages(NumberAction):
    """Deletes the saved messages (S4.39)."""

    def act(self, row: Any) -> None:
        numbers.delete_messages(actor=self.actor, number=row)


class Retry(NumberAction):
    """Sets the hook at the carrier again after it failed."""

    def act(self, row: Any) -> None:
        numbers.retry_number(actor=self.actor, number=row)


class TransferSerializer(StrictSerializer):
    user = Visible(EndUser.objects.all(), required=False, allow_null=True, help_text="Either this …")
    media_stream = Visible(MediaStream.objects.all(), required=False, allow_null=True, help_text="… or this.")
    delete_messages = Boolean(required=False, default=False, help_text="That its saved messages may be deleted.")


class Transfer(_Numbers, RowView):
    """Gives the number to another user or media stream, without its messages and with a new consent (R23).

    While messages exist and `delete_messages` is not true: 409 `messages_exist` with `message_count`.
    """

    http_method_names = ["post"]
    bodies = {"POST": TransferSerializer}
    answers = {"POST": {200: NumberSerializer}}

    def post(self, request: Request, **kwargs: Any) -> Response:
        row = self.writable_row()
        fields = self.read_body(TransferSerializer)
        return Response(self.show_one(transferring.transfer_number(actor=self.actor, number=row, **fields)))


class FindingSerializer(StrictSerializer):
    hook = Choice(choices=HookState.choices, help_text="Where its texts are led at the carrier.")
    owned = Boolean(help_text="Whether the number is on the carrier account.")
    messaging_class = Text(help_text='The carrier\'s word, such as P2P or A2PLC; "" when it has none.')
    campaign = Text(help_text='The 10DLC campaign; "" for none.')
    warnings = serializers.ListField(child=Text())


class Check(_Numbers, RowView):
    """Compares the number with the carrier: its hook, ownership, messaging class and campaign (R44).

    An own hook that is missing is set again; one that leads elsewhere is left as it is.
    """

    http_method_names = ["post"]
    bodies = {"POST": None}
    answers = {"POST": {200: FindingSerializer}}
    problems = {"POST": (502,)}

    def post(self, request: Request, **kwargs: Any) -> Response:
        row = self.writable_row()
        self.read_body(StrictSerializer)
        finding = drift.check_number(actor=self.actor, number=row)
        return Response(FindingSerializer(finding).data)


class EvidenceSerializer(StrictModelSerializer):
    at = Time(source="created_at")
    user = Id(source="user_id", allow_null=True)
    actor = Text(source="actor_name", help_text="Login or user name of who answered.")

    class Meta:
        model = OptInEvidence
        fields = [
            "id",
            "at",
            "tn",
            "user",
            "user_name",
            "user_login",
            "answer",
            "state",
            "actor",
            "prompt_text",
            "client",
            "ip",
        ]
        read_only_fields = fields

    state = Choice(choices=["accepted", "declined", "postponed"])


class NumberHistory(ListView):
    """The opt-in answers given for a number, newest first."""

    serializer_class = EvidenceSerializer

    def rows(self) -> TenantQuerySet[OptInEvidence]:
        number = get_visible(CpaasNumber.objects.all(), self.actor, self.kwargs["pk"])
        return OptInEvidence.objects.filter(number_id=number.pk)


class HistoryQuery(ListQuery):
    tn = Text(max_length=20, help_text="The telephone number, E.164.")


class History(ListView):
    """The opt-in answers ever given for a telephone number, also when it is deleted (S1.7)."""

    serializer_class = EvidenceSerializer
    query_classes = {"GET": HistoryQuery}

    def rows(self) -> TenantQuerySet[OptInEvidence]:
        return OptInEvidence.objects.filter(tn=e164_of_query(self.query["tn"]))

    def filtered(self, rows: TenantQuerySet[Any]) -> TenantQuerySet[Any]:
        return rows


def e164_of_query(value: str) -> str:
    """A telephone number in a query, where an unescaped + has become a space."""
    return "+" + value.strip().removeprefix("+")


def _last_answers(number_ids: Sequence[uuid.UUID]) -> dict[tuple[uuid.UUID, int], OptInEvidence]:
    """The newest answer of each number in each opt-in cycle."""
    rows = OptInEvidence.objects.filter(number_id__in=number_ids).order_by("id")
    return {(row.number_id, row.cycle): row for row in rows}
