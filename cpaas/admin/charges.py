"""The page of the monthly charges, with a month to pick and all of it as CSV (S4.6)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, tee
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminSelectWidget

from cpaas.api.charges import csv_answer
from cpaas.services import charges
from cpaas.services.charges import Charge, Month
from portal.admin.forms import StaffForm
from portal.admin.navigation import Entry
from portal.admin.scoped import actor, visible
from portal.admin.site import site
from portal.models import EndUser, Licence, SystemProvider
from portal.problems import Problem
from portal.scoping import parse_id

_MOST_SHOWN = 200
_MOST_PROVIDERS = 100
_MONTHS_BACK = 24


class _Asked:
    """What the address asks for: a month, and of an operator's tenants one or all."""

    def __init__(self, request: HttpRequest) -> None:
        account = actor(request)
        self.providers = list(visible(SystemProvider, account).order_by("name")[:_MOST_PROVIDERS])
        key = parse_id(request.GET.get("system_provider", ""))
        self.provider = visible(SystemProvider, account).filter(pk=key).first() if key else None
        self.latest = charges.this_month(account, self.provider.pk if self.provider else None)
        try:
            self.month = charges.month_of(request.GET.get("month", ""))
        except Problem:
            self.month = self.latest
        self.bill = charges.bill(account, self.month, self.provider.pk if self.provider else None)

    def query(self, month: Month) -> str:
        asked = {"month": str(month)} | ({"system_provider": str(self.provider.pk)} if self.provider else {})
        return urlencode(asked)


class MonthForm(StaffForm):
    """Which month, and for operators of which tenant."""

    def __init__(self, asked: _Asked, *, with_providers: bool) -> None:
        super().__init__(initial={"month": str(asked.month), "system_provider": asked.provider and asked.provider.pk})
        months = [(str(each), f"{each.first:%B %Y}") for each in _months(asked.latest, asked.month)]
        self.fields["month"] = _choice("Month", months)
        if with_providers:
            providers = [(str(each.pk), str(each)) for each in asked.providers]
            self.fields["system_provider"] = _choice("System provider", [("", "All system providers"), *providers])


def _choice(label: str, choices: list[tuple[str, str]]) -> forms.ChoiceField:
    widget = UnfoldAdminSelectWidget(attrs={"aria-label": label})
    return forms.ChoiceField(label=label, choices=choices, required=False, widget=widget)


def charges_page(request: HttpRequest) -> HttpResponse:
    asked = _Asked(request)
    shown, summed = tee(asked.bill)
    first = list(islice(shown, _MOST_SHOWN + 1))
    del shown  # else tee would keep the whole month in memory
    totals = charges.total(summed)
    lines, page = first[:_MOST_SHOWN], reverse("admin:charges")
    account = actor(request)
    context = {
        **site.each_context(request),
        "title": f"Monthly charges of {asked.month.first:%B %Y}",
        "heading": "Monthly charges",
        "kind": str(asked.provider or account.scope or "All system providers"),
        "crumbs": [("Monthly charges", None)],
        "month": asked.month,
        "month_form": MonthForm(asked, with_providers=account.actor_level == "operator"),
        "lines": _linked(request, lines),
        "is_cut": len(first) > _MOST_SHOWN,
        "totals": totals,
        "licences": [(Licence(name).label, count) for name, count in sorted(totals.licences.items())],
        "csv_url": f"{reverse('admin:charges_csv')}?{asked.query(asked.month)}",
        "previous_url": f"{page}?{asked.query(asked.month.previous)}",
        "next_url": f"{page}?{asked.query(asked.month.next)}" if asked.month.first < asked.latest.first else "",
    }
    return TemplateResponse(request, "cpaas/charges.html", context)


def charges_csv(request: HttpRequest) -> HttpResponseBase:
    """The whole month as a file."""
    asked = _Asked(request)
    return csv_answer(asked.bill, asked.month)


def _months(latest: Month, chosen: Month) -> Iterator[Month]:
    """The months to pick from, newest first."""
    month, found = latest, False
    for _ in range(_MONTHS_BACK):
        found = found or month == chosen
        yield month
        month = month.previous
    if not found:
        yield chosen


def _linked(request: HttpRequest, lines: list[Charge]) -> list[dict[str, Any]]:
    """Each line with the page of its user, while there is one."""
    keys = {line.user_id for line in lines}
    there = set(visible(EndUser, actor(request)).filter(pk__in=keys).values_list("pk", flat=True))
    return [
        {
            "charge": line,
            "licence": Licence(line.licence).label,
            "url": reverse("admin:portal_enduser_detail", args=[line.user_id]) if line.user_id in there else "",
        }
        for line in lines
    ]


site.add_page("charges/", charges_page, "charges", Entry("Messaging", "Monthly charges", "receipt_long", 70))
site.add_page("charges/csv/", charges_csv, "charges_csv")
