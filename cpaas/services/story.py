"""The whole story of a text: when it came or was accepted, each attempt, and every word of the carrier (S1.57)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q

from cpaas.carriers.registry import CARRIER_LABELS
from cpaas.models import Attachment, Attempt, Exchange, Message, WebhookEvent
from cpaas.services.advice import Facts
from cpaas.services.attachments import files_of
from portal import clock
from portal.models import Device, Event

# A client that is online is told at once; longer than so it does not take.
_TOLD_WITHIN = timedelta(minutes=1)
_STORED_FOR_AGENTS = "Stored for the agents of the media stream"
_STORED = {
    "received": "Stored for the user's clients",
    "held": "Held: the number may not be used yet",
    "suppressed": "Stored without delivery: the user has declined text messaging",
    "blocked": "Stored without delivery: the user has blocked the sender",
}
_CALLS = {
    "applied": "",
    "duplicate": "changed nothing",
    "parked": "came before the answer to the send, and was kept for it",
    "ignored": "a word that changes nothing",
}


@dataclass(frozen=True)
class Step:
    """Something that happened to a text. `attempt` is the number of the attempt it belongs to, `word` the carrier's."""

    at: datetime
    type: str
    title: str
    detail: str = ""
    attempt: int | None = None
    word: str = ""

    @property
    def is_quoted(self) -> bool:
        """Whether the detail is the carrier's answer, which may hold what the text says."""
        return self.type == "exchange"


@dataclass
class Story:
    """A text with its attempts, the oldest first, its steps in the order they happened, and its files."""

    message: Message
    attempts: list[Attempt] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    files: list[Attachment] = field(default_factory=list)

    @property
    def sid(self) -> str:
        """The carrier's id, of an outbound text that of its newest attempt which has one."""
        return self.sid_history[-1] if self.sid_history else ""

    @property
    def sid_history(self) -> list[str]:
        if self.message.direction == "in":
            return [self.message.sid] if self.message.sid else []
        return [attempt.sid for attempt in self.attempts if attempt.sid]


def stories(messages: Sequence[Message], *, in_full: bool = False) -> list[Story]:
    """The stories of `messages` (with number and platform loaded), in their order; as many queries for many. `in_full`:
    with what was said to the carrier and which clients were told."""
    found = {message.pk: Story(message) for message in messages}
    sent = [message.pk for message in messages if message.direction == "out"]
    for attempt in Attempt.objects.filter(message_id__in=sent).order_by("n"):
        found[attempt.message_id].attempts.append(attempt)
    files = files_of(message.pk for message in messages if message.file_count)
    calls = _calls(found.values())
    exchanges = _exchanges(found.values()) if in_full else {}
    for story in found.values():
        story.files = files[story.message.pk]
        steps = list(_steps(story, calls, exchanges))
        if in_full:
            steps += _delivery_steps(story.message)
        story.steps = sorted(steps, key=lambda step: step.at)
    return list(found.values())


Calls = dict[tuple[uuid.UUID, str], list[WebhookEvent]]
Exchanges = dict[uuid.UUID, list[Exchange]]


def _calls(told: Iterable[Story]) -> Calls:
    """What carriers said of these texts, by platform and id, without the bodies."""
    wanted: set[tuple[uuid.UUID, str]] = set()
    for story in told:
        platform_id = story.message.number.platform_id
        wanted |= {(attempt.platform_id, attempt.sid) for attempt in story.attempts if attempt.sid}
        wanted |= {(platform_id, story.message.sid)} if story.message.sid else set()
    found: Calls = defaultdict(list)
    if wanted:
        rows = WebhookEvent.objects.filter(
            platform_id__in={platform_id for platform_id, _ in wanted}, sid__in={sid for _, sid in wanted}
        )
        for call in rows.defer("body", "text").order_by("id"):
            found[call.platform_id, call.sid].append(call)
    return found


def deliveries(message: Message) -> list[Device] | None:
    """The user's clients that were told of an inbound message through their event streams, by the note of how far each
    has come. None when that is not known: events are kept 7 days, and what is reserved from a queue had none."""
    if message.direction != "in" or message.user_id is None:
        return None
    told = Event.objects.filter(user_id=message.user_id, type="message.created", object_id=message.pk)
    number = told.values_list("number", flat=True).first()
    if number is None:
        return None
    return list(Device.objects.filter(user_id=message.user_id, heard_number__gte=number).order_by("id"))


