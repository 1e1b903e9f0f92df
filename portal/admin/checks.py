"""System checks of the staff site. What they look at is imported when they run: workers load no pages."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register


@register("portal")
def check_admins(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Every model of the staff site is shown by a TenantScopedAdmin."""
    from portal.admin.site import site

    site.load()
    return find_unscoped(site)


def find_unscoped(checked: Any) -> list[CheckMessage]:
    """An error for each ModelAdmin of the site `checked` that does not keep tenants apart."""
    from portal.admin.base import TenantScopedAdmin

    return [
        Error(
            f"{type(admin).__name__} shows {model._meta.label} without keeping tenants apart.",
            hint="Make it a subclass of portal.admin.base.TenantScopedAdmin.",
            obj=type(admin),
            id="portal.E010",
        )
        for model, admin in checked._registry.items()
        if not isinstance(admin, TenantScopedAdmin)
    ]
