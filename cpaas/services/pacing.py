"""How fast numbers and platforms may send: so many segments a minute, over any number of dispatchers (GCRA on one row
each)."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cpaas.models import NumberPace
from portal.sql import execute

_WINDOW = timedelta(minutes=1)
_MOVE = """
    INSERT INTO cpaas_numberpace (number_id, arrival_at) VALUES {rows}
    ON CONFLICT (number_id) DO UPDATE SET arrival_at = excluded.arrival_at
"""


class Bucket(NamedTuple):
    """What is paced, a number or a platform by its id, and how many segments a minute it may send."""

    owner_id: uuid.UUID
    rate: int


def take_pace(wanted: Sequence[tuple[int, Sequence[Bucket]]], now: datetime) -> list[datetime | None]:
    """For each (segments, the buckets they come out of) in turn: None when it may go now, else when to ask again.

    A minute's worth may go at once, after that one segment per minute / rate. Runs in the caller's transaction.
    """
    keys = sorted({bucket.owner_id for _, buckets in wanted for bucket in buckets})
    known = NumberPace.objects.select_for_update().filter(pk__in=keys).order_by("pk")
    arrivals = dict.fromkeys(keys, now) | {row.number_id: max(row.arrival_at, now) for row in known}
    answers: list[datetime | None] = []
    moved: set[uuid.UUID] = set()
    refused: Counter[uuid.UUID] = Counter()
    for segments, buckets in wanted:
        empty = [bucket for bucket in buckets if arrivals[bucket.owner_id] - now > _WINDOW - _WINDOW / bucket.rate]
        # One behind the other, or a long queue would be asked about again and again.
        refused.update({bucket.owner_id: segments for bucket in empty})
        if empty:
            answers.append(max(_turn(bucket, arrivals, refused) for bucket in empty))
            continue
        for bucket in buckets:
            arrivals[bucket.owner_id] += segments * _WINDOW / bucket.rate
            moved.add(bucket.owner_id)
        answers.append(None)
    values = [value for key in sorted(moved) for value in (key, arrivals[key])]
    if values:
        execute(_MOVE.format(rows=", ".join(["(%s, %s)"] * len(moved))), values)
    return answers


def _turn(bucket: Bucket, arrivals: Mapping[uuid.UUID, datetime], refused: Mapping[uuid.UUID, int]) -> datetime:
    """When the last of those that were refused may go."""
    return arrivals[bucket.owner_id] - _WINDOW + refused[bucket.owner_id] * _WINDOW / bucket.rate
