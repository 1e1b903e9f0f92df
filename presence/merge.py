"""From what the sources report to the one presence of a user, and why it is that (R17). Nothing here asks anybody.

What users say of themselves (`OWN`) stands in place of their rich sources, and hides neither a call nor a diversion.
An open client of ours alone says little (`implied`), so it counts beside the rich sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from presence.states import RANK, Detail, Status

_EVER = datetime.min.replace(tzinfo=UTC)
_RULES = {
    Status.DND: "this goes before everything else",
    Status.FORWARDED_VOICEMAIL: "a diverted telephone goes before busy and available",
    Status.FORWARDED_NUMBER: "a diverted telephone goes before busy and available",
    Status.BUSY: "busy goes before away and available",
    Status.AWAY: "away goes before available",
    Status.AVAILABLE: "one source that is available is enough",
    Status.OFFLINE: "all sources that know the user are offline",
}
_NO_STANDARD = "no source knows how the user is"


class Kind(StrEnum):
    OWN = "own"
    RICH = "rich"
    TELEPHONY = "telephony"


@dataclass(frozen=True, slots=True)
class Report:
    """What one source says of a user.

    `source` is its name as people read it. `message` is the user's own text (own and rich), `detail` what the telephone
    does and `forwarded_to` where it is diverted to (telephony). `preferred`: goes before others of its kind, as the
    Preferred Presence Server (S3.24) and CTI before SIP (S3.33). `implied`: follows from an open client, nobody said
    it. `at` is when it became so, None: not known.
    """

    kind: Kind
    source: str
    status: Status
    message: str = ""
    detail: Detail | None = None
    forwarded_to: str = ""
    preferred: bool = False
    implied: bool = False
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Presence:
    """The merged state. `rich` and `telephony` are what counts of each kind, None when nobody reports it; an own status
    is shown as rich. `why` are sentences, the rule that won first."""

    status: Status
    message: str
    rich: Report | None
    telephony: Report | None
    why: tuple[str, ...]


def merge(reports: Iterable[Report]) -> Presence:
    """The presence that these reports make together, in whatever order they come."""
    found = sorted(reports, key=_newest_first, reverse=True)
    own = _first(found, lambda report: report.kind == Kind.OWN and not report.implied)
    client = _first(found, lambda report: report.implied)
    server = _choose([report for report in found if report.kind == Kind.RICH])
    telephony = _telephony([report for report in found if report.kind == Kind.TELEPHONY])
    rich = own or _stronger(server, client)
    winner = _stronger(rich, telephony)
    if winner is None:
        return Presence(Status.NOT_REQUESTED, "", None, None, ("Not requested by anyone: no source reports.",))
    others = (report for report in found if not _says_the_same(report, winner))
    why = [_rule(winner), *(_sentence(report, rich, telephony, own) for report in others)]
    return Presence(winner.status, rich.message if rich else "", rich, telephony, tuple(why))


def _newest_first(report: Report) -> tuple[object, ...]:
    """Sorts by time, then by all else, so that the order in which reports came in never decides."""
    words = (report.status, report.source, report.message, report.detail or "", report.forwarded_to)
    return report.at or _EVER, *words, report.preferred, report.implied


def _first(reports: Sequence[Report], fits: Callable[[Report], bool]) -> Report | None:
    return next((report for report in reports if fits(report)), None)


def _choose(reports: Sequence[Report]) -> Report | None:
    """The rich source that counts: one with a standard word, the preferred, the newest; else the strongest error."""
    standard = [report for report in reports if report.status.is_standard]
    if not standard:
        return min(reports, key=_rank, default=None)
    return _first(standard, lambda report: report.preferred) or standard[0]


def _telephony(reports: Sequence[Report]) -> Report | None:
    """All lines of the source that counts together: the strongest state, with the strongest thing any of them does."""
    standard = [_in_call(report) for report in reports if report.status.is_standard]
    counting = [report for report in standard if report.preferred] or standard
    if not counting:
        return min(reports, key=_rank, default=None)
    strongest = min(counting, key=_rank)
    does = {report.detail for report in counting}
    return replace(strongest, detail=next((detail for detail in Detail if detail in does), None))


def _in_call(report: Report) -> Report:
    """In a live call a telephone is busy, unless it is diverted or not to be disturbed."""
    if report.detail is None or RANK[report.status] <= RANK[Status.BUSY]:
        return report
    return replace(report, status=Status.BUSY)


def _stronger(one: Report | None, other: Report | None) -> Report | None:
    """By the order of R17; the first when they are equal."""
    return min((report for report in (one, other) if report), key=_rank, default=None)


def _rank(report: Report) -> int:
    return RANK[report.status]


def _says_the_same(report: Report, winner: Report) -> bool:
    """Whether the winner's sentence says it already."""
    said = _in_call(report) if report.kind == Kind.TELEPHONY else report
    return (said.kind, said.source, said.status, said.implied) == (
        winner.kind,
        winner.source,
        winner.status,
        winner.implied,
    )


# --- Sentences ---------------------------------------------------------------------------------------------------
def _rule(winner: Report) -> str:
    rule = _RULES.get(winner.status, _NO_STANDARD)
    return f"{winner.status.label}, {_who(winner)}: {rule}."


def _sentence(report: Report, rich: Report | None, telephony: Report | None, own: Report | None) -> str:
    """What a report that did not win says, and why it does not count at all, if so."""
    said = f"{report.status.label}, {_who(report)}"
    if report.kind == Kind.TELEPHONY:
        replaced = telephony is not None and telephony.preferred and not report.preferred
        return f"{said}; another telephony source goes before it." if replaced else f"{said}."
    if own is not None and report is not own:
        return f"{said}; the user's own status stands in its place."
    if report.kind == Kind.RICH and rich is not None and rich.kind == Kind.RICH and report is not rich:
        reason = "the preferred server" if rich.preferred and not report.preferred else f"{rich.source}"
        return f"{said}; {reason} goes before it."
    return f"{said}."


def _who(report: Report) -> str:
    if report.implied:
        return "no client of the user is open" if report.status == Status.OFFLINE else "a client of the user is open"
    if report.kind == Kind.OWN:
        return "set by the user"
    if report.kind == Kind.RICH:
        return f"says {report.source}"
    does = f", {report.detail.replace('_', ' ')}" if report.detail else ""
    return f"says the telephone ({report.source}){does}"
