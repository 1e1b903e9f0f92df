"""Inbound texts that we were never told of: fetched from carriers that tell once and never again (R37)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from cpaas import transport
from cpaas.carriers.base import CarrierError, InboundText, ListedText, ListsInbound
from cpaas.carriers.registry import CARRIERS
from cpaas.models import CpaasNumber, CpaasPlatform, Message
from cpaas.services.inbound import SAME_TEXT, receive_text
from portal import clock
from portal.background import few_at_once
from portal.events import News
from portal.logs import get_logger

logger = get_logger(__name__)
# How far the carrier's clock may be from ours.
_OVERLAP = timedelta(minutes=10)
# After a longer absence a person has to look.
_LONGEST = timedelta(days=7)
_AT_ONCE = 8


@few_at_once(1)
def fetch_missed() -> int:
    """Ask every platform whose carrier can say for what came in since it was last asked; returns how many were missing.

    Doubled runs are harmless: a text is stored once by its number and id. A carrier that is away is asked next time,
    for all the time since, and keeps nobody else waiting.
    """
    listing = [code for code, carrier in CARRIERS.items() if isinstance(carrier, ListsInbound)]
    used = CpaasNumber.objects.values("platform_id")
    platforms = CpaasPlatform.objects.filter(carrier__in=listing, pk__in=used).order_by("id")
    asked_at = clock.now()
    # Threads that only talk to carriers and never to the database.
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = {pool.submit(_question(platform, asked_at)): platform for platform in platforms}
        return sum(_fetch(asked[answer], answer, asked_at) for answer in as_completed(asked))


def _question(platform: CpaasPlatform, asked_at: datetime) -> Callable[[], list[ListedText]]:
    """What asks the carrier of a platform; all that it needs of the database is read before."""
    carrier, account = CARRIERS[platform.carrier], platform.account()
    assert isinstance(carrier, ListsInbound)
    since = max((platform.inbound_listed_at or platform.created_at) - _OVERLAP, asked_at - _LONGEST)
    return lambda: transport.run(carrier.list_inbound(account, since))


def _fetch(platform: CpaasPlatform, answer: Future[list[ListedText]], asked_at: datetime) -> int:
    try:
        listed = answer.result()
    except CarrierError as error:
        logger.warning("inbound_not_listed", platform=str(platform.pk), error=error.code)
        return 0
    numbers = dict(CpaasNumber.objects.filter(platform=platform).values_list("number", "created_at"))
    missed = sum(_take_in(platform.pk, text) for text in _worth_taking(listed, numbers))
    CpaasPlatform.objects.filter(pk=platform.pk).update(inbound_listed_at=asked_at)
    if missed:
        logger.warning("missed_texts_fetched", platform=str(platform.pk), count=missed)
    return missed


def _worth_taking(listed: Iterable[ListedText], numbers: Mapping[str, datetime]) -> list[InboundText]:
    """Oldest first, of our numbers and since they are ours; of what the network delivered several times one, and none
    when we have one of them already."""
    groups: list[list[ListedText]] = []
    last: dict[tuple[str, tuple[str, ...], str], list[ListedText]] = {}
    for each in sorted(listed, key=lambda each: each.at):
        if not all(own in numbers and each.at >= numbers[own] for own in each.text.recipients):
            continue
        group = last.get(content := (each.text.sender, each.text.recipients, each.text.text))
        if group is not None and each.at - group[-1].at <= SAME_TEXT:
            group.append(each)
        else:
            groups.append(group := [each])
        last[content] = group
    # By the carrier's clock they are no repetitions; by ours, which sees them all at once, they would look like it.
    return [replace(group[0].text, renamed_when_repeated=False) for group in groups if not _is_known(group)]


def _is_known(group: Sequence[ListedText]) -> bool:
    """Whether one of several is stored; of a single one that is seen when it is stored."""
    if len(group) == 1:
        return False
    sids, own = [each.text.sid for each in group], group[0].text.recipients
    return Message.objects.filter(number__number__in=own, direction="in", sid__in=sids).exists()


def _take_in(platform_id: uuid.UUID, text: InboundText) -> bool:
    """Store the text unless it is there already; whether it was missing."""
    try:
        with transaction.atomic():
            news = News()
            state = receive_text(platform_id=platform_id, text=text, news=news, at=clock.now())
            news.write()
    except IntegrityError:
        return False  # its webhook came just now
    return state == "applied"
