"""From a queued text to its fate at the carrier (R21, R32–R35), against a real simulator."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from cpaas.carriers.base import NotTaken
from cpaas.dispatch import Dispatcher
from cpaas.models import Attempt, Conversation, CpaasNumber, CpaasPlatform, Message
from cpaas.services.sending import resend_message, send_message
from cpaas.services.settling import Outcome, store_outcomes
from cpaas.tests.factories import CpaasNumberFactory
from cpaas.tests.running import DispatcherThread, claim_texts
from portal import clock
from portal.tests.factories import EndUserFactory
from tests.sandbox_process import NUMBERS, wait_for

REMOTE = "+17036089795"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


def send(number: CpaasNumber, text: str = "Hello", to: str = REMOTE) -> Message:
    return send_message(user=number.user, number=number, to=to, text=text)


def status_of(message: Message) -> str:
    return Message.objects.values_list("status", flat=True).get(pk=message.pk)


def wait_status(message: Message, *statuses: str) -> Message:
    wait_for(lambda: status_of(message) in statuses, what=f"{statuses}, is {status_of(message)}")
    return Message.objects.get(pk=message.pk)


def test_a_text_goes_out_once_with_its_id_kept(number, dispatcher, sandbox) -> None:
    message = wait_status(send(number), "sent")
    taken = sandbox.taken()
    assert [(row["from"], row["to"], row["text"]) for row in taken] == [(number.number, REMOTE, "Hello")]
    assert message.attempts.get().sid == taken[0]["sid"]
    assert message.sent_at is not None


@pytest.mark.parametrize("errors", ["http", "body"])
@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ({"kind": "status", "status": 401}, "failed", "Inteliquent"),
        ({"kind": "status", "status": 400, "code": "408", "text": "to is missing"}, "failed", "to is missing"),
        ({"kind": "xml"}, "failed", "Inteliquent"),
        ({"kind": "status", "status": 500}, "unknown", "500"),
        ({"kind": "status", "status": 502}, "unknown", "502"),
        ({"kind": "html"}, "unknown", "Inteliquent"),
        ({"kind": "reset"}, "unknown", "closed the connection"),
        ({"kind": "timeout", "delay_s": 30}, "unknown", "did not answer within 2 seconds"),
    ],
    ids=["401", "408", "xml", "500", "502", "html", "reset", "silence"],
)
def test_r32_bad_answers_end_in_the_right_state(
    number, dispatcher, sandbox, settings, errors, fault, status, words
) -> None:
    """A refusal is certain; 5xx, HTML, a reset and silence leave it open and are never sent again."""
    if fault["kind"] == "timeout":
        settings.CARRIER_TIMEOUT_S = 2
    sandbox.carrier(errors=errors)
    sandbox.fault("send", times=None, **fault)
    message = wait_status(send(number), "failed", "unknown")
    assert (message.status, words in message.error_text) == (status, True), message.error_text
    assert message.attempts.count() == 1
    assert sandbox.taken() == []


@pytest.mark.parametrize("errors", ["http", "body"])
def test_r32_try_again_words_are_tried_again(number, dispatcher, sandbox, errors) -> None:
    """431 surely was not taken: back to the queue and sent later, once."""
    sandbox.carrier(errors=errors)
    sandbox.fault("send", "throttle", code="431", times=1)
    message = wait_status(send(number), "sent")
    assert len(sandbox.taken()) == 1
    assert message.attempts.get().tries == 2


def test_r32_taken_although_the_answer_is_lost_is_not_sent_twice(number, dispatcher, sandbox) -> None:
    sandbox.fault("send", "reset", after_accept=True)
    message = wait_status(send(number), "unknown")
    assert len(sandbox.taken()) == 1
    assert message.attempts.get().next_check_at is not None


def test_r32_a_carrier_that_is_down_gets_it_when_it_is_back(number, dispatcher, sandbox) -> None:
    sandbox.carrier(state="refusing")
    message = send(number)
    wait_for(lambda: not CpaasPlatform.objects.get(pk=number.platform_id).reachable)
    wait_status(message, "queued")
    sandbox.carrier(state="up")
    CpaasPlatform.objects.update(probe_at=clock.now())
    wait_status(message, "sent")
    assert len(sandbox.taken()) == 1


def test_r35_one_conversation_in_order_of_acceptance(number, dispatcher, sandbox) -> None:
    sandbox.carrier(latency_ms=20)
    texts = [f"text {n}" for n in range(12)]
    messages = [send(number, text) for text in texts]
    wait_status(messages[-1], "sent")
    assert [row["text"] for row in sandbox.taken()] == texts


def test_r35_a_waiting_retry_holds_back_only_its_own_conversation(number, dispatcher, sandbox) -> None:
    busy = sandbox.fault("send", "throttle", code="431", times=None, to=REMOTE)
    send(number, "one")
    second = send(number, "two")
    other = send(number, "elsewhere", to="+17036089796")
    wait_status(other, "sent")
    sandbox.call("DELETE", f"/inteliquent/faults/{busy['id']}/")
    wait_status(second, "sent")
    assert [row["text"] for row in sandbox.taken()] == ["elsewhere", "one", "two"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"status": "failed"}, "number_not_enabled"),
        ({"opt_in_state": "declined"}, "opt_in_declined"),
        ({"opt_in_state": "pending"}, "opt_in_pending"),
    ],
)
def test_r33_what_no_longer_holds_is_not_sent(number, sandbox, change, code) -> None:
    message = send(number)
    CpaasNumber.objects.filter(pk=number.pk).update(**change)
    with DispatcherThread():
        message = wait_status(message, "failed")
    assert message.error_code == code
    assert sandbox.taken() == []


def test_r33_without_a_licence_nothing_is_sent(number, sandbox) -> None:
    message = send(number)
    type(number.user).objects.update(licence="none")
    with DispatcherThread():
        assert wait_status(message, "failed").error_code == "not_licensed"
    assert sandbox.taken() == []


def test_r34_what_waited_too_long_fails(number, sandbox) -> None:
    message = send(number)
    Attempt.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    with DispatcherThread():
        assert wait_status(message, "failed").error_code == "expired"
    assert sandbox.taken() == []


def test_r22_a_resend_is_a_new_attempt_of_the_same_message(number, dispatcher, sandbox) -> None:
    sandbox.fault("send", "status", status=400, code="409", text="no", times=1)
    message = wait_status(send(number), "failed")
    resend_message(user=number.user, message=message)
    message = wait_status(message, "sent")
    assert [attempt.status for attempt in message.attempts.order_by("n")] == ["failed", "sent"]
    assert Message.objects.count() == 1


def test_a_resend_is_not_sent_when_the_first_attempt_turns_out_delivered(number, sandbox) -> None:
    """`delivered` of any attempt wins, so a second text would be a double (R21)."""
    with DispatcherThread():
        sandbox.fault("send", "reset", after_accept=True)
        message = wait_status(send(number), "unknown")
    resend_message(user=number.user, message=message)
    Message.objects.filter(pk=message.pk).update(status="delivered")
    with DispatcherThread():
        wait_for(lambda: Attempt.objects.get(message=message, n=2).status == "failed")
    assert len(sandbox.taken()) == 1


def test_two_dispatchers_send_each_text_once(platform, sandbox) -> None:
    user = EndUserFactory(group__reseller__system_provider=platform.system_provider)
    numbers = [CpaasNumberFactory(number=tn, user=user, platform=platform) for tn in NUMBERS[:5]]
    messages = [send(each, f"t{n}", to=f"+1703608{n:04d}") for n in range(8) for each in numbers]
    with DispatcherThread(), DispatcherThread():
        for message in messages:
            wait_status(message, "sent")
    assert len(sandbox.taken()) == len(messages)


def test_no_more_texts_are_with_the_carrier_than_allowed(number, sandbox, settings) -> None:
    """Some are begun ahead of a free place, and wait for it."""
    settings.DISPATCH_IN_FLIGHT = 3
    sandbox.carrier(latency_ms=200)
    for n in range(12):
        send(number, f"t{n}", to=f"+1703608{n:04d}")
    seen = []

    def all_sent() -> bool:
        seen.append(sum(not row["answered"] for row in sandbox.taken()))
        return not Message.objects.exclude(status__in=["sent", "delivered"]).exists()

    with DispatcherThread():
        wait_for(all_sent)
    assert 0 < max(seen) <= 3


def test_r32_a_text_begun_ahead_that_gets_no_place_goes_back_to_the_queue(
    number, sandbox, settings, monkeypatch
) -> None:
    settings.DISPATCH_IN_FLIGHT = 1
    monkeypatch.setattr("cpaas.dispatch.STALE_S", 0.5)
    monkeypatch.setattr(Dispatcher, "_ahead", lambda _: 10)
    sandbox.carrier(latency_ms=1500)
    messages = [send(number, "one"), send(number, "two", to="+17036089796")]
    with DispatcherThread():
        for message in messages:
            wait_status(message, "sent")
    assert sorted(row["text"] for row in sandbox.taken()) == ["one", "two"]
    assert sum(Attempt.objects.values_list("tries", flat=True)) > 2


def test_a_number_sends_no_faster_than_its_rate(number, sandbox) -> None:
    """A minute's worth goes at once, the rest waits its turn."""
    messages = [send(number, f"t{n}", to=f"+1703608{n:04d}") for n in range(5)]
    number.platform.options |= {"per_number_per_minute": 3}
    number.platform.save()
    with DispatcherThread():
        for message in messages[:3]:
            wait_status(message, "sent")
        wait_for(lambda: Attempt.objects.filter(status="queued", conversation_id__in=_waiting()).count() == 2)
    assert len(sandbox.taken()) == 3


