"""A dead letter whose replay is killed is still there or taken in, and its texts are stored once (J4, S1.60)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import pytest

from cpaas.carriers.base import WebhookRequest
from cpaas.carriers.registry import get_carrier
from cpaas.models import Conversation, CpaasNumber, CpaasPlatform, Message, QueueEntry, WebhookEvent
from cpaas.services.dead_letters import keep_unreadable, replay
from cpaas.services.webhook_intake import take_in
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory, MediaStreamFactory
from portal.models import AuditEntry, Event
from tests.faults.dying import ends_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fault]
USERS, STREAMS = "+12015550110", "+12015550111"
# More than a replay has words with the database.
LETTERS = 60


@pytest.fixture
def platform() -> CpaasPlatform:
    return CpaasPlatformFactory(carrier="bandwidth", credentials={}, options={})


def call(n: int, *recipients: str) -> WebhookRequest:
    """The n-th call of the carrier, with a text to each of these numbers."""
    events = [
        {
            "type": "message-received",
            "time": "2026-11-21T08:30:01Z",
            "to": own,
            "message": {
                "id": f"sid-{n}-{own}",
                "owner": own,
                "direction": "in",
                "to": [own],
                "from": remote(n),
                "text": words(n, own),
            },
        }
        for own in recipients
    ]
    return WebhookRequest({}, json.dumps(events).encode(), "application/json; charset=utf-8")


def remote(n: int) -> str:
    return f"+1732665{n:04d}"


def words(n: int, own: str) -> str:
    return f"text {n} to {own}"


def text_to_nobody(platform: CpaasPlatform, n: int) -> list[str]:
    request = call(n, USERS)
    events = get_carrier("bandwidth").parse_webhook(platform.account(), request)
    take_in(platform_id=platform.pk, nonce="", request=request, events=events)
    return [words(n, USERS)]


def unreadable_call(platform: CpaasPlatform, n: int) -> list[str]:
    """With two texts, of a parser that has been mended since."""
    keep_unreadable(platform_id=platform.pk, request=call(n, USERS, STREAMS))
    return [words(n, USERS), words(n, STREAMS)]


def add_numbers(platform: CpaasPlatform) -> None:
    """A user's, and one of a media stream, whose texts enter a queue too."""
    levels = {"group__reseller__system_provider": platform.system_provider}
    CpaasNumberFactory(number=USERS, platform=platform, **levels)
    CpaasNumberFactory(number=STREAMS, platform=platform, media_stream=MediaStreamFactory(**levels))


@pytest.mark.parametrize("come_in", [text_to_nobody, unreadable_call])
def test_j4_a_replay_killed_between_any_two_writes(
    platform: CpaasPlatform, come_in: Callable[[CpaasPlatform, int], list[str]]
) -> None:
    texts = [text for n in range(LETTERS) for text in come_in(platform, n)]
    letters = list(WebhookEvent.objects.order_by("id"))
    assert len(letters) == LETTERS
    add_numbers(platform)

    ends = ends_of("replay", [letter.pk for letter in letters])
    killed = ends.count("-9")
    assert ends == ["-9"] * killed + ["0"] * (LETTERS - killed)
    assert killed >= 10, "a replay says more than that to the database"

    stored = Counter(Message.objects.values_list("text", flat=True))
    assert set(stored.values()) == {1}
    for n, letter in enumerate(WebhookEvent.objects.order_by("id")):
        own = [text for text in texts if text.startswith(f"text {n} ")]
        assert letter.state in ("unassigned", "unreadable") or all(stored[text] for text in own)
        if letter.state != "replayed":
            replay(actor=None, call=letter)
    everything_is_there_once(texts)
    assert Counter(WebhookEvent.objects.values_list("state", flat=True)) == {"replayed": LETTERS}
    assert AuditEntry.objects.filter(action="replay").count() == LETTERS


def everything_is_there_once(texts: list[str]) -> None:
    """With all that belongs to a text: its place, its event, and a place in the queue."""
    assert Counter(Message.objects.values_list("text", flat=True)) == dict.fromkeys(texts, 1)
    assert set(Conversation.objects.values_list("message_count", "new_count")) == {(1, 1)}
    assert Event.objects.filter(type="message.created").count() == Message.objects.filter(number__number=USERS).count()
    streams = CpaasNumber.objects.filter(number=STREAMS)
    assert QueueEntry.objects.count() == Conversation.objects.filter(number__in=streams).count()
