"""How numbers and opt-in are worded on staff pages (S4.30, S4.36, S4.38)."""

from __future__ import annotations

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
