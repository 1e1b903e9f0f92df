"""Two things at the same moment, in the order that hurts most. Only PostgreSQL lets them meet at all."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from cpaas import transport
from cpaas.carriers.base import InboundText, Receipt, Sent, WebhookEvent, WebhookRequest
from cpaas.carriers.inteliquent import hooks
from cpaas.carriers.inteliquent.adapter import _wanted_row
from cpaas.models import Attempt, Conversation, CpaasNumber, Message, NumberPace, ParkedReceipt
from cpaas.models import WebhookEvent as StoredEvent
from cpaas.services import claiming, number_work, numbers, sweeping
from cpaas.services.held import deliver_overlooked
from cpaas.services.number_work import work_due_numbers
from cpaas.services.opt_in import record_opt_in
from cpaas.services.receipts import apply_parked
from cpaas.services.retention import purge
from cpaas.services.sending import resend_message, send_message
from cpaas.services.settling import Outcome, store_outcomes
from cpaas.services.webhook_intake import take_in
from cpaas.tests.factories import (
    AttemptFactory,
    ConversationFactory,
    CpaasNumberFactory,
    CpaasPlatformFactory,
    MessageFactory,
)
from cpaas.tests.interleaving import Beside, wait_for_waiters
from cpaas.tests.running import DispatcherThread, claim_texts
from portal import clock
from portal.models import PortalAccount
from portal.problems import Problem
from portal.services.accounts import delete_account, update_account
from portal.services.users import update_user
from portal.tests.factories import EndUserFactory, PortalAccountFactory, SystemProviderFactory, device_token
from tests.sandbox_process import wait_for

REMOTE = "+17036089795"
pytestmark = pytest.mark.django_db(transaction=True)


def call(number: CpaasNumber, event: WebhookEvent) -> None:
    request = WebhookRequest({}, b"{}", "application/json")
    take_in(platform_id=number.platform_id, nonce=str(uuid.uuid4()), request=request, events=[event])


def text_to(*own: CpaasNumber, sender: str = REMOTE) -> None:
    call(own[0], InboundText(str(uuid.uuid4()), sender, tuple(number.number for number in own), "Hi"))


def send(number: CpaasNumber, to: str = REMOTE) -> Message:
    return send_message(user=number.user, number=number, to=to, text="Hello")


def failed_message(number: CpaasNumber, **more: Any) -> tuple[Message, Attempt]:
    message = MessageFactory(conversation=ConversationFactory(number=number), status="failed", **more)
    return message, AttemptFactory(message=message)


def status_of(message: Message) -> str:
    return Message.objects.values_list("status", flat=True).get(pk=message.pk)


# --- Locks in one order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["name", "login"])
def test_a_user_is_edited_while_a_text_comes_in(field: str) -> None:
    number = CpaasNumberFactory()
    conversation = ConversationFactory(number=number, remote=REMOTE)
    with transaction.atomic():
        Conversation.objects.select_for_update().get(pk=conversation.pk)
        inbound = Beside(lambda: text_to(number))
        wait_for_waiters(1)
        edit = Beside(lambda: update_user(actor=None, user=number.user, changes={field: "New"}))
        wait_for_waiters(2)
    inbound.result()
    assert getattr(edit.result(), field) == "New"
    assert Message.objects.get().status == "received"


def test_a_text_to_several_numbers_comes_in_while_the_answers_of_their_conversations_are_stored() -> None:
    """Whoever locks several conversations does so by their keys, whatever the numbers are."""
    platform = CpaasPlatformFactory()
    numbers = [CpaasNumberFactory(platform=platform, number=f"+1201992{n:04d}") for n in (1, 2)]
    # The one of the later number has the earlier key.
    second, first = (ConversationFactory(number=number, remote=REMOTE).pk for number in reversed(numbers))
    assert second < first
    with transaction.atomic():
        Conversation.objects.select_for_update().get(pk=second)
        inbound = Beside(lambda: text_to(*numbers))
        wait_for_waiters(1)
        Conversation.objects.select_for_update().get(pk=first)
    inbound.result()
    assert Message.objects.filter(status="received").count() == 2


def test_r8_a_number_that_comes_while_the_licence_comes_back_holds_no_text() -> None:
    """Whoever gives the licence back cannot see the number yet, and the text cannot see the licence."""
    user = EndUserFactory(licence="none")
    with transaction.atomic():
        update_user(actor=None, user=user, changes={"licence": "desktop"})
        number = Beside(lambda: CpaasNumberFactory(user=user)).result()
        Beside(lambda: text_to(number)).result()
        assert Beside(lambda: Message.objects.get().status).result() == "held"
    assert Message.objects.get().status == "received"


def test_r8_a_text_whose_delivery_a_killed_process_never_looked_at_again_is_delivered() -> None:
    usable, unusable = CpaasNumberFactory(), CpaasNumberFactory(opt_in_state="pending")
    held = [MessageFactory(conversation__number=number, direction="in", status="held") for number in (usable, unusable)]
    assert deliver_overlooked() == 1
    assert [status_of(message) for message in held] == ["received", "held"]
    assert deliver_overlooked() == 0


def test_a_number_is_deleted_while_the_answer_to_its_text_is_stored() -> None:
    """S4.40: nothing of it is left, and neither side gets an error."""
    number = CpaasNumberFactory()
    message = send(number)
    claimed = claim_texts(1, uuid.uuid4())
    with transaction.atomic():
        Message.objects.select_for_update().get(pk=message.pk)
        deletion = Beside(lambda: numbers.delete_number(actor=None, number=number))
        wait_for_waiters(1)
        storing = Beside(lambda: store_outcomes([Outcome(claimed[0], Sent("sid"))]))
        wait_for_waiters(2)
    deletion.result()
    storing.result()
    assert not any(model.objects.exists() for model in (Message, Attempt, Conversation))


def test_a_claim_that_settles_and_postpones_never_waits_for_the_number() -> None:
    """R35: the dispatcher serves all tenants, so it must not stand in line for one number's lock."""
    number = CpaasNumberFactory()
    send(number)
    Attempt.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    with transaction.atomic():
        CpaasNumber.objects.select_for_update().get(pk=number.pk)
        assert Beside(lambda: claim_texts(1, uuid.uuid4())).result() == []
    assert Message.objects.get().error_code == "expired"


