"""Opt-in evidence, to read; it outlives the number it speaks of (S1.7, S4.38)."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.safestring import SafeString

from cpaas.admin.searching import searched_number
from cpaas.admin.shown import evidence_badge
from cpaas.models import OptInEvidence
from portal.admin.base import TenantScopedAdmin
from portal.admin.navigation import Entry
from portal.admin.site import site
from portal.phone_numbers import national_digits


@admin.register(OptInEvidence, site=site)
class EvidenceAdmin(TenantScopedAdmin):
    slug = "opt-in-evidence"
    nav = Entry("Messaging", "Opt-in evidence", "fact_check", 40)
    list_display = ("created_at", "shown_number", "answered", "user_name", "user_login")
    list_filter = ("answer",)
    search_fields = ("tn__exact",)
    search_help_text = "Whole number, deleted ones too"
    empty_text = (
        "No user has been asked yet. Users are asked when their client starts after a number has been enabled; each "
        "answer is kept here with its time and the text that was shown."
    )
    details = (
        "created_at",
        "tn",
        "answer",
        "user_name",
        "user_login",
        "actor_name",
        "client",
        "ip",
        "prompt_text",
    )
    labels = {"created_at": "Time", "tn": "CPaaS number", "actor_name": "Answered by", "ip": "From"}

    @admin.display(description="CPaaS number")
    def shown_number(self, row: OptInEvidence) -> str:
        return national_digits(row.tn)

    @admin.display(description="Answer")
    def answered(self, row: OptInEvidence) -> SafeString:
        return evidence_badge(row)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        number = searched_number(request, term)
        return (queryset.filter(tn=number) if number else queryset.none()), False
