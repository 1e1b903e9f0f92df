"""Where presence comes from. Sources report, `merge` decides, and nobody else knows which sources there are.

A shared source says the same of a user whoever looks: own clients, and SIP connectors and CTI links, which keep what
they hear in rows of their own with a time until which it holds, so that a connector that dies is believed no longer,
and read those here. A source by pairs shows each viewer something else: XMPP presence is seen by whoever holds an
accepted subscription. Sources only read. Whoever changes what one of them reads calls `tell_presence_changed`.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from presence.merge import Report

# (who looks, whom at). Nobody in particular looks (None) on the staff site: a source shows what any viewer would see.
Pair = tuple[uuid.UUID | None, uuid.UUID]


class PairSource(Protocol):
    def reports(self, pairs: Collection[Pair]) -> Mapping[Pair, Sequence[Report]]:
        """What each of these pairs is shown, in as many queries as for one; pairs with nothing are left out."""


class SharedSource(Protocol):
    def reports_of(self, user_ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, Sequence[Report]]:
        """What everybody is shown of each of these users, in as many queries as for one."""


_pair_sources: list[PairSource] = []
_shared_sources: list[SharedSource] = []


def register_source(source: PairSource) -> None:
    _pair_sources.append(source)


def register_shared_source(source: SharedSource) -> None:
    _shared_sources.append(source)


def shared_reports(user_ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, list[Report]]:
    """What the shared sources report of these users."""
    found: dict[uuid.UUID, list[Report]] = defaultdict(list)
    for source in _shared_sources if user_ids else ():
        for user_id, reports in source.reports_of(user_ids).items():
            found[user_id] += reports
    return found


def pair_reports(pairs: Collection[Pair]) -> Mapping[Pair, list[Report]]:
    """What the sources by pairs report; most pairs have nothing."""
    found: dict[Pair, list[Report]] = defaultdict(list)
    for source in _pair_sources if pairs else ():
        for pair, reports in source.reports(pairs).items():
            found[pair] += reports
    return found
