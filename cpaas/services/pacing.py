"""How fast a number may send: so many segments a minute, over any number of dispatchers (GCRA on one row a number)."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from cpaas.models import NumberPace
from portal.sql import execute

_WINDOW = timedelta(minutes=1)
_MOVE = """
    INSERT INTO cpaas_numberpace (number_id, arrival_at) VALUES {rows}
    ON CONFLICT (number_id) DO UPDATE SET arrival_at = excluded.arrival_at
"""


def take_pace(wanted: Sequence[tuple[uuid.UUID, int, int]], now: datetime) -> list[datetime | None]:
    """For each (number id, segments, segments a minute) in turn: None when it may go now, else when to ask again.

    A minute's worth may go at once, after that one segment per minute / rate. Runs in the caller's transaction.
    """
    keys = sorted({number_id for number_id, _, _ in wanted})
    known = NumberPace.objects.select_for_update().filter(pk__in=keys).order_by("pk")
    arrivals = {row.number_id: row.arrival_at for row in known}
    answers: list[datetime | None] = []
    refused: Counter[uuid.UUID] = Counter()
    for number_id, segments, rate in wanted:
        arrival = max(arrivals.get(number_id, now), now)
        if arrival - now > _WINDOW - _WINDOW / rate:
            # One behind the other, or a long queue of one number would be asked about again and again.
            refused[number_id] += segments
            answers.append(arrival - _WINDOW + refused[number_id] * _WINDOW / rate)
            continue
        arrivals[number_id] = arrival + segments * _WINDOW / rate
        answers.append(None)
    moved = [value for key in keys if key in arrivals for value in (key, arrivals[key])]
    if moved:
        execute(_MOVE.format(rows=", ".join(["(%s, %s)"] * (len(moved) // 2))), moved)
    return answers
