"""What messaging adds to the pages of the tenant tree and to the landing page."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.urls import reverse

from cpaas.admin.shown import status_badge
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber, CpaasPlatform, MediaStream
from cpaas.services.platforms import has_alert_account, platforms_for
from cpaas.states import NumberStatus, OptInState
from portal.admin.scoped import visible
from portal.encryption import mask
from portal.extensions import Section, Tab
from portal.models import EndUser, Group, PortalAccount, Reseller, SystemProvider

NUMBERS = Tab("numbers", "CPaaS Numbers", CpaasNumber)
STREAMS = Tab("media-streams", "Media streams", MediaStream)
_MOST_ON_A_PAGE = 50
_MOST_ATTENTION = 10


def numbers_tab(row: models.Model) -> Tab | None:
    """*CPaaS Numbers* at every level, with everything below it (S4.34)."""
    return NUMBERS if isinstance(row, SystemProvider | Reseller | Group | EndUser) else None


def streams_tab(row: models.Model) -> Tab | None:
    return STREAMS if isinstance(row, SystemProvider | Reseller | Group) else None


def platforms_section(row: models.Model, account: Any) -> Section | None:
    """*CPaaS Platforms* of a system provider; the button is there only while somebody gets alerts (S4.20, R27)."""
    if not isinstance(row, SystemProvider):
        return None
    found = visible(CpaasPlatform, account).filter(system_provider=row).order_by("id")[:_MOST_ON_A_PAGE]
    lines = [{"platform": platform, "secrets": _masked(platform)} for platform in found]
    may_add = account.may_write and account.actor_level in ("operator", "system_provider")
    has_alerts = has_alert_account(row.pk)
    context = {
        "lines": lines,
        "may_add": may_add and has_alerts,
        "needs_alerts": may_add and not has_alerts,
        "add_url": reverse("admin:cpaas_cpaasplatform_add_below", args=[row.pk]),
        "accounts_url": reverse("admin:portal_systemprovider_tab", args=[row.pk, "accounts"]),
    }
    return Section("cpaas/platforms_section.html", context)


def _masked(platform: CpaasPlatform) -> list[tuple[str, str]]:
    fields = get_carrier(platform.carrier).credential_fields
    stored = [(field.label, platform.credentials.get(field.name, "")) for field in fields if field.secret]
    return [(label, mask(secret)) for label, secret in stored if secret]


def owner_section(row: models.Model, account: Any) -> Section | None:
    """The numbers of a user or media stream, with *Add CPaaS Number* or the reason why not (S4.23, S4.2)."""
    if isinstance(row, EndUser):
        owner, add = "user", "admin:cpaas_cpaasnumber_add_to_user"
    elif isinstance(row, MediaStream):
        owner, add = "media_stream", "admin:cpaas_cpaasnumber_add_to_stream"
    else:
        return None
    found = visible(CpaasNumber, account).filter(**{owner: row}).select_related("platform").order_by("-id")
    reason = why_not(row)
    context = {
        "lines": [{"number": number, "status": status_badge(number)} for number in found[:_MOST_ON_A_PAGE]],
        "may_add": account.may_write and not reason,
        "reason": reason if account.may_write else "",
        "add_url": reverse(add, args=[row.pk]),
    }
    return Section("cpaas/numbers_section.html", context)


def why_not(owner: EndUser | MediaStream) -> str:
    """Why the owner can get no number now, "" when it can."""
    if not platforms_for(owner.system_provider_id).exists():
        return "A number can be added once the system provider has a CPaaS platform."
    if isinstance(owner, EndUser) and not (owner.is_licensed and owner.is_active):
        return f"{owner} needs to be active and to have a client licence before a number can be added."
    if isinstance(owner, MediaStream) and owner.media_type != "sms":
        return "Only a media stream of type SMS can have a number."
    return ""


def attention(account: PortalAccount) -> Section | None:
    """What somebody should look at: failed platforms and numbers, declined opt-ins, nobody who gets alerts."""
    numbers = visible(CpaasNumber, account).select_related("user", "media_stream", "group").order_by("-id")
    provider = account.system_provider if account.level == "system_provider" else None
    context = {
        "platforms": visible(CpaasPlatform, account).filter(state="failed").order_by("-id")[:_MOST_ATTENTION],
        "failed": numbers.filter(status=NumberStatus.FAILED)[:_MOST_ATTENTION],
        "declined": numbers.filter(opt_in_state=OptInState.DECLINED)[:_MOST_ATTENTION],
        "silent_provider": provider if provider and not has_alert_account(provider.pk) else None,
    }
    return Section("cpaas/attention.html", context)