# --- R21, R22, R32, R34: what a message shows ------------------------------------------------------------------------


def test_r22_a_late_receipt_of_the_first_attempt_does_not_hide_the_resend() -> None:
    """The message would look undelivered again, and could be sent a third time."""
    number = CpaasNumberFactory()
    message, attempt = failed_message(number)
    Attempt.objects.filter(pk=attempt.pk).update(status="sent")
    with transaction.atomic():
        resend_message(user=number.user, message=message)
        receipt = Beside(lambda: call(number, Receipt(attempt.sid, "undelivered", "UNDELIV")))
        wait_for_waiters(1)
    receipt.result()
    assert Attempt.objects.get(pk=attempt.pk).status == "undelivered"
    assert status_of(message) == "queued"


def test_r21_delivered_by_the_first_attempt_stays_when_the_second_begins() -> None:
    number = CpaasNumberFactory()
    message, attempt = failed_message(number)
    Attempt.objects.filter(pk=attempt.pk).update(status="sent")
    resend_message(user=number.user, message=message)
    with transaction.atomic():
        call(number, Receipt(attempt.sid, "delivered", "DELIVRD"))
        claim = Beside(lambda: claim_texts(1, uuid.uuid4()))
        wait_for_waiters(1)
    claim.result()
    assert status_of(message) == "delivered"


