"""What the dispatcher does besides sending: expiry, look-ups of unknown texts, platforms that are away (R32, R34)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from cpaas.carriers.base import CarrierAccount, LookUp, LookUpMatch, Receipt
from cpaas.models import Attempt, Conversation, CpaasPlatform
from cpaas.services.attempts import check_time, lock_conversations, move_attempt
from cpaas.services.parts import open_parts
from cpaas.services.receipts import settle_attempt
from cpaas.states import MessageStatus
from portal import clock
from portal.events import News, wake

PROBE_EVERY = timedelta(seconds=15)
# A carrier that asks for more is asked again then.
LONGEST_PAUSE = timedelta(hours=1)
_BATCH = 200
# Asked side by side; a carrier that hangs takes 20 s for each.
_LOOK_UPS_AT_ONCE = 20
# A record of the carrier this far from our own time of sending is another text.
_SAME_TEXT = timedelta(minutes=2)
_OPEN = (MessageStatus.UNKNOWN, MessageStatus.SENT)


def expire_due() -> int:
    """Fail what waited longer than its platform allows (R34); returns how many texts."""
    due = Attempt.objects.filter(status=MessageStatus.QUEUED, expires_at__lte=clock.now())
    return sum(_expire(due, key) for key in list(due.order_by("expires_at").values_list("pk", flat=True)[:_BATCH]))


def _expire(due: QuerySet[Attempt], attempt_id: uuid.UUID) -> bool:
    with transaction.atomic():
        # Locked and looked at again: a dispatcher may just have begun to send it.
        attempt = due.select_for_update().filter(pk=attempt_id).first()
        if attempt is None:
            return False
        news = News()
        sentence = "It waited too long to be sent."
        moved = move_attempt(attempt, MessageStatus.FAILED, news, error_code="expired", error_text=sentence)
        news.write()
    return moved


def mark_unreachable(platform_id: uuid.UUID) -> None:
    """The platform could not be reached: its texts wait and it is probed, at once and then every 15 s (R32)."""
    CpaasPlatform.objects.filter(pk=platform_id, reachable=True).update(reachable=False, probe_at=clock.now())


def pause_platform(platform_id: uuid.UUID, seconds: float) -> None:
    """The carrier asked for so long a pause: until then the platform is passed over (fairness.py). The longest one
    counts."""
    until = clock.now() + min(timedelta(seconds=seconds), LONGEST_PAUSE)
    shorter = Q(paused_until=None) | Q(paused_until__lt=until)
    CpaasPlatform.objects.filter(shorter, pk=platform_id).update(paused_until=until)


@dataclass(frozen=True)
class Probe:
    """A platform to ask whether it answers again."""

    platform_id: uuid.UUID
    carrier: str
    account: CarrierAccount


def claim_probes() -> list[Probe]:
    """The platforms that are away and due to be asked, each for one dispatcher."""
    now = clock.now()
    due = CpaasPlatform.objects.filter(reachable=False, probe_at__lte=now)
    return [
        Probe(platform.pk, platform.carrier, platform.account())
        for platform in due
        if due.filter(pk=platform.pk).update(probe_at=now + PROBE_EVERY)
    ]


def mark_reachable(platform_id: uuid.UUID) -> None:
    """The platform answers again: what waits for it goes at once (R32).

    A claim that is under way may still put texts off because the platform was away. Both sides look again after their
    own commit, so whoever commits last sees the other.
    """
    if CpaasPlatform.objects.filter(pk=platform_id, reachable=False).update(reachable=True, probe_at=None):
        wake_waiting(platform_id)


def wake_waiting(platform_id: uuid.UUID) -> None:
    """Let what waits for the platform go at once."""
    with transaction.atomic():
        here = Attempt.objects.filter(conversation_id=OuterRef("pk"), platform_id=platform_id)
        waiting = Conversation.objects.filter(
            Exists(here.filter(status=MessageStatus.QUEUED)),
            ~Exists(here.filter(status=MessageStatus.SENDING)),
            outbox_at__gt=clock.now(),
        )
        found = lock_conversations(waiting)
        Conversation.objects.filter(pk__in=found).update(outbox_at=clock.now())
        transaction.on_commit(lambda: wake("dispatch"), robust=True)


@dataclass(frozen=True)
class DueLookUp:
    """A text, or one of its messages, whose carrier is to be asked for its fate."""

    attempt_id: uuid.UUID
    carrier: str
    account: CarrierAccount
    query: LookUp


def claim_look_ups() -> list[DueLookUp]:
    """The texts that are due for a look-up, each for one dispatcher; sets when the next one is due.

    Those of unknown fate, and those sent through a carrier whose receipts get lost.
    """
    now = clock.now()
    due = Attempt.objects.filter(status__in=_OPEN, next_check_at__lte=now)
    found = due.select_related("message__number__platform").order_by("next_check_at")[:_LOOK_UPS_AT_ONCE]
    claimed = []
    for attempt in found:
        sent_at = attempt.sending_at or attempt.created_at
        after = check_time(sent_at, attempt.checks + 1)
        if not due.filter(pk=attempt.pk, checks=attempt.checks).update(checks=attempt.checks + 1, next_check_at=after):
            continue
        number = attempt.message.number
        for sid in open_parts(attempt):
            query = LookUp(number.number, attempt.message.remote, sent_at, sid)
            claimed.append(DueLookUp(attempt.pk, number.platform.carrier, number.platform.account(), query))
    return claimed


def store_look_up(attempt_id: uuid.UUID, matches: list[LookUpMatch], sid: str = "") -> bool:
    """Settle a text, or its message `sid`, by the carrier's records; False when they leave it open.

    Records without ids are told apart by time. When several texts to the same party are as near, none is settled:
    better unknown than wrong.
    """
    with transaction.atomic():
        attempt = Attempt.objects.filter(pk=attempt_id, status__in=_OPEN).first()
        if attempt is None:
            return False
        match = next((match for match in matches if sid and match.sid == sid), None) or _the_one(attempt, matches)
        if match is None or match.status is None:
            return False
        news = News()
        said = match.error_text
        if attempt.status == MessageStatus.UNKNOWN or match.status in ("failed", "undelivered"):
            said = said or f"The carrier says: {match.word}"
        receipt = Receipt(match.sid, match.status, match.word, match.error_code, said)
        moved = settle_attempt(attempt, receipt, news)
        news.write()
    return moved


def _the_one(attempt: Attempt, matches: list[LookUpMatch]) -> LookUpMatch | None:
    sent_at = attempt.sending_at or attempt.created_at
    near = [match for match in matches if abs(match.at - sent_at) <= _SAME_TEXT]
    others = Attempt.objects.filter(
        conversation_id=attempt.conversation_id,
        sending_at__gte=sent_at - _SAME_TEXT,
        sending_at__lte=sent_at + _SAME_TEXT,
    ).exclude(pk=attempt.pk)
    return near[0] if len(near) == 1 and not others.exists() else None
