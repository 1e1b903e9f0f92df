"""How numbers and opt-in are worded on staff pages (S4.30, S4.36, S4.38)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from cpaas.models import CpaasNumber, OptInEvidence
from cpaas.states import NumberStatus, OptInState

PASSING = (NumberStatus.PROVISIONING, NumberStatus.REMOVING)
_OPT_IN_KINDS = {OptInState.ACCEPTED: "p-good", OptInState.DECLINED: "p-bad", OptInState.POSTPONED: "p-wait"}
_STATUS_KINDS = {NumberStatus.ENABLED: "p-good", NumberStatus.FAILED: "p-bad"}


def local(at: Any) -> str:
    """A time in the viewer's zone (R28)."""
    return date_format(timezone.localtime(at), "DATETIME_FORMAT") if at else ""


def opt_in_sentence(number: CpaasNumber) -> str:
    """`Declined at 21/11/2026 08:30:00`; without a time just the state."""
    label = number.get_opt_in_state_display()
    return f"{label} at {local(number.opt_in_at)}" if number.opt_in_at else label


def opt_in_badge(number: CpaasNumber) -> SafeString:
    kind = _OPT_IN_KINDS.get(OptInState(number.opt_in_state), "")
    return format_html('<span class="p-badge {}">{}</span>', kind, number.get_opt_in_state_display())


def status_badge(number: CpaasNumber) -> SafeString:
    """The status; in a passing state it asks for itself again every two seconds until it is final (R29)."""
    context = {
        "number": number,
        "is_passing": number.status in PASSING,
        "kind": _STATUS_KINDS.get(NumberStatus(number.status), "p-wait"),
    }
    return mark_safe(render_to_string("cpaas/number_status.html", context))  # noqa: S308 - our own template escapes


def evidence_badge(evidence: OptInEvidence) -> SafeString:
    kind = _OPT_IN_KINDS[OptInState(evidence.state)]
    return format_html('<span class="p-badge {}">{}</span>', kind, OptInState(evidence.state).label)


def class_words(number: CpaasNumber) -> str:
    """`A2PLC, campaign CLLOE4H`; "" when the carrier was not asked or has no classes."""
    campaign = f", campaign {number.campaign}" if number.campaign else ""
    return f"{number.messaging_class}{campaign}"


def compared_at(number: CpaasNumber) -> datetime | None:
    """When the carrier was last asked about the number: by itself, or in a round of its platform (R44)."""
    in_round = number.platform.compared_at if number.status == NumberStatus.ENABLED else None
    if in_round is not None and in_round < number.created_at:
        in_round = None
    return max(filter(None, (number.checked_at, in_round)), default=None)


def licence_banner(number: CpaasNumber) -> str:
    """Why a number whose user lost the licence stands still (S4.2, R8)."""
    return (
        f"{number.user} has no client licence or is inactive: nothing can be sent, and texts that arrive are held "
        "until the user has a licence again."
    )
