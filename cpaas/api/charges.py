"""Provisioning `charges/`: the monthly charges as JSON, or as CSV for who asks for it (S4.6)."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from cpaas.services import charges
from portal.api.base import StaffView
from portal.api.fields import Id, Text
from portal.api.paging import DEFAULT_LIMIT
from portal.api.strict import Cursor, Query
from portal.models import Licence


class ChargeShape(serializers.Serializer[Any]):
    number = serializers.CharField(help_text="E.164.")
    user = Id()
    login = serializers.CharField()
    name = serializers.CharField()
    licence = serializers.ChoiceField(choices=Licence.choices)
    from_ = serializers.DateField(help_text="The first day that is charged, in the system provider's time zone.")
    to = serializers.DateField(help_text="The last day that is charged.")
    days = serializers.IntegerField()
    running = serializers.BooleanField(help_text="Whether the user has the number still.")
    carrier = serializers.CharField()
    system_provider = Id()

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # `from` cannot be the name of a class attribute.
        return {name.removesuffix("_"): field for name, field in super().get_fields().items()}


class TotalsShape(serializers.Serializer[Any]):
    numbers = serializers.IntegerField(help_text="Each once, whoever had it.")
    days = serializers.IntegerField(help_text="Days of numbers, each once.")
    licences = serializers.DictField(child=serializers.IntegerField(), help_text="Numbers by licence.")
    carriers = serializers.DictField(child=serializers.IntegerField(), help_text="Numbers by carrier.")


class ChargesShape(serializers.Serializer[Any]):
    results = ChargeShape(many=True)
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    month = serializers.CharField()
    totals = TotalsShape(help_text="Of the whole month, whatever the page.")


class ChargesQuery(Query):
    never_empty = frozenset({"cursor", "limit", "month"})
    month = Text(required=False, max_length=7, help_text="Such as 2026-11; left out: the present one.")
    system_provider = Id(required=False, help_text="For operators: of this one only.")
    cursor = Cursor(required=False, max_length=1000, help_text="From `next` or `previous` of a page.")
    limit = serializers.IntegerField(required=False, min_value=1, default=DEFAULT_LIMIT)


class Charges(StaffView):
    """Who had which number for how many days of a month, by number. With `Accept: text/csv` all of it as CSV.

    A report and no plain list: its totals read the whole month.
    """

    query_classes = {"GET": ChargesQuery}
    answers = {"GET": {200: ChargesShape}}

    def get(self, request: Request, **kwargs: Any) -> HttpResponseBase:
        provider_id = self.query.get("system_provider")
        if "month" in self.query:
            month = charges.month_of(self.query["month"])
        else:
            month = charges.this_month(self.actor, provider_id)
        bill = charges.bill(self.actor, month, provider_id)
        if "text/csv" in request.headers.get("Accept", ""):
            return csv_answer(bill, month)
        page = self.page_of(charges.assignments_in(self.actor, month, provider_id), ("tn", "id"))
        shown = [as_json(charge) for charge in charges.charges_of(page.rows, month)]
        totals = charges.total(bill)
        return Response({**page.answer(shown), "month": str(month), "totals": vars(totals)})


def as_json(charge: charges.Charge) -> dict[str, Any]:
    return {
        "number": charge.number,
        "user": str(charge.user_id),
        "login": charge.login,
        "name": charge.name,
        "licence": charge.licence,
        "from": charge.first.isoformat(),
        "to": charge.last.isoformat(),
        "days": charge.days,
        "running": charge.is_running,
        "carrier": charge.carrier,
        "system_provider": str(charge.system_provider_id),
    }


def csv_answer(bill: Any, month: charges.Month) -> StreamingHttpResponse:
    """The bill as a file to be saved."""
    answer = StreamingHttpResponse(charges.bill_as_csv(bill), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="charges-{month}.csv"'
    return answer
