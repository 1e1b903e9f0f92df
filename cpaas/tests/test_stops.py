"""STOP and START of remote parties: heard, kept as evidence, obeyed everywhere (R20, R33)."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction

from cpaas.carriers.base import InboundText, Receipt, Refused, Sent, WebhookEvent, WebhookRequest
from cpaas.models import Attempt, BlockedParty, Conversation, CpaasNumber, Message, Stop, StopEvidence
from cpaas.services import numbers
from cpaas.services.claiming import begin_texts, reserve_texts
from cpaas.services.opt_in import reset_opt_in
from cpaas.services.retention import purge
from cpaas.services.sending import resend_message, send_message
from cpaas.services.settling import Outcome, store_outcomes
from cpaas.services.transferring import transfer_number
from cpaas.services.webhook_intake import take_in
from cpaas.tests.factories import (
    BlockedPartyFactory,
    CpaasNumberFactory,
    CpaasPlatformFactory,
    MediaStreamFactory,
    StopEvidenceFactory,
)
from cpaas.tests.running import claim_texts
from portal import clock
from portal.models import Event
from portal.problems import Problem
from portal.tests.factories import EndUserFactory

REMOTE = "+17036089795"
OTHER = "+17036089796"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


def take(number: CpaasNumber, event: WebhookEvent, at=None) -> None:
    request = WebhookRequest({}, str(uuid.uuid4()).encode(), "application/json")
    take_in(platform_id=number.platform_id, nonce="", request=request, events=[event], received_at=at)


def hear(number: CpaasNumber, text: str, *, sender: str = REMOTE, at=None, sid: str = "") -> None:
    take(number, InboundText(sid or str(uuid.uuid4()), sender, (number.number,), text), at)


def send(number: CpaasNumber, to: str = REMOTE) -> Message:
    return send_message(user=number.user, number=number, to=to, text="Hello")


def refusal_of(number: CpaasNumber, to: str = REMOTE) -> str:
    with pytest.raises(Problem) as caught:
        send(number, to)
    return caught.value.code


def answering_number(text: str = "You will get no more texts.") -> CpaasNumber:
    """A number whose platform answers STOP."""
    user = EndUserFactory()
    platform = CpaasPlatformFactory(system_provider=user.system_provider, options={"stop_reply": text})
    return CpaasNumberFactory(user=user, platform=platform)


def test_r20_stop_is_delivered_and_keeps_further_texts_from_that_pair_alone() -> None:
    number = CpaasNumberFactory()
    second = CpaasNumberFactory(user=number.user, platform=number.platform)
    hear(number, "Stop.")
    message = Message.objects.get()
    assert (message.status, message.text) == ("received", "Stop.")
    assert refusal_of(number) == "remote_opted_out"
    for free, to in ((number, OTHER), (second, REMOTE), (CpaasNumberFactory(), REMOTE)):
        assert send(free, to).status == "queued"
    stop = Stop.objects.get()
    assert (stop.tn, stop.remote, stop.stopped, stop.keyword) == (number.number, REMOTE, True, "STOP")
    evidence = StopEvidence.objects.get()
    assert (evidence.message_id, evidence.number_id, evidence.stopped) == (message.pk, number.pk, True)
    assert Event.objects.filter(user=number.user, type="conversation.updated").exists()


@pytest.mark.parametrize("word", ["START", "unstop", "Yes"])
def test_r20_start_opens_the_pair_again(word) -> None:
    number = CpaasNumberFactory()
    hear(number, "STOPALL")
    hear(number, word)
    assert send(number).status == "queued"
    assert list(StopEvidence.objects.order_by("id").values_list("stopped", "keyword")) == [
        (True, "STOPALL"),
        (False, word.upper()),
    ]


@pytest.mark.parametrize("words", [["YES"], ["START"], ["HELP"], ["STOP", "STOP", "quit"]])
def test_r20_a_word_that_changes_nothing_leaves_no_evidence(words) -> None:
    number = CpaasNumberFactory()
    for word in words:
        hear(number, word)
    assert StopEvidence.objects.count() == ("STOP" in words)
    assert Message.objects.filter(status="received").count() == len(words)


def test_r20_help_is_a_text_like_any_other_while_stopped() -> None:
    number = CpaasNumberFactory()
    for word in ("STOP", "HELP", "INFO"):
        hear(number, word)
    assert Message.objects.filter(direction="in", status="received").count() == 3
    assert Message.objects.filter(direction="out").count() == 0
    assert refusal_of(number) == "remote_opted_out"


@pytest.mark.parametrize("opt_in", ["pending", "declined"])
def test_r20_a_stop_counts_before_the_user_may_see_it(opt_in) -> None:
    number = CpaasNumberFactory(opt_in_state=opt_in)
    hear(number, "STOP")
    assert Message.objects.get().status != "received"
    assert Stop.objects.get().stopped
    assert not Event.objects.filter(user=number.user).exists()


def test_r20_a_media_stream_is_stopped_too() -> None:
    number = CpaasNumberFactory(media_stream=MediaStreamFactory())
    hear(number, "STOP")
    assert Stop.objects.get().tn == number.number


def test_r20_a_text_to_several_own_numbers_stops_each_of_them() -> None:
    first = CpaasNumberFactory()
    second = CpaasNumberFactory(user=first.user, platform=first.platform)
    take(first, InboundText("sid", REMOTE, (first.number, second.number), "STOP"))
    assert set(Stop.objects.values_list("tn", flat=True)) == {first.number, second.number}


def test_r20_a_repeated_call_stops_once() -> None:
    number = CpaasNumberFactory()
    hear(number, "STOP", sid="one")
    hear(number, "START")
    hear(number, "STOP", sid="one")
    assert not Stop.objects.get().stopped
    assert StopEvidence.objects.count() == 2


def test_r37_a_stop_that_waited_in_the_spool_is_older_than_the_start_that_did_not() -> None:
    number = CpaasNumberFactory()
    hear(number, "STOP", at=clock.now() - timedelta(minutes=9))
    hear(number, "START")
    hear(number, "STOP", at=clock.now() - timedelta(minutes=5))
    assert not Stop.objects.get().stopped
    hear(number, "STOP")
    assert Stop.objects.get().stopped


# --- What is under way ------------------------------------------------------------------------------------------------


def test_r33_what_waits_is_refused_when_its_turn_comes() -> None:
    number = CpaasNumberFactory()
    message, other = send(number), send(number, OTHER)
    hear(number, "STOP")
    assert [text.message_id for text in claim_texts(5, uuid.uuid4())] == [other.pk]
    message.refresh_from_db()
    assert (message.status, message.error_code) == ("failed", "remote_opted_out")


def test_r33_a_stop_that_comes_while_a_text_lies_ready_still_counts() -> None:
    number = CpaasNumberFactory()
    send(number)
    reserved = reserve_texts(1, uuid.uuid4())
    hear(number, "STOP")
    assert begin_texts(reserved) == []
    assert reserve_texts(1, uuid.uuid4()) == []
    assert Attempt.objects.get().error_code == "remote_opted_out"


def test_r20_a_text_at_the_carrier_while_stop_comes_in_is_settled_as_ever() -> None:
    number = CpaasNumberFactory()
    send(number)
    claimed = claim_texts(1, uuid.uuid4())
    hear(number, "STOP")
    store_outcomes([Outcome(claimed[0], Sent("sid"))])
    assert Message.objects.get(direction="out").status == "sent"
    assert refusal_of(number) == "remote_opted_out"


def test_r22_what_failed_is_not_sent_again_to_who_has_stopped() -> None:
    number = CpaasNumberFactory()
    message = send(number)
    Message.objects.update(status="failed")
    hear(number, "STOP")
    with pytest.raises(Problem) as caught:
        resend_message(user=number.user, message=message)
    assert caught.value.code == "remote_opted_out"


# --- What the carrier knows before us ---------------------------------------------------------------------------------


def test_r20_a_carriers_refusal_because_of_stop_stops_the_pair() -> None:
    number = CpaasNumberFactory()
    message = send(number)
    claimed = claim_texts(1, uuid.uuid4())
    store_outcomes([Outcome(claimed[0], Refused("Attempt to send to unsubscribed recipient", "21610", opted_out=True))])
    message.refresh_from_db()
    assert (message.status, message.error_code) == ("failed", "21610")
    evidence = StopEvidence.objects.get()
    assert (evidence.carrier_code, evidence.keyword, evidence.message_id) == ("21610", "", message.pk)
    assert refusal_of(number) == "remote_opted_out"
    assert Event.objects.filter(user=number.user, type="conversation.updated").count() == 2


@pytest.mark.parametrize("early", [False, True], ids=["after the answer", "before the answer"])
def test_r20_a_receipt_that_tells_of_stop_stops_the_pair(early) -> None:
    number = CpaasNumberFactory()
    send(number)
    claimed = claim_texts(1, uuid.uuid4())
    receipt = Receipt("sid", "failed", "failed", "21610", "unsubscribed", opted_out=True)
    steps = [lambda: store_outcomes([Outcome(claimed[0], Sent("sid"))]), lambda: take(number, receipt)]
    for step in reversed(steps) if early else steps:
        step()
    take(number, receipt)
    assert StopEvidence.objects.get().carrier_code == "21610"
    assert refusal_of(number) == "remote_opted_out"


# --- The one automatic answer -----------------------------------------------------------------------------------------


def test_r20_a_stop_is_answered_once_where_the_platform_says_so() -> None:
    number = answering_number()
    for _ in range(3):
        hear(number, "STOP")
    reply = Message.objects.get(direction="out")
    assert (reply.text, reply.status, reply.remote) == ("You will get no more texts.", "queued", REMOTE)
    assert [text.message_id for text in claim_texts(5, uuid.uuid4())] == [reply.pk]
    hear(number, "START")
    hear(number, "STOP")
    assert Message.objects.filter(direction="out").count() == 2


def test_r20_no_other_text_passes_beside_the_answer() -> None:
    number = answering_number()
    waiting = send(number)
    hear(number, "STOP")
    reply = Message.objects.get(direction="out", text="You will get no more texts.")
    claimed = claim_texts(5, uuid.uuid4()) + claim_texts(5, uuid.uuid4())
    assert [text.message_id for text in claimed] == [reply.pk]
    waiting.refresh_from_db()
    assert waiting.error_code == "remote_opted_out"
    Message.objects.filter(pk=reply.pk).update(status="failed")
    with pytest.raises(Problem):
        resend_message(user=number.user, message=reply)


def test_r20_an_answer_that_was_not_sent_before_the_next_stop_is_not_sent_twice() -> None:
    number = answering_number()
    for word in ("STOP", "START", "STOP"):
        hear(number, word)
    claimed = claim_texts(5, uuid.uuid4()) + claim_texts(5, uuid.uuid4())
    assert len(claimed) == 1


@pytest.mark.parametrize("fields", [{"opt_in_state": "pending"}, {"opt_in_state": "declined"}, {"status": "failed"}])
def test_r20_a_number_that_may_not_send_does_not_answer(fields) -> None:
    number = answering_number()
    CpaasNumber.objects.update(**fields)
    hear(number, "STOP")
    assert not Message.objects.filter(direction="out").exists()
    assert Stop.objects.get().stopped


def test_r20_the_carriers_word_is_not_answered() -> None:
    number = answering_number()
    send(number)
    claimed = claim_texts(1, uuid.uuid4())
    store_outcomes([Outcome(claimed[0], Refused("unsubscribed", "21610", opted_out=True))])
    assert Message.objects.count() == 1


# --- Evidence ---------------------------------------------------------------------------------------------------------


def test_r18_evidence_and_stop_survive_purge_reset_and_the_end_of_the_number() -> None:
    number = CpaasNumberFactory()
    hear(number, "STOP")
    reset_opt_in(actor=None, number=number)
    assert Stop.objects.get().stopped
    purge(as_of=clock.now() + timedelta(days=365))
    numbers.delete_number(actor=None, number=number)
    CpaasNumber.objects.all().delete()
    assert Message.objects.count() == Conversation.objects.count() == 0
    assert StopEvidence.objects.get().keyword == "STOP"
    again = CpaasNumberFactory(number=number.number, user=number.user, platform=number.platform)
    assert refusal_of(again) == "remote_opted_out"
    elsewhere = CpaasNumber.objects.get()
    elsewhere.delete()
    assert send(CpaasNumberFactory(number=number.number)).status == "queued"


def test_r23_a_transfer_keeps_stops_and_forgets_whom_the_old_user_blocked() -> None:
    number = CpaasNumberFactory(can_block="on")
    heir = EndUserFactory(group__reseller=number.reseller)
    hear(number, "STOP")
    BlockedPartyFactory(number=number)
    number = transfer_number(actor=None, number=number, user=heir, delete_messages=True)
    assert not BlockedParty.objects.exists()
    assert Stop.objects.get().group_id == heir.group_id
    CpaasNumber.objects.update(opt_in_state="accepted")
    assert refusal_of(CpaasNumber.objects.get()) == "remote_opted_out"


def test_r18_evidence_holds_no_text_of_a_message() -> None:
    columns = {field.name for field in StopEvidence._meta.concrete_fields}
    assert not columns & {"text", "body"}


def test_r20_the_database_itself_keeps_evidence_as_it_is() -> None:
    row = StopEvidenceFactory()
    refused = [lambda: StopEvidence.objects.update(stopped=False)]
    if connection.vendor == "postgresql":
        refused.append(lambda: StopEvidence.objects.all().delete())
    for change in refused:
        with pytest.raises(DatabaseError), transaction.atomic():
            change()
    with pytest.raises(TypeError):
        row.save()
    with pytest.raises(TypeError):
        row.delete()