def _waiting() -> list[object]:
    return list(Conversation.objects.filter(outbox_at__gt=clock.now()).values_list("pk", flat=True))


def test_r32_a_dead_dispatchers_texts_become_unknown(number, sandbox, settings) -> None:
    settings.LEASE_TTL_S = 1
    message = send(number)
    Attempt.objects.update(
        status="sending", claim="00000000-0000-4000-8000-000000000000", sending_at=clock.now() - timedelta(seconds=5)
    )
    with DispatcherThread():
        assert wait_status(message, "unknown").error_text
    assert sandbox.taken() == []


def test_r32_a_look_up_settles_what_was_unknown(number, dispatcher, sandbox, settings) -> None:
    settings.RECHECK_S = [1, 60]
    sandbox.receipts(mode="none")
    sandbox.fault("send", "reset", after_accept=True)
    attempt = wait_status(send(number), "sent", "delivered").attempts.get()
    assert attempt.checks == 1  # only what is unknown is looked up


def test_r32_a_look_up_that_finds_nothing_leaves_it_unknown(number, dispatcher, sandbox, settings) -> None:
    settings.RECHECK_S = [1, 600]
    sandbox.fault("send", "reset")
    message = wait_status(send(number), "unknown")
    wait_for(lambda: Attempt.objects.get(message=message).checks == 1)
    assert status_of(message) == "unknown"


