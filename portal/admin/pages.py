"""The page of a row, its place in the site (URLs, breadcrumbs, tabs) and its audit trail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from portal.admin.changelist import ListAdmin, capitalised
from portal.admin.scoped import actor
from portal.extensions import Section, page_sections
from portal.models import AuditEntry

READ_ONLY = "Your account may look but not change anything."
Crumbs = list[tuple[str, str | None]]
Route = tuple[str, Callable[..., HttpResponseBase], str]


@dataclass(frozen=True)
class Button:
    """A button in a page's head: a link (`GET`), or a form that posts. `style`: default, primary or danger."""

    label: str
    url: str
    method: str = "GET"
    style: str = "default"
    icon: str = ""


@dataclass(frozen=True)
class Detail:
    """A line of a row's page. `kind`: text, time, yes_no or long (a text with line breaks)."""

    label: str
    value: Any
    url: str = ""
    kind: str = "text"


class PageAdmin(ListAdmin):
    """`slug` starts the URLs; `details` are what a row's page shows, and without them the form is the page;
    `labels` are what some of them are called there."""

    slug: ClassVar[str]
    details: ClassVar[Sequence[str]] = ()
    labels: ClassVar[Mapping[str, str]] = {}

    # --- URLs ----------------------------------------------------------------------------------------------------
    def get_urls(self) -> list[URLPattern]:
        """Instead of Django's: an unknown id is 404, and every view that writes is ours."""
        return [
            path(route, self.admin_site.admin_view(view), name=self.url_name(name))
            for route, view, name in self.routes()
        ]

    def routes(self) -> list[Route]:
        """(route, view, name) of every page; the first that fits is taken."""
        return [
            ("", self.changelist_view, "changelist"),
            ("<str:object_id>/", self.detail_view, "detail"),
            ("<str:object_id>/history/", self.history_view, "history"),
        ]

    def url_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"

    def url(self, name: str, *args: object) -> str:
        return reverse(f"{self.admin_site.name}:{self.url_name(name)}", args=args)

    def url_of(self, row: models.Model) -> str:
        return self.url("detail" if self.details else "change", row.pk)

    # --- A page --------------------------------------------------------------------------------------------------
    def page(self, request: HttpRequest, template: str, row: Any, context: dict[str, Any]) -> TemplateResponse:
        """A page of the site about `row` (None: a new one)."""
        full = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "row": row,
            "heading": str(row) if row is not None else f"Add {self.opts.verbose_name}",
            "kind": capitalised(self.opts.verbose_name) if row is not None else "",
            "crumbs": self.crumbs(row),
            "tabs": self.get_tabs(request, row) if row is not None else [],
            **context,
        }
        full.setdefault("title", full["heading"])
        request.current_app = self.admin_site.name
        return TemplateResponse(request, template, full)

    def crumbs(self, row: Any, here: str = "") -> Crumbs:
        """Where the page is: the list, the row, and what is done with it."""
        crumbs: Crumbs = [(self.list_title, self.url("changelist"))]
        if row is not None:
            crumbs.append((str(row), self.url_of(row) if here else None))
        if here:
            crumbs.append((here, None))
        return crumbs

    def get_tabs(self, request: HttpRequest, row: Any, active: str = "") -> list[dict[str, Any]]:
        """The tabs of a row's pages: title, url, active."""
        return []

    # --- A row's page --------------------------------------------------------------------------------------------
    def detail_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_scoped(request, object_id)
        if not self.details:
            return HttpResponseRedirect(self.url_of(row))
        context = {
            "banners": self.get_banners(request, row),
            "details": self.get_details(request, row),
            "sections": self.get_sections(request, row),
            "buttons": self.get_buttons(request, row),
        }
        return self.page(request, "portal/detail.html", row, context)

    def get_banners(self, request: HttpRequest, row: Any) -> list[str]:
        """What somebody who opens the row's page should know first, in sentences."""
        return []

    def get_details(self, request: HttpRequest, row: Any) -> list[Detail]:
        return [self.describe(request, row, name) for name in self.details]

    def describe(self, request: HttpRequest, row: Any, name: str) -> Detail:
        """One field of the row: choices by their words, relations as links where the actor may follow."""
        field = self.opts.get_field(name)
        label = self.labels.get(name) or capitalised(field.verbose_name)
        value = getattr(row, name)
        if isinstance(field, models.BooleanField):
            return Detail(label, value, kind="yes_no")
        if isinstance(field, models.DateTimeField):
            return Detail(label, value, kind="time")
        if isinstance(field, models.TextField):
            return Detail(label, value, kind="long")
        if isinstance(value, models.Model):
            return Detail(label, value, self.link_to(request, value))
        return Detail(label, getattr(row, f"get_{name}_display", lambda: value)())

    def link_to(self, request: HttpRequest, row: models.Model) -> str:
        """The page of a related row, "" when the actor may not see it."""
        admin = self.admin_site._registry.get(type(row))
        if admin is None or admin.get_object(request, row.pk) is None:
            return ""
        return str(admin.url_of(row))

    def get_sections(self, request: HttpRequest, row: Any) -> list[Section]:
        found = (make(row, actor(request)) for make in page_sections)
        return [section for section in found if section is not None]

    def get_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        """The buttons in the head of the row's page."""
        return []

    # --- History -------------------------------------------------------------------------------------------------
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The audit trail of the row; Django's own log is not written."""
        row = self.get_scoped(request, object_id)
        context = {
            "heading": str(row),
            "title": f"Audit trail of {row}",
            "kind": capitalised(self.opts.verbose_name),
            "crumbs": self.crumbs(row, "Audit trail"),
            "tabs": self.get_tabs(request, row, "history"),
            "add_url": "",
            "empty_text": "Nothing has been changed here yet.",
        }
        trail = self.admin_site._registry[AuditEntry]
        response: HttpResponse = trail.list_view(request, narrow={"object_id": row.pk}, context=context)
        return response
