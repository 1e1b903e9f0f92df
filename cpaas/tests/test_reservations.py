"""Texts that a dispatcher has ready for its next free place: looked at, but not yet begun (R32, R35)."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cpaas.models import Attempt, Conversation, CpaasNumber, Message
from cpaas.services.claiming import LEASE, begin_texts, release_texts, reserve_texts
from cpaas.services.sending import send_message
from cpaas.tests.factories import CpaasNumberFactory
from cpaas.tests.running import DispatcherThread, claim_texts
from portal import clock
from portal.models import EndUser
from tests.sandbox_process import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


def send(number, to: str = "+17036089795") -> Message:
    return send_message(user=number.user, number=number, to=to, text="Hello")


def look_again() -> None:
    Conversation.objects.update(outbox_at=clock.now())


def test_r32_what_a_dead_dispatcher_had_only_reserved_is_sent_and_never_doubtful(number, sandbox) -> None:
    for n in range(5):
        send(number, f"+1703608{n:04d}")
    assert len(reserve_texts(5, uuid.uuid4())) == 5
    assert set(Attempt.objects.values_list("status", "tries")) == {("queued", 0)}
    with DispatcherThread():
        wait_for(lambda: set(Message.objects.values_list("status", flat=True)) <= {"sent", "delivered"})
    assert len(sandbox.taken()) == 5


def test_r32_a_text_is_begun_while_queries_are_logged_too() -> None:
    """With DEBUG Django binds every value a second time, whether the statement has it or not."""
    send(CpaasNumberFactory())
    with CaptureQueriesContext(connection):
        assert len(claim_texts(1, uuid.uuid4())) == 1


def test_r32_whoever_begins_a_text_first_sends_it_alone() -> None:
    send(CpaasNumberFactory())
    slept = reserve_texts(1, uuid.uuid4())
    look_again()
    awake = reserve_texts(1, uuid.uuid4())
    assert begin_texts(awake) == awake
    assert begin_texts(slept) == []
    assert Attempt.objects.get().claim == awake[0].claim


def test_r32_a_text_reserved_twice_by_one_dispatcher_is_begun_once() -> None:
    send(CpaasNumberFactory())
    claim = uuid.uuid4()
    first = reserve_texts(1, claim)
    look_again()
    assert len(begin_texts([*first, *reserve_texts(1, claim)])) == 1
    assert begin_texts(first) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda: CpaasNumber.objects.update(status="removing"), "number_not_enabled"),
        (lambda: CpaasNumber.objects.update(opt_in_state="declined"), "opt_in_declined"),
        (lambda: EndUser.objects.update(licence="none"), "not_licensed"),
        (lambda: EndUser.objects.update(is_active=False), "not_licensed"),
        (lambda: Attempt.objects.update(expires_at=clock.now()), "expired"),
        (lambda: Message.objects.update(status="delivered"), "already_delivered"),
    ],
)
def test_r33_what_changes_while_a_text_lies_ready_still_counts(change, code) -> None:
    send(CpaasNumberFactory())
    reserved = reserve_texts(1, uuid.uuid4())
    change()
    assert begin_texts(reserved) == []
    assert reserve_texts(1, uuid.uuid4()) == []
    assert list(Attempt.objects.values_list("status", "error_code", "tries")) == [("failed", code, 0)]


def test_r35_what_is_not_begun_after_all_is_free_at_once() -> None:
    send(CpaasNumberFactory())
    reserved = reserve_texts(1, uuid.uuid4())
    assert reserve_texts(1, uuid.uuid4()) == []
    release_texts(reserved)
    assert len(claim_texts(1, uuid.uuid4())) == 1


def test_r35_a_late_release_leaves_the_conversation_to_who_has_it() -> None:
    send(CpaasNumberFactory())
    slept = reserve_texts(1, uuid.uuid4())
    look_again()
    reserve_texts(1, uuid.uuid4())
    release_texts(slept)
    assert reserve_texts(1, uuid.uuid4()) == []


@pytest.mark.parametrize(("sending_for", "status"), [(LEASE / 2, "sending"), (LEASE, "unknown")])
def test_r32_a_text_at_a_slow_carrier_is_given_up_when_its_lease_is_over(sending_for, status) -> None:
    """The conversation is due again before that; its second text waits all the same (R35)."""
    number = CpaasNumberFactory()
    send(number)
    claim_texts(1, uuid.uuid4())
    send(number)
    look_again()
    Attempt.objects.filter(status="sending").update(sending_at=clock.now() - sending_for)
    following = reserve_texts(2, uuid.uuid4()) + reserve_texts(2, uuid.uuid4())
    assert Attempt.objects.earliest("position").status == status
    assert len(following) == (status == "unknown")
