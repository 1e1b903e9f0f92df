"""The staff site at `/`, for every level from operator to group (architecture section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path
from django.utils.module_loading import autodiscover_modules
from unfold.sites import UnfoldAdminSite

from portal.admin.login import LoginForm
from portal.problems import Problem

Page = tuple[str, Callable[[HttpRequest], HttpResponse], str]


class PortalSite(UnfoldAdminSite):
    """Django's admin site without what looks past the tenants: no index of apps, no view-on-site, no global search.

    Apps register in their `admin/registry.py`, loaded with the URLs.
    """

    login_form = LoginForm
    login_template = "portal/login.html"
    final_catch_all_view = False
    enable_nav_sidebar = True

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self._pages: list[Page] = []
        self._loaded = False

    def load(self) -> None:
        """Let every app register its pages, once."""
        if not self._loaded:
            autodiscover_modules("admin.registry")
            self._loaded = True

    def add_page(self, route: str, view: Callable[[HttpRequest], HttpResponse], name: str) -> None:
        """A page that belongs to no model."""
        self._pages.append((route, view, name))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        self.load()
        pages: list[Page] = [
            ("logout/", self.logout, "logout"),
            ("jsi18n/", self.i18n_javascript, "jsi18n"),
            ("autocomplete/", self.autocomplete_view, "autocomplete"),
            *self._pages,
        ]
        urls: list[URLPattern | URLResolver] = [path("login/", self.login, name="login")]
        urls += [path(route, self.admin_view(view), name=name) for route, view, name in pages]
        urls += [path(f"{admin.slug}/", include(admin.get_urls())) for admin in self._registry.values()]
        return urls

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                return cast(HttpResponse, view(request, *args, **kwargs))
            except Problem as problem:
                raise as_http_error(problem) from problem

        return super().admin_view(guarded, cacheable)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        return []  # navigation is portal.admin.navigation

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response: Any = super().login(request, extra_context)
        form = (getattr(response, "context_data", None) or {}).get("form")
        wait = getattr(form, "retry_after_s", None)
        if wait is not None:
            response.status_code = 429
            response["Retry-After"] = str(wait)
        return cast(HttpResponse, response)


def as_http_error(problem: Problem) -> Exception:
    """A Problem that no form or message has shown, as a page: not there, or not allowed."""
    if problem.status == 404:
        return Http404(problem.detail)
    return PermissionDenied(problem.detail)


site = PortalSite()
