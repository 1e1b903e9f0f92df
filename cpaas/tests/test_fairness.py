"""Whose text is next: fairly over the platforms, and what a carrier's pause means (R35, facts 4.7)."""

from __future__ import annotations

import socket
import uuid
from collections import Counter
from datetime import timedelta

import pytest

from cpaas.models import Attempt, Conversation, CpaasNumber, CpaasPlatform, Message
from cpaas.services import sweeping
from cpaas.services.sending import send_message
from cpaas.tests.factories import CpaasNumberFactory
from cpaas.tests.raw_server import RawServer, serving
from cpaas.tests.running import DispatcherThread, claim_texts
from portal import clock
from tests.sandbox_process import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


def quick_number() -> CpaasNumber:
    """A number of a tenant of its own that may send as much as it likes."""
    return CpaasNumberFactory(platform__options={"per_number_per_minute": 100_000, "per_number_per_day": 1_000_000})


def queue(number: CpaasNumber, count: int) -> None:
    """So many texts to as many parties, due one after the other, the oldest an hour ago."""
    start = clock.now() - timedelta(hours=1)
    for n in range(count):
        message = send(number, f"+1703608{n:04d}")
        due_at = start + timedelta(seconds=n)
        Conversation.objects.filter(pk=message.conversation_id).update(outbox_at=due_at)


def send(number: CpaasNumber, to: str = "+17036089795") -> Message:
    return send_message(user=number.user, number=number, to=to, text="Hello")


def claimed_by_platform(limit: int) -> Counter[uuid.UUID]:
    return Counter(text.platform_id for text in claim_texts(limit, uuid.uuid4()))


def test_a_single_text_goes_with_the_next_ones_whatever_another_tenant_has_waiting() -> None:
    busy, calm = quick_number(), quick_number()
    queue(busy, 30)
    send(calm)
    assert claimed_by_platform(4) == {busy.platform_id: 3, calm.platform_id: 1}


def test_places_that_nobody_else_needs_are_for_who_has_more() -> None:
    busy, calm = quick_number(), quick_number()
    queue(busy, 30)
    queue(calm, 2)
    assert claimed_by_platform(20) == {busy.platform_id: 18, calm.platform_id: 2}
    assert claimed_by_platform(20) == {busy.platform_id: 12}


def test_tenants_with_long_queues_share_the_places() -> None:
    numbers = [quick_number() for _ in range(3)]
    for number in numbers:
        queue(number, 10)
    assert claimed_by_platform(9) == {number.platform_id: 3 for number in numbers}


def test_with_more_tenants_than_places_everybody_gets_a_turn() -> None:
    numbers = [quick_number() for _ in range(6)]
    for number in numbers:
        queue(number, 3)
    taken = Counter(dict.fromkeys((number.platform_id for number in numbers), 0))
    for _ in range(9):
        taken += claimed_by_platform(2)
    assert taken == {number.platform_id: 3 for number in numbers}


def test_a_number_with_a_long_queue_holds_up_no_other_of_its_tenant() -> None:
    """And what waits longest gets on all the same."""
    busy = quick_number()
    calm = CpaasNumberFactory(user=busy.user, platform=busy.platform)
    queue(busy, 30)
    message = send(calm)
    oldest = Conversation.objects.filter(number=busy).earliest("outbox_at").pk
    claimed = claim_texts(4, uuid.uuid4())
    assert {message.conversation_id, oldest} <= {text.conversation_id for text in claimed}
    assert len(claimed) == 4


def test_every_text_is_taken_once_however_the_halves_overlap() -> None:
    number = quick_number()
    queue(number, 7)
    taken = [text.attempt_id for limit in (5, 5, 5) for text in claim_texts(limit, uuid.uuid4())]
    assert len(taken) == len(set(taken)) == 7


def test_a_platform_that_only_waits_for_later_takes_no_places() -> None:
    waiting, busy = quick_number(), quick_number()
    queue(waiting, 3)
    Conversation.objects.update(outbox_at=clock.now() + timedelta(minutes=1))
    queue(busy, 6)
    assert claimed_by_platform(6) == {busy.platform_id: 6}


