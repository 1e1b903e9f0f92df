"""Lists that cost the same at ten rows and at five million: pages by key, no COUNT, no OFFSET (rule 7)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib.admin.filters import RelatedFieldListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import BadRequest, ImproperlyConfigured
from django.core.paginator import Page
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from unfold.views import ChangeList

from portal.admin.scoped import ScopedAdmin, actor, visible
from portal.indexes import first_beginning_with
from portal.scoping import parse_id

OLDER, NEWER = "older", "newer"
PREFIX, EXACT = "__istartswith", "__exact"
MOST_MATCHES = 200
_MOST_CHOICES = 100


class FirstPage:
    """What Django wants of a paginator, for autocomplete: the best matches only; type more to narrow them."""

    num_pages = 1

    def __init__(self, object_list: Any, per_page: int, *args: Any, **kwargs: Any) -> None:
        self.object_list, self.per_page = object_list, per_page

    def page(self, number: int) -> Page[Any]:
        rows = list(self.object_list[: self.per_page]) if number == 1 else []
        return Page(rows, 1, self)  # type: ignore[arg-type]


class ScopedRelatedFilter(RelatedFieldListFilter):
    """A relation in the filter bar, with the names of rows the actor may see."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        rows = visible(field.remote_field.model, actor(request)).order_by("-pk")[:_MOST_CHOICES]
        return [(row.pk, str(row)) for row in rows]


