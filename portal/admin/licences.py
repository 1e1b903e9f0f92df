"""How many users have which licence: a part of the pages of system providers, resellers and groups (S4.7)."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.urls import reverse

from portal import extensions
from portal.admin.changelist import capped
from portal.admin.scoped import visible
from portal.extensions import Section
from portal.models import EndUser, Group, Licence, Reseller, SystemProvider

_LEVELS: dict[type[models.Model], str] = {SystemProvider: "system_provider", Reseller: "reseller", Group: "group"}


def licences_section(row: models.Model, account: Any) -> Section | None:
    level = _LEVELS.get(type(row))
    if level is None:
        return None
    users = visible(EndUser, account).filter(**{level: row})
    tab = reverse(f"admin:portal_{type(row)._meta.model_name}_tab", args=[row.pk, "users"])
    lines = [
        {
            "label": licence.label if licence != Licence.NONE else "No licence",
            "count": capped(users.filter(licence=licence)),
            "url": f"{tab}?licence__exact={licence.value}",
        }
        for licence in Licence
    ]
    return Section("portal/licences.html", {"lines": lines})


extensions.page_sections.append(licences_section)
