"""The staff site at `/`, for every level from operator to group (architecture section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, include, path, reverse
from django.utils.decorators import method_decorator
from django.utils.module_loading import autodiscover_modules
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from unfold.sites import UnfoldAdminSite

from portal.admin.forms import told_to_wait
from portal.admin.login import CodeForm, LoginForm, PasswordStep, account_waiting, finish
from portal.admin.navigation import Entry
from portal.models import PortalAccount
from portal.problems import Problem
from portal.services import second_factor

# What an account that must set up a second factor first may see without it.
SETTING_UP = frozenset({"second_factor", "logout", "jsi18n"})
Page = tuple[str, Callable[..., HttpResponseBase], str]


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
        self.entries: list[tuple[str, Entry]] = []
        self._loaded = False

    def load(self) -> None:
        """Let every app register its pages, once."""
        if not self._loaded:
            autodiscover_modules("admin.registry")
            self._loaded = True

    def add_page(
        self, route: str, view: Callable[..., HttpResponseBase], name: str, entry: Entry | None = None
    ) -> None:
        """A page that belongs to no model, with its line in the sidebar; places in its route go to the view."""
        self._pages.append((route, view, name))
        if entry is not None:
            self.entries.append((name, entry))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        self.load()
        pages: list[Page] = [
            ("logout/", self.logout, "logout"),
            ("jsi18n/", self.i18n_javascript, "jsi18n"),
            ("autocomplete/", self.autocomplete_view, "autocomplete"),
            *self._pages,
        ]
        urls: list[URLPattern | URLResolver] = [
            path("login/", self.login, name="login"),
            path("login/code/", self.login_code, name="login_code"),
        ]
        urls += [path(route, self.admin_view(view), name=name) for route, view, name in pages]
        urls += [path(f"{admin.slug}/", include(admin.get_urls())) for admin in self._registry.values()]
        return urls

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            name = request.resolver_match.url_name if request.resolver_match else None
            if name not in SETTING_UP and second_factor.must_set_up(cast(PortalAccount, request.user)):
                return HttpResponseRedirect(reverse(f"{self.name}:second_factor"))
            try:
                return cast(HttpResponse, view(request, *args, **kwargs))
            except Problem as problem:
                raise as_http_error(problem) from problem

        return super().admin_view(guarded, cacheable)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        return []  # navigation is portal.admin.navigation

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The first step: Django's, which would log in after the password, with our view in its place."""
        index = reverse(f"{self.name}:index")
        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(index)
        context = {**self._login_context(request), "title": "Log in"}
        if REDIRECT_FIELD_NAME not in request.GET and REDIRECT_FIELD_NAME not in request.POST:
            context[REDIRECT_FIELD_NAME] = index
        view = PasswordStep.as_view(template_name=self.login_template, extra_context=context)
        response: Any = view(request)
        return told_to_wait(response, (getattr(response, "context_data", None) or {}).get("form"))

    @method_decorator([never_cache, csrf_protect])
    def login_code(self, request: HttpRequest) -> HttpResponse:
        """The second step: a code of the device, or a recovery code."""
        account = account_waiting(request)
        if account is None:
            return HttpResponseRedirect(reverse(f"{self.name}:login"))
        form = CodeForm(request.POST if request.method == "POST" else None, account=account)
        if form.is_bound and form.is_valid():
            return finish(request, account)
        context = {**self._login_context(request), "title": "Two-step login", "form": form, "account": account}
        return told_to_wait(TemplateResponse(request, "portal/login_code.html", context), form)

    def _login_context(self, request: HttpRequest) -> dict[str, Any]:
        request.current_app = self.name
        return {**self.each_context(request), "app_path": request.get_full_path()}


def as_http_error(problem: Problem) -> Exception:
    """A Problem that no form or message has shown, as a page: not there, or not allowed."""
    if problem.status == 404:
        return Http404(problem.detail)
    return PermissionDenied(problem.detail)


site = PortalSite()
