"""The routes of the API. Apps add theirs through two attributes of their AppConfig, each the name of a URL module:
`enduser_urls` below /api/v1/ and `provisioning_urls` below /api/v1/provisioning/."""

from __future__ import annotations

from django.apps import apps
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from portal.api.enduser import events, login, session
from portal.api.problems import no_such_path
from portal.api.provisioning import accounts, audit, services, tenants, tokens, users
from portal.directory.api import enduser as directory
from portal.directory.api import provisioning as directories

Routes = list[URLPattern | URLResolver]


def routes_of_apps(attribute: str) -> Routes:
    """What the installed apps add to a part of the site."""
    modules = [getattr(config, attribute, None) for config in apps.get_app_configs()]
    return [path("", include(module)) for module in modules if module]


enduser: Routes = [
    path("login/", login.Login.as_view()),
    path("logout/", login.Logout.as_view()),
    path("devices/", login.Devices.as_view()),
    path("devices/<str:pk>/", login.DeviceItem.as_view()),
    path("session/", session.Session.as_view()),
    path("settings/", session.Settings.as_view()),
    path("events/", events.Events.as_view()),
    *directory.urlpatterns,
    *routes_of_apps("enduser_urls"),
]

provisioning: Routes = [
    path("system-providers/", tenants.SystemProviders.as_view()),
    path("system-providers/<str:pk>/", tenants.SystemProviderItem.as_view()),
    path("resellers/", tenants.Resellers.as_view()),
    path("resellers/<str:pk>/", tenants.ResellerItem.as_view()),
    path("groups/", tenants.Groups.as_view()),
    path("groups/<str:pk>/", tenants.GroupItem.as_view()),
    path("users/", users.Users.as_view()),
    path("users/<str:pk>/", users.UserItem.as_view()),
    path("portal-accounts/", accounts.Accounts.as_view()),
    path("portal-accounts/<str:pk>/", accounts.AccountItem.as_view()),
    path("portal-accounts/<str:pk>/reset-second-factor/", accounts.SecondFactorReset.as_view()),
    path("tokens/", tokens.Tokens.as_view()),
    path("tokens/<str:pk>/", tokens.TokenItem.as_view()),
    path("me/", accounts.Me.as_view()),
    path("audit/", audit.Audit.as_view()),
    path("services/", services.Services.as_view()),
    path("services/<str:pk>/", services.ServiceItem.as_view()),
    path("services/<str:pk>/start/", services.Start.as_view()),
    path("services/<str:pk>/stop/", services.Stop.as_view()),
    path("services/<str:pk>/restart/", services.Restart.as_view()),
    *directories.urlpatterns,
    *routes_of_apps("provisioning_urls"),
]

urlpatterns: Routes = [
    path("v1/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path(
        "v1/docs/",
        SpectacularSwaggerSplitView.as_view(url_name="api-schema", template_name="api/docs.html"),
        name="api-docs",
    ),
    path("v1/provisioning/", include(provisioning)),
    path("v1/", include(enduser)),
    # Also in DEBUG, where Django would show its own page: under /api/ every answer is for a program.
    re_path("", no_such_path),
]
