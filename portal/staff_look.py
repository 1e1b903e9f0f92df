"""The look of the staff site (django-unfold). Navigation is built from what the actor may see, in portal.admin."""

from __future__ import annotations

from typing import Any

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Partner Portal",
    "SITE_HEADER": "Partner Portal",
    "SITE_SUBHEADER": "Messaging and presence",
    "SITE_SYMBOL": "forum",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
}
