"""Claiming texts for the wire: which conversation's head goes next, and what no longer may go (R32–R35).

A conversation with something to send has `outbox_at`. `reserve_texts` moves it a little ahead and looks at the
conversation's first waiting attempt: a hint that nobody else need look now, so that a dispatcher has texts ready when a
place becomes free. Nothing is lost or doubtful when it dies with them, others look again a moment later. `begin_texts`
is the claim: it commits attempts that still wait as `sending`, just before the request. From then on a text is either
settled by the answer, or, when its dispatcher is dead, made `unknown` by another one, never sent again.

No row with a foreign key is updated twice in one transaction: PostgreSQL would then check the key again at commit, and
so wait for the number, which others lock before conversations.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db import connection, transaction

from cpaas.carriers.base import CarrierAccount, OutboundText
from cpaas.models import Attempt, Conversation, CpaasPlatform
from cpaas.services.attachments import mms_urls
from cpaas.services.attempts import move_attempt
from cpaas.services.fairness import lock_due
from cpaas.services.pacing import Bucket, take_pace
from cpaas.services.sweeping import wake_waiting
from cpaas.states import OPT_IN_USABLE, MessageStatus, NumberStatus
from portal import clock
from portal.events import News
from portal.models import Licence
from portal.sql import as_time, as_uuid, execute_for

# How long a text may lie ready; others look at it again then.
RESERVATION = timedelta(seconds=min(2.0, settings.LEASE_TTL_S / 2))
# Longer than the longest exchange with a carrier, so that a live dispatcher always settles its own texts.
LEASE = timedelta(seconds=settings.CARRIER_TIMEOUT_S + 30)
# So often a claim that found nothing to send among as many conversations as it asked for looks further.
_LOOKS = 20
# A platform that cannot be reached wakes its conversations itself; this is only the net below it.
UNREACHABLE_WAIT = timedelta(minutes=5)

_LOOK_AT = "UPDATE cpaas_conversation SET outbox_at = %(at)s WHERE id {among}"
# With the conditions of `_refusal`: what it would refuse by now stays as it is, and is refused at the next look.
_BEGIN = """
    UPDATE cpaas_attempt SET status = 'sending', claim = %(claim)s, sending_at = %(now)s, changed_at = %(now)s,
        tries = tries + 1
    WHERE status = 'queued' AND {chosen} AND expires_at > %(now)s AND EXISTS (
        SELECT 1 FROM cpaas_message JOIN cpaas_cpaasnumber ON cpaas_cpaasnumber.id = cpaas_message.number_id
        LEFT JOIN portal_enduser ON portal_enduser.id = cpaas_cpaasnumber.user_id
        WHERE cpaas_message.id = cpaas_attempt.message_id AND cpaas_message.status <> 'delivered'
        AND cpaas_cpaasnumber.status = 'enabled' AND cpaas_cpaasnumber.opt_in_state IN ('accepted', 'not_required')
        AND (portal_enduser.id IS NULL OR portal_enduser.is_active AND portal_enduser.licence <> 'none')
        AND NOT {stopped}
    ) RETURNING id, message_id
