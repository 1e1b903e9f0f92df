"""What messaging adds to the pages of the tenant tree and to the landing page."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import models
from django.urls import reverse
from django.utils.timezone import get_current_timezone

from cpaas import spool
from cpaas.admin.shown import status_badge
from cpaas.admin.traffic import draw
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber, CpaasPlatform, MediaStream, Message, Ticket, WebhookEvent
from cpaas.models.webhook_events import DEAD
from cpaas.services.platforms import has_alert_account, platforms_for
from cpaas.services.traffic import LATELY, not_delivered_since, traffic_by_day
from cpaas.states import NumberStatus, OptInState
from portal import clock
from portal.admin.scoped import visible
from portal.encryption import mask
from portal.extensions import Notice, Section, Tab
from portal.models import EndUser, Group, PortalAccount, Reseller, SystemProvider

NUMBERS = Tab("numbers", "CPaaS Numbers", CpaasNumber)
MESSAGES = Tab("messages", "Message log", Message)
STREAMS = Tab("media-streams", "Media streams", MediaStream)
_MOST_ON_A_PAGE = 50
_MOST_ATTENTION = 10
_MOST_COUNTED = 100


def numbers_tab(row: models.Model) -> Tab | None:
    """*CPaaS Numbers* at every level, with everything below it (S4.34)."""
    return NUMBERS if isinstance(row, SystemProvider | Reseller | Group | EndUser) else None


def streams_tab(row: models.Model) -> Tab | None:
    return STREAMS if isinstance(row, SystemProvider | Reseller | Group) else None


def messages_tab(row: models.Model) -> Tab | None:
    """The message log of that level and below (S1.55)."""
    return MESSAGES if isinstance(row, SystemProvider | Reseller | Group | EndUser) else None


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


def attention(account: PortalAccount) -> Iterator[Notice]:
    """What somebody should look at: nobody gets alerts, failed platforms and numbers, declined opt-ins, lost texts,
    dead letters, open tickets."""
    provider = account.system_provider if account.level == "system_provider" else None
    if provider and not has_alert_account(provider.pk):
        url = reverse("admin:portal_systemprovider_tab", args=[provider.pk, "accounts"])
        detail = "Enable Send Alerts for at least one portal account."
        yield Notice("Alerts", "Nobody gets alerts", url, detail, urgent=False)
    for platform in visible(CpaasPlatform, account).filter(state="failed").order_by("-id")[:_MOST_ATTENTION]:
        url = reverse("admin:cpaas_cpaasplatform_detail", args=[platform.pk])
        yield Notice("Platform failed", str(platform), url, platform.state_detail, platform.checked_at)
    yield from _not_delivered(account)
    numbers = visible(CpaasNumber, account).select_related("user", "media_stream").order_by("-id")
    failed = list(numbers.filter(status=NumberStatus.FAILED)[:_MOST_COUNTED])
    if failed:
        title, url = _summary(failed, "failed", "status__exact=failed")
        yield Notice("Number failed", title, url, failed[0].status_detail)
    warned = list(numbers.filter(needs_attention=True).exclude(status=NumberStatus.FAILED)[:_MOST_COUNTED])
    if warned:
        title, url = _summary(warned, "differ at the carrier", "carrier=differs")
        yield Notice("Number differs", title, url, warned[0].warnings[0], warned[0].checked_at, urgent=False)
    declined = list(numbers.filter(opt_in_state=OptInState.DECLINED)[:_MOST_COUNTED])
    if declined:
        title, url = _summary(declined, "declined", "opt_in_state__exact=declined")
        who = str(declined[0].user or declined[0].media_stream)
        yield Notice("Opt-in declined", title, url, who, declined[0].opt_in_at, urgent=False)
    yield from _dead_letters(account)
    yield from _open_tickets(account)


def _not_delivered(account: PortalAccount) -> Iterator[Notice]:
    """Texts of the last day that were refused or did not arrive, by the numbers they were sent from."""
    lost = not_delivered_since(clock.now() - LATELY)
    numbers = list(visible(CpaasNumber, account).filter(pk__in=lost.values("number_id"))[:_MOST_COUNTED])
    if numbers:
        title, url = _summary(numbers, "with texts not delivered", "not_delivered=lately")
        newest = lost.filter(number__in=numbers).order_by("-created_at").first()
        assert newest is not None
        yield Notice("Not delivered", title, url, newest.error_text, newest.created_at)


def set_aside(account: PortalAccount) -> Iterator[Notice]:
    """Webhook calls on the disk of the machine that answers, which it could not take in; for the operator (R37)."""
    if account.actor_level != "operator":
        return
    found = spool.set_aside()
    if found:
        count = f"{len(found)} call{'s' if len(found) > 1 else ''}"
        detail = "Could not be taken in after the database was away. There, manage.py setaside shows and retries them."
        yield Notice("Webhooks set aside", f"{count} on {socket.gethostname()}", "", detail)


def _dead_letters(account: PortalAccount) -> Iterator[Notice]:
    """Texts to numbers that are not set up and calls that cannot be read, for those who see them (J4)."""
    # In no order: the newest of one tenant would be looked for among those of all.
    waiting = visible(WebhookEvent, account).filter(state__in=DEAD).values_list("pk", "state", "created_at")
    found = list(waiting[:_MOST_COUNTED])
    if not found:
        return
    unassigned = sum(state == "unassigned" for _, state, _ in found)
    title, url = f"{_capped(found)} dead letters", f"{reverse('admin:cpaas_webhookevent_changelist')}?waiting=yes"
    if len(found) == 1:
        title, url = "1 dead letter", reverse("admin:cpaas_webhookevent_detail", args=[found[0][0]])
    kinds = {"texts to numbers that are not set up": unassigned, "calls that cannot be read": len(found) - unassigned}
    detail = " and ".join(kind for kind, count in kinds.items() if count).capitalize()
    newest = max(at for _, _, at in found) if len(found) < _MOST_COUNTED else None
    yield Notice("Nobody got it", title, url, detail, newest)


def _open_tickets(account: PortalAccount) -> Iterator[Notice]:
    tickets = visible(Ticket, account).filter(state="open").order_by("-id")
    found = list(tickets.values_list("pk", "subject", "created_at")[:_MOST_COUNTED])
    if not found:
        return
    title, url = f"{_capped(found)} open tickets", f"{reverse('admin:cpaas_ticket_changelist')}?state__exact=open"
    key, subject, raised_at = found[0]
    if len(found) == 1:
        title, url = "1 open ticket", reverse("admin:cpaas_ticket_detail", args=[key])
    yield Notice("Ticket", title, url, subject, raised_at, urgent=False)


def _summary(numbers: Sequence[CpaasNumber], what: str, query: str) -> tuple[str, str]:
    """The title and address of a notice on numbers: the number itself when it is only one."""
    if len(numbers) == 1:
        return str(numbers[0]), reverse("admin:cpaas_cpaasnumber_detail", args=[numbers[0].pk])
    return f"{_capped(numbers)} numbers {what}", f"{reverse('admin:cpaas_cpaasnumber_changelist')}?{query}"


def _capped(found: Sequence[Any]) -> str:
    """How many were found, as far as they were counted."""
    return f"{_MOST_COUNTED - 1}+" if len(found) == _MOST_COUNTED else str(len(found))


def traffic_section(account: PortalAccount) -> Section:
    """The traffic of the last 30 days as a chart."""
    return Section("cpaas/traffic.html", {"chart": draw(traffic_by_day(actor=account, zone=get_current_timezone()))})