def test_r32_what_was_not_taken_for_certain_is_failed_even_when_given_up_for_unknown(number, sandbox) -> None:
    """A dispatcher that slept says so when it wakes up; its user may send the text again without a doubt."""
    message = send(number)
    (claimed,) = claim_texts(1, uuid.uuid4())
    Attempt.objects.update(status="unknown")
    Message.objects.update(status="unknown")
    store_outcomes([Outcome(claimed, NotTaken("It slept.", "late"))])
    assert status_of(message) == "failed"
    assert Message.objects.get().error_code == "late"


def test_a_long_queue_of_one_number_does_not_hold_up_another(platform, sandbox) -> None:
    """What waits for its number's pace stands behind what may go."""
    user = EndUserFactory(group__reseller__system_provider=platform.system_provider)
    busy, calm = (CpaasNumberFactory(number=tn, user=user, platform=platform) for tn in NUMBERS[:2])
    for n in range(30):
        send(busy, to=f"+1703608{n:04d}")
    message = send(calm)
    platform.options |= {"per_number_per_minute": 1}
    platform.save()
    claimed = {text.text.from_number: text.message_id for text in claim_texts(4, uuid.uuid4())}
    assert set(claimed) == {busy.number, calm.number}
    assert claimed[calm.number] == message.pk
    assert claim_texts(4, uuid.uuid4()) == []
    due = Conversation.objects.filter(number=busy, outbox_at__gt=clock.now() + timedelta(minutes=2))
    assert due.exists()


def test_r32_a_look_up_that_hangs_holds_up_no_probe(number, dispatcher, sandbox, settings) -> None:
    settings.RECHECK_S = [600]
    sandbox.fault("send", "reset")
    message = wait_status(send(number), "unknown")
    wait_for(lambda: CpaasPlatform.objects.get().reachable)
    sandbox.fault("list", "timeout", delay_s=30, times=1)
    Attempt.objects.update(next_check_at=clock.now())
    wait_for(lambda: "/messageDetailSearch" in str(sandbox.call("GET", "/inteliquent/requests/")))
    CpaasPlatform.objects.update(reachable=False, probe_at=clock.now())
    wait_for(lambda: CpaasPlatform.objects.get().reachable, 15)
    assert status_of(message) == "unknown"
