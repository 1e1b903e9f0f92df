"""Adding, changing and deleting a row: a form, then a service. No transaction is open around it, so a service may
talk to a carrier first and write afterwards (architecture, rule 3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.forms import modelform_factory
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from portal.admin.forms import FieldSets, StaffModelForm, show_problem
from portal.admin.pages import READ_ONLY, Button, PageAdmin, Route
from portal.admin.scoped import ClosedDoor, actor
from portal.problems import Problem


def forbid(request: HttpRequest) -> PermissionDenied:
    """What to raise when the actor may see the row but not write it."""
    text = "" if actor(request).may_write else READ_ONLY
    return PermissionDenied(text or "Your account's level may not do this.")


class WritingAdmin(PageAdmin):
    """A subclass overrides `perform_create`, `perform_update` and `perform_delete` to call its services; those that it
    does not override stay closed.

    `parent_field` is the relation to the row above, chosen for a new row and never changed; `form_fields` are the
    others, `form_groups` their grouping.
    """

    form = StaffModelForm
    parent_field: ClassVar[str] = ""
    form_fields: ClassVar[Sequence[str]] = ()
    form_groups: ClassVar[FieldSets] = ()
    delete_label: ClassVar[str] = "Delete"

    def perform_create(self, request: HttpRequest, form: Any) -> models.Model:
        raise ClosedDoor(f"{type(self).__name__} creates nothing.")

    def perform_update(self, request: HttpRequest, row: Any, form: Any) -> models.Model:
        raise ClosedDoor(f"{type(self).__name__} changes nothing.")

    def perform_delete(self, request: HttpRequest, row: Any) -> None:
        raise ClosedDoor(f"{type(self).__name__} deletes nothing.")

    def loss(self, row: Any) -> list[str]:
        """What is lost when the row is deleted, in sentences."""
        return [f"The {self.opts.verbose_name} {row} is deleted. This cannot be undone."]

    def routes(self) -> list[Route]:
        return [
            ("add/", self.add_view, "add"),
            *super().routes(),
            ("<str:object_id>/change/", self.change_view, "change"),
            ("<str:object_id>/delete/", self.delete_view, "delete"),
        ]

    def add_url(self, request: HttpRequest, parent: models.Model | None = None) -> str:
        if not self.has_add_permission(request):
            return ""
        if parent is None:
            return self.url("add")
        name = {field.related_model: field.name for field in self.opts.fields if field.is_relation}.get(type(parent))
        return f"{self.url('add')}?{name}={parent.pk}" if name else ""

    def get_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        buttons = super().get_buttons(request, row)
        if self.details and self.has_change_permission(request, row):
            buttons.insert(0, Button("Edit", self.url("change", row.pk), icon="edit"))
        if self.has_delete_permission(request, row):
            buttons.append(Button(self.delete_label, self.url("delete", row.pk), style="danger", icon="delete"))
        return buttons

    # --- Adding and changing -------------------------------------------------------------------------------------
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Instead of Django's, which saves by itself inside a transaction. Who may only look sees the form closed."""
        row = self.get_scoped(request, object_id) if object_id is not None else None
        may_save = self.has_change_permission(request, row) if row else self.has_add_permission(request)
        if not may_save and (row is None or request.method == "POST"):
            raise forbid(request)
        form = self.make_form(request, row)
        if request.method == "POST" and form.is_valid():
            try:
                saved = self.perform_update(request, row, form) if row else self.perform_create(request, form)
            except Problem as problem:
                show_problem(form, problem)
            else:
                messages.success(request, f"{saved} was {'saved' if row else 'added'}.")
                return HttpResponseRedirect(self.saved_url(request, saved))
        return self.form_page(request, row, form, may_save=may_save)

    def make_form(self, request: HttpRequest, row: Any) -> Any:
        form_class = self.get_form(request, row, change=row is not None)
        data = request.POST if request.method == "POST" else None
        initial = {} if row else {name: request.GET[name] for name in form_class.base_fields if name in request.GET}
        return form_class(data, instance=row, initial=initial)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The form's class. It knows the account (`account`) that fills it in."""
        names = self.get_fields(request, obj)
        declared: Any = self.form
        made: Any = modelform_factory(
            self.model,
            form=self.form,
            fields=[name for name in names if name not in declared.declared_fields],
            formfield_callback=partial(self.formfield_for_dbfield, request=request),
        )
        made.fieldsets, made.field_order, made.account = self.form_groups, names, actor(request)
        return made

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        parent = [self.parent_field] if self.parent_field and obj is None else []
        return [*parent, *self.form_fields]

    def saved_url(self, request: HttpRequest, row: Any) -> str:
        """Where to go after saving."""
        return self.url_of(row) if self.details else self.url("changelist")

    def form_page(self, request: HttpRequest, row: Any, form: Any, *, may_save: bool, **more: Any) -> HttpResponse:
        """The page with the form; `more` goes over what the template gets otherwise."""
        if not may_save:
            for field in form.fields.values():
                field.disabled = True
        has_page = row is not None and bool(self.details)
        here = "Add" if row is None else "Edit" if has_page else ""
        context = {
            "form": form,
            "may_save": may_save,
            "crumbs": self.crumbs(row, here),
            "cancel_url": self.url_of(row) if has_page else self.url("changelist"),
            "buttons": [] if has_page or row is None else self.form_buttons(request, row),
        }
        return self.page(request, "portal/form.html", row, {**context, **more})

    def form_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        """The buttons of a row whose form is its page."""
        return [Button("Audit trail", self.url("history", row.pk), icon="history"), *self.get_buttons(request, row)]

    # --- Deleting ------------------------------------------------------------------------------------------------
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """First says what is lost, then deletes."""
        row = self.get_scoped(request, object_id)
        if not self.has_delete_permission(request, row):
            raise forbid(request)
        if request.method != "POST":
            label = self.delete_label if self.delete_label != "Delete" else f"Delete {self.opts.verbose_name}"
            return self.confirmation(request, row, label, self.loss(row), self.url("delete", row.pk))
        name, after = str(row), self.deleted_url(request, row)
        try:
            self.perform_delete(request, row)
        except Problem as problem:
            messages.error(request, problem.detail)
            return HttpResponseRedirect(self.url_of(row))
        messages.success(request, f"{name} was deleted.")
        return HttpResponseRedirect(after)

    def deleted_url(self, request: HttpRequest, row: Any) -> str:
        """Where to go after deleting."""
        return self.url("changelist")

    def confirmation(
        self, request: HttpRequest, row: Any, label: str, losses: list[str], url: str, style: str = "danger"
    ) -> TemplateResponse:
        """The page before a loss: what will be gone, and a button named like the one that led here."""
        context = {
            "heading": f"{label}?",
            "label": label,
            "losses": losses,
            "post_url": url,
            "style": style,
            "cancel_url": self.url_of(row),
            "crumbs": self.crumbs(row, label),
            "tabs": [],
        }
        return self.page(request, "portal/confirm.html", row, context)