def test_r21_an_answer_to_the_first_attempt_does_not_stand_for_the_second() -> None:
    number = CpaasNumberFactory()
    message = send(number)
    first = claim_texts(1, uuid.uuid4())
    Attempt.objects.update(status="unknown")
    Message.objects.update(status="unknown")
    Conversation.objects.update(outbox_at=None)
    resend_message(user=number.user, message=Message.objects.get())
    Attempt.objects.filter(n=2).update(status="unknown")
    Message.objects.update(status="unknown")
    store_outcomes([Outcome(first[0], Sent("late"))])
    assert Attempt.objects.get(n=1).status == "sent"
    assert status_of(message) == "unknown"


def test_r34_a_text_that_is_being_sent_does_not_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be shown as failed and sent again by its user, although it went out."""
    number = CpaasNumberFactory()
    message = send(number)
    expires_at = clock.now() + timedelta(minutes=1)
    Attempt.objects.update(expires_at=expires_at)
    with transaction.atomic():
        claimed = claim_texts(1, uuid.uuid4())
        monkeypatch.setattr(clock, "now", lambda: expires_at)
        expiry = Beside(sweeping.expire_due)
        wait_for_waiters(1)
    assert expiry.result() == 0
    store_outcomes([Outcome(claimed[0], Sent("sid"))])
    assert status_of(message) == "sent"


def test_r34_a_text_that_just_expired_is_not_sent() -> None:
    number = CpaasNumberFactory()
    send(number)
    with transaction.atomic():
        Attempt.objects.update(status="failed", error_code="expired")
        claim = Beside(lambda: claim_texts(1, uuid.uuid4()))
        wait_for_waiters(1)
    assert claim.result() == []
    claim_texts(1, uuid.uuid4())
    assert Conversation.objects.get().outbox_at is None


def test_r21_a_receipt_parked_while_others_are_applied_is_kept() -> None:
    message = MessageFactory(status="sending", sid="s")
    attempt = AttemptFactory(message=message)
    platform_id = attempt.platform_id
    ParkedReceipt.objects.create(platform_id=platform_id, sid="s", status="sent")
    with transaction.atomic():
        Attempt.objects.select_for_update().get(pk=attempt.pk)
        applying = Beside(lambda: apply_parked(platform_id, ["s"]))
        wait_for_waiters(1)
        Beside(lambda: ParkedReceipt.objects.create(platform_id=platform_id, sid="s", status="delivered")).result()
    applying.result()
    apply_parked(platform_id, ["s"])
    assert status_of(message) == "delivered"


# --- R8: what is held ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipients", [1, 2])
def test_r8_a_text_that_comes_while_the_licence_is_given_back_is_delivered(recipients: int) -> None:
    """By the single statement and step by step: a statement sees the licence as it was when it began."""
    user = EndUserFactory(licence="none")
    platform = CpaasPlatformFactory(system_provider=user.system_provider)
    own = [CpaasNumberFactory(user=user, platform=platform) for _ in range(recipients)]
    with transaction.atomic():
        update_user(actor=None, user=user, changes={"licence": "desktop"})
        inbound = Beside(lambda: text_to(*own))
        wait_for_waiters(1)
    inbound.result()
    assert set(Message.objects.values_list("status", flat=True)) == {"received"}
    assert set(Conversation.objects.values_list("new_count", flat=True)) == {1}


def test_r8_a_text_that_comes_while_the_number_is_enabled_is_delivered(number, sandbox) -> None:
    CpaasNumber.objects.update(status="provisioning", next_try_at=clock.now())
    with transaction.atomic():
        text_to(number)
        working = Beside(work_due_numbers)
        wait_for_waiters(1)
    assert working.result() == 1
    assert Message.objects.get().status == "received"


def test_r8_a_user_accepts_while_the_licence_is_given_back() -> None:
    """Neither sees the other's change; the number's lock makes one of them come second."""
    user = EndUserFactory(licence="none")
    number = CpaasNumberFactory(user=user, opt_in_state="pending")
    text_to(number)
    with transaction.atomic():
        record_opt_in(user=user, number=number, answer="yes")
        edit = Beside(lambda: update_user(actor=None, user=user, changes={"licence": "desktop"}))
        wait_for_waiters(1)
    edit.result()
    assert Message.objects.get().status == "received"


# --- R10, S4.21: the last alert account ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda account: update_account(actor=None, account=account, changes={"send_alerts": False}),
        lambda account: delete_account(actor=None, account=account),
    ],
    ids=["update", "delete"],
)
def test_s4_21_the_guard_watches_the_tenant_the_account_is_in_now(change: Any) -> None:
    """An account that was moved after the administrator's page was opened, and is the last one where it is now."""
    platform = CpaasPlatformFactory()
    elsewhere = SystemProviderFactory()
    opened = PortalAccountFactory(scope=elsewhere, send_alerts=True)
    update_account(actor=None, account=opened, changes={}, level="system_provider", scope=platform.system_provider)
    stale = PortalAccount.objects.get(pk=opened.pk)
    stale.system_provider = elsewhere
    with pytest.raises(Problem) as refused:
        change(stale)
    assert refused.value.code == "last_alert_account"


