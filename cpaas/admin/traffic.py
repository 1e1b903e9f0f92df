"""The chart of traffic, drawn as SVG here: no script, readable by a screen reader, in the colours of the theme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from django.utils.formats import date_format

from cpaas.services.traffic import Counts

# The drawing is stretched to the width there is; all words stand beside it as text.
STEP, HEIGHT, GAP = 10, 100.0, 2
KINDS = (("received", "Received"), ("sent", "Sent"), ("failed", "Not delivered"))


@dataclass(frozen=True)
class Bar:
    """A rectangle of the drawing; y counts from the top."""

    kind: str
    x: int
    y: float
    height: float


@dataclass(frozen=True)
class Day:
    """A day's column and what is said of it."""

    day: date
    counts: Counts
    x: int
    bars: list[Bar]


@dataclass(frozen=True)
class Chart:
    """The columns, oldest first, and the scale beside them. `top` is the number at the upper edge."""

    days: list[Day]
    total: Counts
    top: int
    summary: str

    @property
    def width(self) -> int:
        return STEP * len(self.days)

    @property
    def half(self) -> int:
        return self.top // 2

    @property
    def labels(self) -> list[date]:
        """First, middle and last day."""
        return [self.days[0].day, self.days[len(self.days) // 2].day, self.days[-1].day]


def draw(traffic: Mapping[date, Counts]) -> Chart:
    """The chart of the given days, oldest first."""
    total = Counts()
    for counts in traffic.values():
        total.add(counts)
    top = _scale(max(counts.total for counts in traffic.values()))
    days = [_day(place, day, counts, top) for place, (day, counts) in enumerate(traffic.items())]
    return Chart(days, total, top, _summary(traffic, total))


def _day(place: int, day: date, counts: Counts, top: int) -> Day:
    bars, below = [], HEIGHT
    for kind, _ in KINDS:
        height = HEIGHT * getattr(counts, kind) / top
        below -= height
        if height:
            bars.append(Bar(kind, place * STEP + GAP // 2, below, height))
    return Day(day, counts, place * STEP, bars)


def _scale(largest: int) -> int:
    """The first of 2, 4, 10, 20, 40, 100 … that is not smaller; even, so that half of it is a number, too."""
    power = 1
    while 10 * power < largest:
        power *= 10
    return next(step * power for step in (2, 4, 10) if step * power >= largest)


def _summary(traffic: Mapping[date, Counts], total: Counts) -> str:
    """The chart in a sentence."""
    busiest = max(traffic, key=lambda day: traffic[day].total)
    if not total.total:
        return f"No texts in the last {len(traffic)} days."
    return (
        f"Texts of the last {len(traffic)} days: {total.received} received, {total.sent} sent, {total.failed} not "
        f"delivered. The busiest day was {date_format(busiest, 'DATE_FORMAT')} with {traffic[busiest].total}."
    )
