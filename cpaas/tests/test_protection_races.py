"""STOP, blocking and sending at the same moment (R19, R20, R33). Only PostgreSQL lets them meet at all."""

from __future__ import annotations

import uuid

import pytest
from django.db import transaction

from cpaas.models import BlockedParty, Conversation, CpaasNumber, Message, StopEvidence
from cpaas.services.blocking import unblock_party
from cpaas.services.claiming import begin_texts, reserve_texts
from cpaas.tests.factories import BlockedPartyFactory, CpaasNumberFactory
from cpaas.tests.interleaving import Beside, wait_for_waiters
from cpaas.tests.running import claim_texts
from cpaas.tests.test_blocking import block
from cpaas.tests.test_blocking import hear as hear_text
from cpaas.tests.test_stops import REMOTE, answering_number, hear, send
from portal.models import AuditEntry

pytestmark = pytest.mark.django_db(transaction=True)


def test_r20_two_stops_at_once_are_one_stop_with_one_answer() -> None:
    number = answering_number()
    hear(number, "Hi")
    with transaction.atomic():
        Conversation.objects.select_for_update().get()
        both = [Beside(lambda: hear(number, "STOP")), Beside(lambda: hear(number, "Quit"))]
        wait_for_waiters(2)
    for call in both:
        call.result()
    assert StopEvidence.objects.count() == 1
    assert Message.objects.filter(direction="out").count() == 1
    assert Message.objects.filter(direction="in", status="received").count() == 3


def test_r33_a_text_accepted_while_stop_is_being_stored_is_never_sent() -> None:
    """Neither sees the other; the claim sees both."""
    number = CpaasNumberFactory()
    with transaction.atomic():
        hear(number, "STOP")
        sent = Beside(lambda: send(number))
        wait_for_waiters(1)
    assert sent.result().status == "queued"
    assert claim_texts(5, uuid.uuid4()) == []
    assert Message.objects.get(direction="out").error_code == "remote_opted_out"


def test_r20_stop_comes_in_while_a_text_to_its_sender_is_begun() -> None:
    """Whichever comes first: both end, and the text goes once or not at all."""
    number = CpaasNumberFactory()
    send(number)
    reserved = reserve_texts(1, uuid.uuid4())
    with transaction.atomic():
        Conversation.objects.select_for_update().get()
        stop = Beside(lambda: hear(number, "STOP"))
        wait_for_waiters(1)
        begun = begin_texts(reserved)
    stop.result()
    assert len(begun) == 1
    assert begin_texts(reserved) == []
    assert set(Message.objects.values_list("direction", "status")) == {("in", "received"), ("out", "sending")}


def test_r19_a_text_that_comes_in_while_its_sender_is_being_blocked_is_delivered_for_the_last_time() -> None:
    number = CpaasNumberFactory(can_block="on")
    with transaction.atomic():
        BlockedPartyFactory(number=number, remote=REMOTE)
        inbound = Beside(lambda: hear_text(number)).result()
    assert inbound.status == "received"
    assert hear_text(number).status == "blocked"
    assert Conversation.objects.get().new_count == 1


def test_two_devices_that_block_at_once_get_the_same_row() -> None:
    number = CpaasNumberFactory(can_block="on")
    with transaction.atomic():
        CpaasNumber.objects.select_for_update().get()
        both = [Beside(lambda: block(number)) for _ in range(2)]
        wait_for_waiters(2)
    assert both[0].result() == both[1].result() == BlockedParty.objects.get()
    assert AuditEntry.objects.count() == 1


def test_unblocking_waits_for_nobody_who_has_the_number() -> None:
    """A transfer has it, and then deletes what is blocked: each would wait for the other."""
    number = CpaasNumberFactory(can_block="on")
    blocked = block(number)
    with transaction.atomic():
        CpaasNumber.objects.select_for_update(no_key=True).get()
        Beside(lambda: unblock_party(user=number.user, blocked=blocked)).result()
    assert not BlockedParty.objects.exists()