def test_a_conversation_put_up_by_an_older_process_is_sent_too() -> None:
    number = quick_number()
    queue(number, 2)
    Conversation.objects.update(outbox_platform=uuid.UUID(int=0))
    assert claimed_by_platform(5) == {number.platform_id: 2}


# --- Paces ------------------------------------------------------------------------------------------------------------


def test_r39_a_platforms_whole_traffic_is_paced() -> None:
    number = quick_number()
    for each in (number, CpaasNumberFactory(user=number.user, platform=number.platform)):
        queue(each, 3)
    CpaasPlatform.objects.update(options={"per_platform_per_minute": 4})
    assert claimed_by_platform(6) == {number.platform_id: 4}
    queued = Attempt.objects.filter(status="queued").values("conversation_id")
    first, second = Conversation.objects.filter(pk__in=queued).order_by("outbox_at").values_list("outbox_at", flat=True)
    assert second - first == timedelta(seconds=15)
    assert first > clock.now()


def test_r39_a_number_that_must_wait_takes_nothing_of_its_platforms_pace() -> None:
    busy = quick_number()
    calm = CpaasNumberFactory(user=busy.user, platform=busy.platform)
    queue(busy, 5)
    send(calm)
    CpaasPlatform.objects.update(options={"per_platform_per_minute": 2, "per_number_per_minute": 1})
    assert {text.text.from_number for text in claim_texts(6, uuid.uuid4())} == {busy.number, calm.number}


# --- Pauses -----------------------------------------------------------------------------------------------------------


def test_a_paused_platform_is_passed_over_until_its_pause_is_over() -> None:
    paused, other = quick_number(), quick_number()
    for number in (paused, other):
        queue(number, 2)
    sweeping.pause_platform(paused.platform_id, 60)
    assert claimed_by_platform(5) == {other.platform_id: 2}
    CpaasPlatform.objects.update(paused_until=clock.now())
    assert claimed_by_platform(5) == {paused.platform_id: 2}


def test_the_longest_pause_counts_and_none_is_endless() -> None:
    platform = quick_number().platform
    for seconds in (600, 5, 10**9, 5):
        sweeping.pause_platform(platform.pk, seconds)
    platform.refresh_from_db()
    assert platform.paused_until <= clock.now() + sweeping.LONGEST_PAUSE


def test_r34_what_waits_for_the_end_of_a_pause_expires_in_time(settings) -> None:
    number = quick_number()
    message = send(number)
    sweeping.pause_platform(number.platform_id, 3600)
    message.attempts.update(expires_at=clock.now())
    assert sweeping.expire_due() == 1
    assert Message.objects.get().error_code == "expired"


def test_a_throttle_with_retry_after_pauses_the_whole_platform(number, sandbox) -> None:
    """Not just the conversation of the text that was throttled, and it is no reason to probe."""
    sandbox.fault("send", "throttle", code="429", times=1)
    before = clock.now()
    messages = [send(number, f"+1703608{n:04d}") for n in range(3)]
    with DispatcherThread():
        wait_for(lambda: CpaasPlatform.objects.filter(paused_until__gt=before, probe_at=None).exists())
        wait_for(lambda: not Message.objects.exclude(status="sent").exists())
    assert len(sandbox.taken()) == len(messages)


def test_a_carrier_that_hangs_keeps_no_place_from_another_tenant(number, settings) -> None:
    """Not even when its texts have taken all places: there are some besides for who has next to nothing in flight."""
    settings.DISPATCH_IN_FLIGHT = 2
    busy = quick_number()
    with DispatcherThread(), serving(_say_nothing) as silent:
        CpaasPlatform.objects.filter(pk=busy.platform_id).update(
            options={"services_url": silent.url, "broker_url": silent.url}
        )
        queue(busy, 6)
        wait_for(lambda: silent.connections == 2)
        message = send(number)
        wait_for(lambda: Message.objects.get(pk=message.pk).status == "sent")
        assert Attempt.objects.filter(status="sending").count() == 2


def _say_nothing(server: RawServer, connection: socket.socket) -> None:
    server.read_request(connection)
    server.closing.wait(60)