class KeysetChangeList(ChangeList):
    """A page of rows after or before a row, newest first."""

    older_url = newer_url = ""
    is_cut = False
    """Whether a search found more than it lists."""

    def get_queryset(self, request: HttpRequest, *args: Any, **kwargs: Any) -> models.QuerySet[Any]:
        found: models.QuerySet[Any] = super().get_queryset(request, *args, **kwargs)
        self.is_cut = getattr(request, "portal_search_is_cut", False)
        return found

    @property
    def cut_text(self) -> str:
        return f"More than {MOST_MATCHES} match, and only the first of them are listed. Type more to narrow the search."

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in (OLDER, NEWER)}

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        """Without the place in the list, which another filter or search begins anew."""
        return str(super().get_query_string(new_params, [*(remove or []), OLDER, NEWER]))

    @property
    def kept_params(self) -> list[tuple[str, list[str]]]:
        """The filters, which a search keeps."""
        return [(name, values) for name, values in self.filter_params.items() if name not in (SEARCH_VAR, OLDER, NEWER)]

    def get_filters(self, request: HttpRequest) -> Any:
        try:
            return super().get_filters(request)
        except IncorrectLookupParameters as error:
            raise BadRequest("This address asks for a filter that does not exist.") from error

    def get_ordering(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> list[str]:
        return ["-pk"]

    def get_ordering_field_columns(self) -> dict[int, str]:
        return {}

    def get_results(self, request: HttpRequest) -> None:
        """One row more than fits tells whether there is a next page."""
        size = self.list_per_page
        newer_than, older_than = (parse_id(request.GET.get(name)) for name in (NEWER, OLDER))
        if newer_than:
            rows = list(self.queryset.filter(pk__gt=newer_than).order_by("pk")[: size + 1])
            is_more, rows = len(rows) > size, rows[size - 1 :: -1] if len(rows) > size else rows[::-1]
            has_newer, has_older = is_more, True
        else:
            queryset = self.queryset.filter(pk__lt=older_than) if older_than else self.queryset
            rows = list(queryset.order_by("-pk")[: size + 1])
            has_newer, has_older = older_than is not None, len(rows) > size
            rows = rows[:size]
        if rows and has_newer:
            self.newer_url = self.get_query_string({NEWER: str(rows[0].pk)})
        if rows and has_older:
            self.older_url = self.get_query_string({OLDER: str(rows[-1].pk)})
        self.result_list = rows
        # Django's and unfold's templates read these; the count is of this page only and shown nowhere.
        self.result_count = self.full_result_count = len(rows)
        self.show_full_result_count = self.show_admin_actions = self.can_show_all = self.multi_page = False
        self.paginator = FirstPage(rows, size)

    def url_for_result(self, result: models.Model) -> str:
        return str(self.model_admin.url_of(result))


class ListAdmin(ScopedAdmin):
    """The list of a model: keyset pages, scoped filters, search by prefix.

    `search_fields` hold lookups an index can answer: `name__istartswith`, with `level_indexes` on `Folded("name")`, and
    `tn__exact`. `search_help_text` says what to type.
    """

    change_list_template = "portal/list.html"
    empty_text: ClassVar[str] = ""
    search_label: ClassVar[str] = ""

    def __init__(self, model: type[models.Model], admin_site: Any) -> None:
        super().__init__(model, admin_site)
        slow = [name for name in self.search_fields if not name.endswith((PREFIX, EXACT))]
        if slow:
            raise ImproperlyConfigured(f"{type(self).__name__} searches {', '.join(slow)} without an index.")

    @property
    def list_title(self) -> str:
        """What the list is called, in the sidebar too."""
        entry = getattr(self, "nav", None)
        return entry.title if entry else capitalised(self.opts.verbose_name_plural)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return KeysetChangeList

    def get_paginator(self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kwargs: Any) -> Any:
        return FirstPage(queryset, per_page)

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [self._scoped_filter(entry) for entry in self.list_filter]

    def _scoped_filter(self, entry: Any) -> Any:
        """Every relation gets the scoped filter, whatever the subclass asked for."""
        name = entry if isinstance(entry, str) else entry[0] if isinstance(entry, Sequence) else None
        if name is not None and self.model._meta.get_field(name.split("__")[0]).is_relation:
            return (name, ScopedRelatedFilter)
        return entry

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """The whole term against each declared lookup; Django would take it word by word.

        Of what begins so only the first `MOST_MATCHES` are taken, so that one letter costs no more than a whole name;
        the list then says so.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        found: set[Any] = set()
        for lookup in self.search_fields:
            if lookup.endswith(EXACT):
                matching = list(queryset.filter(**{lookup: term}).values_list("pk", flat=True)[: MOST_MATCHES + 1])
            else:
                matching = first_beginning_with(queryset, lookup.removesuffix(PREFIX), term, MOST_MATCHES + 1)
            if len(matching) > MOST_MATCHES:
                request.portal_search_is_cut = True  # type: ignore[attr-defined]
            found.update(matching[:MOST_MATCHES])
        return queryset.filter(pk__in=found), False

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        queryset = super().get_queryset(request)
        narrow = getattr(request, "portal_narrow", None)
        if narrow is not None and narrow[0] is self.model:
            queryset = queryset.filter(**narrow[1])
        return queryset

    def list_view(
        self, request: HttpRequest, *, narrow: dict[str, Any] | None = None, context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, narrowed to the rows below a level when it is shown in a tab."""
        if narrow is not None:
            request.portal_narrow = (self.model, narrow)  # type: ignore[attr-defined]
        title = self.list_title
        own = {
            "heading": title,
            "title": title,
            "subtitle": None,
            "crumbs": [(title, None)],
            "empty_text": self.empty_text,
            "add_url": self.add_url(request),
            "add_label": f"Add {self.opts.verbose_name}",
        }
        return self.changelist_view(request, {**own, **(context or {})})

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET"])
        if extra_context is None:
            return self.list_view(request)
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    @abstractmethod
    def add_url(self, request: HttpRequest, parent: models.Model | None = None) -> str:
        """Where to add a row, below `parent` in its tab; "" for those who may not."""

    @abstractmethod
    def url_of(self, row: models.Model) -> str:
        """The page of a row."""


def capitalised(words: object) -> str:
    text = str(words)
    return text[:1].upper() + text[1:]


def capped(rows: models.QuerySet[Any], most: int = 1000) -> str:
    """How many rows there are, "1000+" from there on: the count stops there, however large the table is."""
    found = rows.order_by()[: most + 1].count()
    return f"{most}+" if found > most else str(found)
