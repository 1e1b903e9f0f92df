"""The closed half of every ModelAdmin: who sees which rows, who may write, and which of Django's doors stay shut.

Django's admin keeps tenants apart nowhere by itself. Overriding `get_queryset` alone leaves filter names, foreign key
choices and posted foreign keys open, so each of them is closed here for every model at once (architecture section 4).
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, cast

from django.contrib.admin import ShowFacets
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.forms import Field
from django.http import Http404, HttpRequest
from unfold.admin import ModelAdmin

from portal.models import PortalAccount
from portal.scoping import TenantQuerySet, parse_id

LEVELS = frozenset({"operator", "system_provider", "reseller", "group"})
NOBODY: frozenset[str] = frozenset()


class ClosedDoor(TypeError):
    """A way of Django's admin to write that goes around the services."""


def actor(request: HttpRequest) -> PortalAccount:
    """The account that is logged in. The site's views are reached by nobody else."""
    return cast(PortalAccount, request.user)


def visible(model: type[models.Model], account: PortalAccount) -> models.QuerySet[Any]:
    """The rows of `model` that `account` may see; none of a model that knows no tenants."""
    manager: Any = model._default_manager
    queryset = manager.get_queryset()
    return queryset.visible_to(account) if isinstance(queryset, TenantQuerySet) else manager.none()


class ScopedAdmin(ModelAdmin):
    """Rows by `visible_to`, writing by level and role, everything else refused.

    A subclass names the levels that see it at all (`levels`) and those that may add, change and delete; none by
    default. Read-only accounts never write.
    """

    levels: ClassVar[frozenset[str]] = LEVELS
    add_levels: ClassVar[frozenset[str]] = NOBODY
    change_levels: ClassVar[frozenset[str]] = NOBODY
    delete_levels: ClassVar[frozenset[str]] = NOBODY
    related: ClassVar[tuple[str, ...]] = ()
    """What a list and a page read along with a row."""

    actions = None
    sortable_by = ()
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    preserve_filters = False
    _refused = [
        "list_editable",
        "inlines",
        "actions",
        "actions_list",
        "actions_row",
        "actions_detail",
        "actions_submit_line",
        "date_hierarchy",
        "save_as",
        "raw_id_fields",
        "ordering_field",
    ]

    def __init__(self, model: type[models.Model], admin_site: Any) -> None:
        super().__init__(model, admin_site)
        refused = [name for name in self._refused if getattr(self, name, None)]
        if refused:
            raise ImproperlyConfigured(f"{type(self).__name__} may not use {', '.join(refused)}.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return visible(self.model, actor(request)).select_related(*self.related).order_by("-pk")

    def get_object(self, request: HttpRequest, object_id: object, from_field: str | None = None) -> Any:
        key = parse_id(object_id)
        return self.get_queryset(request).filter(pk=key).first() if key else None

    def get_scoped(self, request: HttpRequest, object_id: object) -> Any:
        """The row with that id that the actor may see. Raises Http404 otherwise, whatever the reason."""
        row = self.get_object(request, object_id) if self.has_view_permission(request) else None
        if row is None:
            raise Http404(f"This {self.opts.verbose_name} does not exist, or you may not see it.")
        return row

    # --- Who may ---------------------------------------------------------------------------------------------------
    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return actor(request).is_active and actor(request).actor_level in self.levels

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may(request, self.add_levels)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, self.change_levels)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, self.delete_levels)

    def _may(self, request: HttpRequest, levels: frozenset[str]) -> bool:
        account = actor(request)
        return self.has_view_permission(request) and account.may_write and account.actor_level in levels

    # --- Relations -------------------------------------------------------------------------------------------------
    def get_field_queryset(self, db: str | None, db_field: Any, request: HttpRequest) -> models.QuerySet[Any]:
        """What a relation may point at: choices, autocomplete and what a POST may name."""
        return visible(db_field.remote_field.model, actor(request)).order_by("pk")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Field | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, RelatedFieldWidgetWrapper):
            field.widget = field.widget.widget  # no pop-ups to add or change the related row
        return cast("Field | None", field)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only what the declared filters ask for; Django would allow any column, `password` too."""
        names = {_parameter(entry) for entry in self.list_filter}
        return lookup.removesuffix("__exact").removesuffix("__isnull").removesuffix("__id") in names

    # --- Doors that services replace -------------------------------------------------------------------------------
    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}

    def get_inline_instances(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return []

    def save_form(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._closed()

    def save_model(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._closed()

    def save_related(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._closed()

    def save_formset(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._closed()

    def delete_model(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._closed()

    def delete_queryset(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._closed()

    def get_deleted_objects(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._closed()  # it would list rows of any tenant that hang on these

    def log_addition(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._closed()  # the audit trail is written by services

    def log_change(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._closed()

    def log_deletions(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._closed()

    def _closed(self) -> NoReturn:
        raise ClosedDoor(f"{type(self).__name__} writes through its service only.")


def _parameter(list_filter: Any) -> str:
    """The parameter of a declared filter: a field, a field with its filter, or a filter that stands alone."""
    if isinstance(list_filter, str):
        return list_filter
    return str(list_filter.parameter_name if hasattr(list_filter, "parameter_name") else list_filter[0])
