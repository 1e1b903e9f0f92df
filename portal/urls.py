"""Every door of the portal."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from portal.admin.site import site
from portal.api.urls import routes_of_apps

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("portal.health")),
    path("api/", include("portal.api.urls")),
    # What apps show to the outside: `public_urls` of their AppConfig (webhooks of carriers).
    *routes_of_apps("public_urls"),
    path("", site.urls),
]

handler400 = "portal.api.problems.bad_request"
handler403 = "portal.api.problems.permission_denied"
handler404 = "portal.api.problems.page_not_found"
handler500 = "portal.api.problems.server_error"
