"""The look of the staff site (django-unfold). Navigation is built from what the actor may see, in portal.admin."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

_BLUE = {
    "50": "oklch(97.3% .012 250)",
    "100": "oklch(94% .028 250)",
    "200": "oklch(88.5% .055 250)",
    "300": "oklch(81% .095 250)",
    "400": "oklch(71% .135 251)",
    "500": "oklch(61% .165 253)",
    "600": "oklch(51% .17 256)",
    "700": "oklch(44% .155 258)",
    "800": "oklch(38% .125 259)",
    "900": "oklch(33% .1 260)",
    "950": "oklch(25% .075 262)",
}


def _stylesheet(request: HttpRequest) -> str:
    return static("portal/staff.css")


def _script(request: HttpRequest) -> str:
    return static("portal/staff.js")


def _icon(request: HttpRequest) -> str:
    return static("portal/favicon.svg")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Partner Portal",
    "SITE_HEADER": "Partner Portal",
    "SITE_SUBHEADER": "Messaging and presence",
    "SITE_SYMBOL": "forum",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "BORDER_RADIUS": "6px",
    "COLORS": {"primary": _BLUE},
    "STYLES": [_stylesheet],
    "SCRIPTS": [_script],
    "SIDEBAR": {"navigation": "portal.admin.navigation.navigation"},
    "ACCOUNT": {
        "navigation": [
            {"title": "My account", "link": reverse_lazy("admin:own_account")},
            {"title": "API tokens", "link": reverse_lazy("admin:portal_stafftoken_changelist")},
        ]
    },
}
