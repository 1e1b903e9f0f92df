"""What the pages of numbers and platforms show of blocking, STOP and limits (S4.15, S4.30, R20, R39)."""

from __future__ import annotations

from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from cpaas.admin.number_forms import BLOCKING_HELP, tooltip
from cpaas.admin.shown import local
from cpaas.models import BlockedParty, CpaasNumber, CpaasPlatform, Stop, StopEvidence
from cpaas.services.stops import history_of
from portal import clock
from portal.admin.scoped import visible
from portal.extensions import Section
from portal.phone_numbers import national_digits

_MOST_STOPS = 50
_MOST_COUNTED = 100
_MOST_SAID = 5


def blocking_setting(number: CpaasNumber) -> SafeString:
    """ON or OFF as it works, where that comes from, and the (?) of S4.30."""
    works = "ON" if number.can_block_effective else "OFF"
    source = " (default of the platform)" if number.can_block == "inherit" else ""
    return format_html("{}{} {}", works, source, tooltip("blocking", BLOCKING_HELP))


def blocked_count(number: CpaasNumber) -> str:
    """How many parties are blocked, and that it does not count while blocking is off (S4.16)."""
    count = BlockedParty.objects.filter(number=number).values("pk")[: _MOST_COUNTED + 1].count()
    shown = f"more than {_MOST_COUNTED}" if count > _MOST_COUNTED else str(count)
    return f"{shown}, without effect while blocking is off" if count and not number.can_block_effective else shown


def stops_section(number: CpaasNumber, account: Any) -> Section:
    """Who has stopped this number, with the evidence; to be seen, never lifted (R20)."""
    found = visible(Stop, account).filter(system_provider_id=number.system_provider_id, tn=number.number)
    stops = list(found.order_by("-id")[:_MOST_STOPS])
    history = history_of(stops)
    rows = [
        {
            "party": national_digits(stop.remote),
            "stopped": stop.stopped,
            "history": [{"words": _words(said), "at": said.created_at} for said in history[stop.pk][:_MOST_SAID]],
        }
        for stop in stops
    ]
    return Section("cpaas/stops.html", {"rows": rows})


def limits_of(platform: CpaasPlatform) -> str:
    """`60 segments a minute and 1000 a day from a number, 2000 a day from all of them`."""
    minute, day = platform.option("per_number_per_minute"), platform.option("per_number_per_day")
    sentences = [f"{minute} segments a minute and {day} a day from a number"]
    for option, span in (("per_platform_per_minute", "minute"), ("per_platform_per_day", "day")):
        limit = platform.option(option)
        if limit is not None:
            sentences.append(f"{limit} a {span} from all of them")
    return ", ".join(sentences)


def pause_of(platform: CpaasPlatform) -> str:
    """Until when the carrier wants no texts, "" when it takes them."""
    if platform.paused_until is None or platform.paused_until <= clock.now():
        return ""
    return f"The carrier asked to wait until {local(platform.paused_until)}; texts go out then."


def _words(said: StopEvidence) -> str:
    return said.keyword or f"Carrier error {said.carrier_code}"