"""
# The one automatic answer to a stop may still go (R20).
_STOPPED = """EXISTS (
    SELECT 1 FROM cpaas_stop s WHERE s.system_provider_id = {number}.system_provider_id AND s.tn = {number}.number
    AND s.remote = {message}.remote AND s.stopped AND (s.reply_id IS NULL OR s.reply_id <> {message}.id)
)"""
_BEGIN_STOPPED = _STOPPED.format(number="cpaas_cpaasnumber", message="cpaas_message")
# A receipt for an older attempt may just have said that it is delivered, and that wins (R21).
_SHOW_SENDING = "UPDATE cpaas_message SET status = 'sending' WHERE status <> 'delivered' AND {chosen}"
# On PostgreSQL in one round trip: a place stays empty meanwhile.
_AT_ONCE = "WITH begun AS ({begin}), shown AS ({show}) SELECT id FROM begun"
_BEGIN_AND_SHOW = _AT_ONCE.format(
    begin=_BEGIN.format(chosen="cpaas_attempt.id {among}", stopped=_BEGIN_STOPPED),
    show=_SHOW_SENDING.format(chosen="id IN (SELECT message_id FROM begun)"),
)
# The first waiting attempt of each conversation, in the order of the fields of `Head`.
_HEADS = f"""
    SELECT a.id, a.status, a.tries, a.sending_at, a.expires_at, a.platform_id, a.conversation_id, a.message_id,
        m.status, m.kind, m.text, m.segments, m.remote, n.id, n.number, n.status, n.opt_in_state, u.licence,
        u.is_active, {_STOPPED.format(number="n", message="m")}
    FROM (
        SELECT *, row_number() OVER (PARTITION BY conversation_id ORDER BY position) AS place
        FROM cpaas_attempt WHERE status IN ('queued', 'sending') AND conversation_id {{among}}
    ) a
    JOIN cpaas_message m ON m.id = a.message_id
    JOIN cpaas_cpaasnumber n ON n.id = m.number_id
    LEFT JOIN portal_enduser u ON u.id = n.user_id
    WHERE a.place = 1
