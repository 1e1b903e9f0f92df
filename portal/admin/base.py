"""The base of every ModelAdmin of the staff site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect

from portal.admin.pages import Button, Route
from portal.admin.row_actions import RowAction, row_actions_of
from portal.admin.scoped import actor
from portal.admin.writing import WritingAdmin, forbid
from portal.problems import Problem


class TenantScopedAdmin(WritingAdmin):
    """Scoped rows and relations, keyset lists, pages and forms that write through services, and row actions.

    Fail-closed: a subclass that says nothing shows rows by `visible_to` and writes nothing.
    """

    def routes(self) -> list[Route]:
        routes = super().routes()
        for action in row_actions_of(type(self)):
            routes.append((f"<str:object_id>/{action.name}/", self._post_view(action), action.method))
            if action.loss:
                confirm = f"<str:object_id>/{action.name}/confirm/"
                routes.append((confirm, self._confirm_view(action), f"{action.method}_confirm"))
        return routes

    def get_buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        buttons = super().get_buttons(request, row)
        at = next((place for place, button in enumerate(buttons) if button.style == "danger"), len(buttons))
        buttons[at:at] = [self._button(action, row) for action in self.offered_actions(request, row)]
        return buttons

    def offered_actions(self, request: HttpRequest, row: Any) -> list[RowAction]:
        """The actions that make sense for the row now; none for who may only look."""
        if not actor(request).may_write:
            return []
        declared = row_actions_of(type(self))
        return [action for action in declared if not action.available or getattr(self, action.available)(row)]

    def _button(self, action: RowAction, row: Any) -> Button:
        if action.loss:
            url = self.url(f"{action.method}_confirm", row.pk)
            return Button(action.label, url, "GET", action.style, action.icon)
        return Button(action.label, self.url(action.method, row.pk), "POST", action.style, action.icon)

    def _post_view(self, action: RowAction) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            row = self.get_scoped(request, object_id)
            if not actor(request).may_write:
                raise forbid(request)
            try:
                messages.success(request, getattr(self, action.method)(request, row))
            except Problem as problem:
                messages.error(request, problem.detail)
            return HttpResponseRedirect(self.url_of(row))

        return view

    def _confirm_view(self, action: RowAction) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            row = self.get_scoped(request, object_id)
            if not actor(request).may_write:
                raise forbid(request)
            losses = getattr(self, action.loss)(row)
            url = self.url(action.method, row.pk)
            return self.confirmation(request, row, action.label, losses, url, action.style)

        return view