def test_s4_21_two_administrators_at_the_same_moment() -> None:
    platform = CpaasPlatformFactory()
    accounts = [PortalAccountFactory(scope=platform.system_provider, send_alerts=True) for _ in range(3)]
    with transaction.atomic():
        update_account(actor=None, account=accounts[0], changes={"send_alerts": False})
        others = [
            Beside(lambda: update_account(actor=None, account=accounts[1], changes={"is_active": False})),
            Beside(lambda: delete_account(actor=None, account=accounts[2])),
        ]
        wait_for_waiters(2)
    codes = []
    for other in others:
        try:
            other.result()
        except Problem as problem:
            codes.append(problem.code)
    assert codes == ["last_alert_account"]


def test_s4_21_an_account_moved_while_another_administrator_deletes_it() -> None:
    platform = CpaasPlatformFactory()
    account = PortalAccountFactory(scope=SystemProviderFactory(), send_alerts=True)
    with transaction.atomic():
        update_account(actor=None, account=account, changes={}, level="system_provider", scope=platform.system_provider)
        deletion = Beside(lambda: delete_account(actor=None, account=PortalAccount.objects.get(pk=account.pk)))
        wait_for_waiters(1)
    with pytest.raises(Problem) as refused:
        deletion.result()
    assert refused.value.code == "changed_meanwhile"


def test_r32_a_platform_that_answers_again_while_a_claim_puts_its_texts_off(monkeypatch: Any) -> None:
    """None of them waits for the net below, five minutes later."""
    number = CpaasNumberFactory()
    message = send(number)
    sweeping.mark_unreachable(number.platform_id)
    put_off = claiming._set_due

    def meanwhile(*args: Any) -> None:
        Beside(lambda: sweeping.mark_reachable(number.platform_id)).result()
        put_off(*args)

    with monkeypatch.context() as patch:
        patch.setattr(claiming, "_set_due", meanwhile)
        assert claim_texts(10, uuid.uuid4()) == []
    [claimed] = claim_texts(10, uuid.uuid4())
    assert claimed.message_id == message.pk


# --- Idempotency keys ------------------------------------------------------------------------------------------------


def post(api: Any, number: CpaasNumber, token: str) -> int:
    body = {"from": str(number.pk), "to": REMOTE, "text": "Hello"}
    answer = api(token).post("/api/v1/messages/", body, headers={"Idempotency-Key": "k"})
    return int(answer.status_code)


def test_a_request_repeated_while_the_first_still_runs_gets_its_answer(api: Any) -> None:
    number = CpaasNumberFactory()
    token = device_token(number.user)
    with transaction.atomic():
        CpaasNumber.objects.select_for_update().get(pk=number.pk)
        slow = Beside(lambda: post(api, number, token))
        wait_for_waiters(1)
        second = Beside(lambda: post(api, number, token))
        wait_for_waiters(2)
    assert (slow.result(), second.result()) == (202, 202)
    assert Message.objects.count() == 1


# --- Against a real carrier -------------------------------------------------------------------------------------------