def facts_of(entry: Message | WebhookEvent) -> Facts:
    """What *Whose ticket?* goes by. The entry comes with its platform, a message with its conversation too."""
    if isinstance(entry, WebhookEvent):
        return Facts("in", "unassigned", CARRIER_LABELS[entry.platform.carrier], sid=entry.sid)
    platform, read = entry.number.platform, entry.position <= entry.conversation.read_position
    told = deliveries(entry)
    has_it = [device.name for device in told or ()] or (["read"] if read and entry.direction == "in" else [])
    return Facts(
        direction=entry.direction,
        status=entry.status,
        carrier=CARRIER_LABELS[platform.carrier],
        sid=stories([entry])[0].sid,
        error_code=entry.error_code,
        error_text=entry.error_text,
        age_s=(clock.now() - entry.created_at).total_seconds(),
        platform_reachable=platform.reachable,
        fetched_by=tuple(has_it),
        was_online=_was_online(entry),
        waits_for_agent=entry.user_id is None,
        is_traced=told is not None,
    )


def _exchanges(told: Iterable[Story]) -> Exchanges:
    """What was said to carriers about these texts, by attempt."""
    attempts = [attempt.pk for story in told for attempt in story.attempts]
    found: Exchanges = defaultdict(list)
    for exchange in Exchange.objects.filter(attempt_id__in=attempts).order_by("id") if attempts else []:
        found[exchange.attempt_id].append(exchange)
    return found


def _was_online(message: Message) -> bool:
    """Whether a client of the user has been here since the message came, and so should have it."""
    if message.user_id is None:
        return False
    since = message.created_at + _TOLD_WITHIN
    devices = Device.objects.filter(user_id=message.user_id)
    return devices.filter(Q(last_used_at__gt=since) | Q(heard_at__gt=since)).exists()


def _steps(story: Story, calls: Calls, exchanges: Exchanges) -> Iterable[Step]:
    if story.message.direction == "in":
        yield from _inbound_steps(story.message, calls)
        return
    yield Step(story.message.created_at, "accepted", "Accepted from the user's client")
    for attempt in story.attempts:
        yield from _attempt_steps(attempt, story.message, calls, exchanges.get(attempt.pk, []))


def _inbound_steps(message: Message, calls: Calls) -> Iterable[Step]:
    carrier = CARRIER_LABELS[message.number.platform.carrier]
    for call in calls.get((message.number.platform_id, message.sid), []):
        again = call.state == "duplicate"
        title = f"{carrier} called again with the same text" if again else f"{carrier} called with the text"
        yield Step(call.created_at, "webhook", title, _CALLS.get(call.state, ""))
    is_for_agents = message.status == "received" and message.number.media_stream_id
    yield Step(message.created_at, "stored", _STORED_FOR_AGENTS if is_for_agents else _STORED[message.status])


def _delivery_steps(message: Message) -> Iterable[Step]:
    for device in deliveries(message) or ():
        detail = "The time is that of the last news this client was told."
        yield Step(device.heard_at or message.created_at, "told", f"The client “{device.name}” was told", detail)


def _attempt_steps(attempt: Attempt, message: Message, calls: Calls, exchanges: Sequence[Exchange]) -> Iterable[Step]:
    carrier = CARRIER_LABELS[message.number.platform.carrier]
    n = attempt.n
    if n > 1:
        yield Step(attempt.created_at, "resent", "Sent again by the user", attempt=n)
    if attempt.sending_at:
        yield Step(attempt.sending_at, "sending", f"Handed to {carrier}", attempt=n)
    if attempt.changed_at:
        yield Step(attempt.changed_at, "status", _outcome(attempt, carrier), attempt.error_text, n)
    for exchange in exchanges:
        answer = exchange.status or f"no answer ({exchange.error})"
        title = f"{exchange.method} {exchange.url} → {answer} in {exchange.took_ms} ms"
        yield Step(exchange.created_at, "exchange", title, exchange.excerpt, n)
    for call in calls.get((attempt.platform_id, attempt.sid), []):
        title = f"{carrier} reported “{call.word}”" if call.word else f"{carrier} sent a receipt"
        yield Step(call.created_at, "receipt", title, _CALLS.get(call.state, ""), n, call.word)


def _outcome(attempt: Attempt, carrier: str) -> str:
    words = {
        "queued": f"Waits to be tried again (try {attempt.tries})",
        "sending": f"Handed to {carrier}",
        "unknown": f"It is open whether {carrier} took it",
        "sent": f"{carrier} took it",
        "undelivered": f"{carrier} could not deliver it",
        "failed": "It failed",
        "delivered": "Delivered to the handset",
    }
    return words[attempt.status]