"""  # noqa: S608 - made of constants


@dataclass(frozen=True)
class Claimed:
    """A text for the dispatcher that calls itself `claim`: to begin with until `reserved_until`, and once begun its own
    to hand over, once. `claim` then stands in the WHERE of what is written about it.
    """

    attempt_id: uuid.UUID
    message_id: uuid.UUID
    conversation_id: uuid.UUID
    platform_id: uuid.UUID
    claim: uuid.UUID
    tries: int
    carrier: str
    account: CarrierAccount
    text: OutboundText
    reserved_until: datetime


class Head(NamedTuple):
    """The first waiting attempt of a conversation, with what decides whether it may go (`_HEADS`)."""

    attempt_id: uuid.UUID
    status: str
    tries: int
    sending_at: datetime | None
    expires_at: datetime
    platform_id: uuid.UUID
    conversation_id: uuid.UUID
    message_id: uuid.UUID
    message_status: str
    kind: str
    text: str
    segments: int
    remote: str
    number_id: uuid.UUID
    number: str
    number_status: str
    opt_in_state: str
    licence: str | None
    user_is_active: bool | None
    is_stopped: bool

    @property
    def given_up_at(self) -> datetime:
        """When the lease of a text that is being sent runs out."""
        assert self.sending_at is not None
        return self.sending_at + LEASE


def reserve_texts(limit: int, claim: uuid.UUID, passed: Collection[uuid.UUID] = ()) -> list[Claimed]:
    """Look for up to `limit` texts that the dispatcher `claim` may begin, at most one of a conversation and none of the
    platforms `passed` over.

    Settles on the way what must not be sent any more.
    """
    for _ in range(_LOOKS):
        looked_at, reserved = _reserve_once(limit, claim, passed)
        if reserved or looked_at < limit:
            return reserved
    return []


def begin_texts(reserved: Sequence[Claimed]) -> list[Claimed]:
    """Commit as `sending` what still waits and still may go (R33); returns what is now to be handed over, each once.

    Whoever begins a text alone sends it, however old its reservation is.
    """
    if not reserved:
        return []
    # The same text may have been reserved twice.
    texts = {text.attempt_id: text for text in reserved}
    values = {"claim": reserved[0].claim, "now": clock.now()}
    if connection.vendor == "postgresql":
        begun = [as_uuid(row[0]) for row in execute_for(_BEGIN_AND_SHOW, list(texts), values)]
    else:
        begun = _begin_step_by_step(values, list(texts))
    release_texts(texts[key] for key in texts.keys() - set(begun))
    return [texts[key] for key in begun]


def release_texts(reserved: Iterable[Claimed]) -> None:
    """Let others look at once at conversations whose reserved text is not begun after all."""
    for text in reserved:
        still_ours = Conversation.objects.filter(pk=text.conversation_id, outbox_at=text.reserved_until)
        still_ours.update(outbox_at=clock.now())


def _begin_step_by_step(values: Mapping[str, Any], attempts: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """For SQLite, which has no statement that updates two tables."""
    with transaction.atomic():
        begun = execute_for(_BEGIN.format(chosen="id {among}", stopped=_BEGIN_STOPPED), attempts, values)
        if begun:
            execute_for(_SHOW_SENDING.format(chosen="id {among}"), [as_uuid(row[1]) for row in begun], {})
    return [as_uuid(row[0]) for row in begun]


def _reserve_once(limit: int, claim: uuid.UUID, passed: Collection[uuid.UUID]) -> tuple[int, list[Claimed]]:
    """How many conversations were due, and the texts that may go."""
    now = clock.now()
    until = now + RESERVATION
    with transaction.atomic():
        conversations = lock_due(limit, now, passed)
        if not conversations:
            return 0, []
        heads = _heads(conversations)
        platforms = CpaasPlatform.objects.in_bulk({head.platform_id for head in heads})
        away = [key for key, platform in platforms.items() if not platform.reachable]
        due_at: dict[uuid.UUID, datetime | None] = dict.fromkeys(conversations)
        news = News()
        sendable = _sort_out(heads, platforms, due_at, now, news)
        due_at |= {head.conversation_id: until for head in sendable}
        _set_due(due_at)
        news.write()
    for key in CpaasPlatform.objects.filter(pk__in=away, reachable=True).values_list("pk", flat=True) if away else ():
        wake_waiting(key)  # it came back while we put its texts off
    accounts = {key: platform.account() for key, platform in platforms.items()}
    files = mms_urls(head.message_id for head in sendable if head.kind == "mms")
    return len(conversations), [_claimed(head, platforms, accounts, files, claim, until) for head in sendable]


def _heads(conversations: Sequence[uuid.UUID]) -> list[Head]:
    """The first waiting attempt of each conversation."""
    heads = [Head(*row) for row in execute_for(_HEADS, conversations, {})]
    return heads if connection.vendor == "postgresql" else [_typed(head) for head in heads]


def _typed(head: Head) -> Head:
    """With the types that SQLite has no columns of."""
    return head._replace(
        attempt_id=as_uuid(head.attempt_id),
        sending_at=None if head.sending_at is None else as_time(head.sending_at),
        expires_at=as_time(head.expires_at),
        platform_id=as_uuid(head.platform_id),
        conversation_id=as_uuid(head.conversation_id),
        message_id=as_uuid(head.message_id),
        number_id=as_uuid(head.number_id),
    )


def _sort_out(
    heads: Sequence[Head],
    platforms: Mapping[uuid.UUID, CpaasPlatform],
    due_at: dict[uuid.UUID, datetime | None],
    now: datetime,
    news: News,
) -> list[Head]:
    """The heads that may go now. `due_at` gets when to look at the other conversations again; None: nothing waits."""
    candidates = []
    for head in heads:
        conversation_id, platform = head.conversation_id, platforms[head.platform_id]
        refusal = _refusal(head, now)
        if head.status == MessageStatus.SENDING and now < head.given_up_at:
            due_at[conversation_id] = head.given_up_at
        elif head.status == MessageStatus.SENDING:
            # The lease ran out under a dispatcher that died or hangs: it may have been taken (R32).
            _settle(head, MessageStatus.UNKNOWN, "", "It is not known whether the carrier took this text.", news)
            due_at[conversation_id] = now
        elif refusal is not None:
            _settle(head, MessageStatus.FAILED, *refusal, news)
            due_at[conversation_id] = now
        elif platform.paused_until is not None and platform.paused_until > now:
            due_at[conversation_id] = min(platform.paused_until, head.expires_at)
        elif not platform.reachable:
            due_at[conversation_id] = min(now + UNREACHABLE_WAIT, head.expires_at)
        else:
            candidates.append(head)
    return _paced(candidates, platforms, due_at, now)


def _paced(
    candidates: Sequence[Head],
    platforms: Mapping[uuid.UUID, CpaasPlatform],
    due_at: dict[uuid.UUID, datetime | None],
    now: datetime,
) -> list[Head]:
    """Hold back what would exceed the rate of its number or platform, in segments a minute."""
    rates = {key: platform.option("per_number_per_minute") for key, platform in platforms.items()}
    of_platform = {key: _bucket_of(platform) for key, platform in platforms.items()}
    wanted = [
        (head.segments, [Bucket(head.number_id, rates[head.platform_id]), *of_platform[head.platform_id]])
        for head in candidates
    ]
    allowed = []
    for head, wait_until in zip(candidates, take_pace(wanted, now), strict=True):
        if wait_until is None:
            allowed.append(head)
        else:
            due_at[head.conversation_id] = wait_until
    return allowed


def _bucket_of(platform: CpaasPlatform) -> list[Bucket]:
    """The platform's own, when there is a limit on its whole traffic."""
    rate = platform.option("per_platform_per_minute")
    return [] if rate is None else [Bucket(platform.pk, rate)]