def test_r32_a_dispatcher_held_up_after_its_claim_gives_the_text_back(number, sandbox, monkeypatch: Any) -> None:
    """The time from before the claim counts: nobody knows how long its commit took, or the process slept."""
    monkeypatch.setattr("cpaas.dispatch.STALE_S", 0.2)
    NumberPace.objects.create(number_id=number.pk, arrival_at=clock.now())
    with DispatcherThread():
        with transaction.atomic():
            NumberPace.objects.select_for_update().get(pk=number.pk)
            message = Beside(lambda: send(number)).result()
            wait_for_waiters(1)
            time.sleep(0.3)
        wait_for(lambda: Attempt.objects.get(message=message).error_code == "late")
        assert sandbox.taken() == []


@pytest.mark.parametrize("at_once", [True, False])
def test_s4_40_a_late_removal_leaves_the_number_that_was_added_again_with_its_hook(number, sandbox, at_once) -> None:
    """It stays Enabled, without a moment of Provisioning, unless the carrier does not take its hook just then."""
    numbers.delete_number(actor=None, number=number)
    late = number_work._claim_one(number_work._due())
    numbers.assign_number(actor=None, user=number.user, number=number.number)
    work_due_numbers()
    if not at_once:
        sandbox.fault("hook", "refuse")
    number_work._remove(late)
    assert CpaasNumber.objects.get().status == ("enabled" if at_once else "provisioning")
    work_due_numbers()
    assert CpaasNumber.objects.get().status == "enabled"
    assert len(sandbox.hooks()) == 1


def test_s4_31_a_worker_that_was_overtaken_between_looking_and_setting_leaves_one_hook(number, sandbox) -> None:
    CpaasNumber.objects.update(status="provisioning", next_try_at=clock.now())
    late = number_work._claim_one(number_work._due())
    CpaasNumber.objects.update(next_try_at=clock.now())
    work_due_numbers()
    account = number.platform.account()
    transport.run(hooks.add_row(account, _wanted_row(account, number.number), known=set()))
    assert len(sandbox.hooks()) == 2
    number_work.take_back(late)
    assert len(sandbox.hooks()) == 1


def test_s4_40_a_number_deleted_while_its_hook_is_being_set_leaves_no_hook(number, sandbox) -> None:
    CpaasNumber.objects.update(status="provisioning", next_try_at=clock.now())
    sandbox.carrier(latency_ms=300)
    setting = Beside(work_due_numbers)
    wait_for(lambda: CpaasNumber.objects.get().claim)
    numbers.delete_number(actor=None, number=number)
    work_due_numbers()
    assert not CpaasNumber.objects.exists()
    setting.result()
    assert sandbox.hooks() == []


def test_a_text_that_the_network_delivered_twice_at_once_is_stored_once() -> None:
    """Only its content tells (facts 2.7), which the later of the two sees when the first is stored."""
    number = CpaasNumberFactory()
    first, second = (InboundText(sid, REMOTE, (number.number,), "Hi", renamed_when_repeated=True) for sid in "ab")
    with transaction.atomic():
        call(number, first)
        repetition = Beside(lambda: call(number, second))
        wait_for_waiters(1)
    repetition.result()
    assert Message.objects.get().sid == "a"


def test_a_purge_does_not_wait_for_raw_events_that_go_with_their_number() -> None:
    """Both remove many, in orders of their own: each would wait for the other's."""
    platform = CpaasPlatformFactory()
    event = {"platform": platform, "body_digest": "d", "body": b"", "state": "unassigned"}
    for nonce in ("busy", "free"):
        StoredEvent.objects.create(nonce=nonce, **event)
    StoredEvent.objects.update(created_at=clock.now() - timedelta(days=15))
    with transaction.atomic():
        StoredEvent.objects.filter(nonce="busy").delete()
        assert Beside(purge).result().webhook_events == 1
        transaction.set_rollback(True)
    assert list(StoredEvent.objects.values_list("nonce", flat=True)) == ["busy"]
