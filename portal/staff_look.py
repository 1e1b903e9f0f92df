"""The look of the staff site (django-unfold). Navigation is built from what the actor may see, in portal.admin."""

from __future__ import annotations

from typing import Any

from django.urls import reverse_lazy

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Partner Portal",
    "SITE_HEADER": "Partner Portal",
    "SITE_SUBHEADER": "Messaging and presence",
    "SITE_SYMBOL": "forum",
    "SITE_URL": None,
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "SIDEBAR": {"navigation": "portal.admin.navigation.navigation"},
    "ACCOUNT": {
        "navigation": [
            {"title": "My account", "link": reverse_lazy("admin:own_account")},
            {"title": "API tokens", "link": reverse_lazy("admin:portal_stafftoken_changelist")},
        ]
    },
}
