"""Bulk imports on the staff site: upload, live progress, report, and after a check the import in earnest."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.html import format_html
from django.utils.safestring import SafeString

from cpaas.models import CpaasNumber, NumberImport
from cpaas.models.imports import ImportStatus
from cpaas.services import importing
from cpaas.services.import_files import COLUMNS, MOST_BYTES, MOST_LINES
from portal.admin.base import TenantScopedAdmin
from portal.admin.forms import StaffForm, show_problem
from portal.admin.navigation import Entry
from portal.admin.pages import Button, Route
from portal.admin.scoped import actor, visible
from portal.admin.site import site
from portal.admin.writing import forbid
from portal.extensions import Section
from portal.problems import Problem

_MOST_SHOWN = 200
_KINDS = {ImportStatus.TAKEN: "p-good", ImportStatus.GOOD: "p-good", ImportStatus.REFUSED: "p-bad"}
_NOTICE = (
    "The file is a table saved as CSV, with one line for each number. Its first line names the columns: "
    f"{', '.join(COLUMNS)}. Only number and login are needed. At most {MOST_LINES} lines."
)


class ImportForm(StaffForm):
    """A file, and how it is to be taken."""

    file = forms.FileField(
        label="File",
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv,text/plain"}),
        help_text="The login is the user's BroadWorks user id; mms and can_block are on, off or empty; the platform is "
        "named only where there are several.",
    )
    dry_run = forms.BooleanField(
        label="Only check",
        required=False,
        initial=True,
        help_text="Every line is checked, at the carrier too, and nothing is added. Good lines can be imported after.",
    )
    atomic = forms.BooleanField(
        label="All or none",
        required=False,
        help_text="Numbers are added only if every line is good. Otherwise the good lines are added.",
    )


@admin.register(NumberImport, site=site)
class ImportAdmin(TenantScopedAdmin):
    slug = "imports"
    nav = Entry("Messaging", "Imports", "upload_file", 25)
    add_levels = TenantScopedAdmin.levels
    list_display = ("__str__", "created_at", "account_name", "state_shown", "total", "taken", "refused")
    empty_text = "Nothing has been imported yet. With a CSV file many numbers are added at once, after a check."
    details = ("created_at", "account_name", "dry_run", "atomic", "finished_at")
    labels = {"created_at": "Asked for at"}

    @admin.display(description="State")
    def state_shown(self, row: NumberImport) -> SafeString:
        kind = "p-good" if row.state == "done" else "p-wait"
        words = "Checked" if row.dry_run and row.state == "done" else row.get_state_display()
        return format_html('<span class="p-badge {}">{}</span>', kind, words)

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            ("<str:object_id>/progress/", self.progress_view, "progress"),
            ("<str:object_id>/report/", self.report_view, "report"),
            ("<str:object_id>/take/", self.take_view, "take"),
        ]

    def list_view(
        self, request: HttpRequest, *, narrow: dict[str, Any] | None = None, context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().list_view(request, narrow=narrow, context={"add_label": "Import numbers", **(context or {})})

    # --- Beginning -----------------------------------------------------------------------------------------------
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise forbid(request)
        sent = request.method == "POST"
        form = ImportForm(request.POST if sent else None, request.FILES if sent else None)
        if form.is_bound and form.is_valid():
            file = form.cleaned_data.pop("file")
            try:
                job = importing.begin_import(
                    actor=actor(request), content=file.read(MOST_BYTES + 1), file_name=file.name, **form.cleaned_data
                )
            except Problem as problem:
                show_problem(form, problem)
            else:
                return HttpResponseRedirect(self.url_of(job))
        return self.form_page(
            request,
            None,
            form,
            may_save=True,
            heading="Import numbers",
            crumbs=self.crumbs(None, "Import numbers"),
            notice=_NOTICE,
            save_label="Upload",
            busy_text="Reading the file …",
        )

    def take_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Imports what a check found good."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        row = self.get_scoped(request, object_id)
        if not actor(request).may_write:
            raise forbid(request)
        try:
            job = importing.import_checked(actor=actor(request), job=row)
        except Problem as problem:
            messages.error(request, problem.detail)
            return HttpResponseRedirect(self.url_of(row))
        return HttpResponseRedirect(self.url_of(job))

    # --- Looking -------------------------------------------------------------------------------------------------
    def get_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        buttons = [Button("Download report", self.url("report", row.pk), icon="download")]
        if row.dry_run and row.state == "done" and row.good and actor(request).may_write:
            what = "this number" if row.good == 1 else f"these {row.good} numbers"
            take = Button(f"Import {what}", self.url("take", row.pk), "POST", "primary", "upload_file")
            buttons.insert(0, take)
        return buttons

    def get_sections(self, request: HttpRequest, row: Any) -> list[Section]:
        return [
            *super().get_sections(request, row),
            Section("cpaas/import_progress.html", self._progress(request, row)),
        ]

    def progress_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """How far the import is, asked for by its page every two seconds; the whole page when it is done."""
        row = self.get_scoped(request, object_id)
        if row.state == "done":
            return HttpResponse(headers={"HX-Refresh": "true"})
        return render(request, "cpaas/import_progress.html", {"s": self._progress(request, row)})

    def report_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        row = self.get_scoped(request, object_id)
        lines = row.lines.order_by("line").iterator(chunk_size=500)
        answer = StreamingHttpResponse(importing.report_as_csv(lines), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="import-{row.created_at:%Y-%m-%d-%H%M}.csv"'
        return answer

    def _progress(self, request: HttpRequest, row: NumberImport) -> dict[str, Any]:
        refused = list(row.lines.filter(status=ImportStatus.REFUSED).order_by("line")[: _MOST_SHOWN + 1])
        others = list(row.lines.exclude(status=ImportStatus.REFUSED).order_by("line")[: _MOST_SHOWN + 1])
        keys = [line.number_id for line in others if line.number_id]
        there = set(visible(CpaasNumber, actor(request)).filter(pk__in=keys).values_list("pk", flat=True))
        return {
            "job": row,
            "is_running": row.state == "running",
            "refused": refused[:_MOST_SHOWN],
            "others": [
                {
                    "line": line,
                    "kind": _KINDS.get(ImportStatus(line.status), "p-wait"),
                    "linked": line.number_id in there,
                }
                for line in others[:_MOST_SHOWN]
            ],
            "is_cut": len(refused) > _MOST_SHOWN or len(others) > _MOST_SHOWN,
        }
