"""*Presence* on a user's page: the merged state with its note, and every source with the reason it counts or not."""

from __future__ import annotations

from typing import Any

from django.db import models

from portal.extensions import Section
from portal.models import EndUser
from presence.merge import Kind, Report
from presence.services.reading import presences
from presence.states import Status

_KINDS = {Kind.OWN: "Own", Kind.RICH: "Rich presence", Kind.TELEPHONY: "Telephony"}
_BADGES = {
    Status.AVAILABLE: "p-good",
    Status.AWAY: "p-wait",
    Status.FORWARDED_VOICEMAIL: "p-wait",
    Status.FORWARDED_NUMBER: "p-wait",
    Status.BUSY: "p-bad",
    Status.DND: "p-bad",
}


def presence_section(row: models.Model, account: Any) -> Section | None:
    """Nobody in particular looks, so sources that differ by viewer show what any of them would see."""
    if not isinstance(row, EndUser):
        return None
    shown = presences([(None, row.pk)])[None, row.pk]
    context = {
        "shown": shown,
        "badge": _BADGES.get(shown.presence.status, ""),
        "lines": [_line(report) for report in shown.reports],
    }
    return Section("presence/section.html", context)


def _line(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "kind": _KINDS[report.kind],
        "source": _source(report),
        "badge": _BADGES.get(report.status, ""),
        "detail": report.detail.replace("_", " ") if report.detail else "",
    }


def _source(report: Report) -> str:
    if report.kind != Kind.OWN:
        return f"{report.source} (preferred)" if report.preferred else report.source
    return "Open clients" if report.implied else "Chosen by the user"