def _refusal(head: Head, now: datetime) -> tuple[str, str] | None:
    """Why a text that was accepted must not be sent any more: the code of the API and a sentence (R33, R34)."""
    licence, active = head.licence, head.user_is_active
    if head.expires_at <= now:
        return "expired", "It waited too long to be sent."
    if head.message_status == MessageStatus.DELIVERED:
        return "already_delivered", "An earlier attempt was delivered meanwhile."
    if head.number_status != NumberStatus.ENABLED:
        return "number_not_enabled", "The number is no longer enabled for text messaging."
    if head.opt_in_state not in OPT_IN_USABLE:
        code = "opt_in_declined" if head.opt_in_state == "declined" else "opt_in_pending"
        return code, "Text messaging for this number is no longer confirmed."
    if licence is not None and (licence == Licence.NONE or not active):
        return "not_licensed", "The user has no client licence any more."
    if head.is_stopped:
        return "remote_opted_out", "The other party has asked for no more texts from this number."
    return None


def _settle(head: Head, status: str, code: str, sentence: str, news: News) -> None:
    attempt = Attempt.objects.get(pk=head.attempt_id)
    move_attempt(attempt, status, news, error_code=code, error_text=sentence)


def _set_due(due_at: Mapping[uuid.UUID, datetime | None]) -> None:
    """Set when each conversation is to be looked at again."""
    by_time: dict[datetime | None, list[uuid.UUID]] = {}
    for conversation_id, at in due_at.items():
        by_time.setdefault(at, []).append(conversation_id)
    for at, conversations in by_time.items():
        execute_for(_LOOK_AT, conversations, {"at": at})


def _claimed(
    head: Head,
    platforms: Mapping[uuid.UUID, CpaasPlatform],
    accounts: Mapping[uuid.UUID, CarrierAccount],
    files: Mapping[uuid.UUID, Sequence[str]],
    claim: uuid.UUID,
    until: datetime,
) -> Claimed:
    platform = platforms[head.platform_id]
    return Claimed(
        attempt_id=head.attempt_id,
        message_id=head.message_id,
        conversation_id=head.conversation_id,
        platform_id=platform.pk,
        claim=claim,
        tries=head.tries + 1,
        carrier=platform.carrier,
        account=accounts[platform.pk],
        text=OutboundText(
            head.number, head.remote, head.text, files.get(head.message_id, ()), reference=str(head.attempt_id)
        ),
        reserved_until=until,
    )
