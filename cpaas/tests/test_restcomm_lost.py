"""What Restcomm loses and we find again, against its simulator: receipts, inbound texts, pieces of texts (facts 2)."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from cpaas import transport
from cpaas.carriers.registry import get_carrier
from cpaas.models import Attempt, AttemptPart, CpaasNumber, CpaasPlatform, Message, ParkedReceipt, WebhookEvent
from cpaas.services.number_work import work_due_numbers
from cpaas.services.numbers import delete_messages, delete_number
from cpaas.services.reconciling import fetch_missed
from cpaas.services.sending import send_message
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from cpaas.tests.running import DispatcherThread
from cpaas.transport.exchanges import TIMEOUT_S
from portal import clock
from portal.tests.factories import EndUserFactory
from tests.sandbox_process import CarrierControl, SandboxProcess, wait_for

REMOTE = "+17036089795"
TN = "+12019930760"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


@pytest.fixture
def restcomm(sandbox: SandboxProcess) -> CarrierControl:
    control = sandbox.of("restcomm")
    control.receipts(mode="manual")
    return control


@pytest.fixture
def platform(transactional_db: None, restcomm: CarrierControl) -> CpaasPlatform:
    kind = restcomm.kind
    return CpaasPlatformFactory(
        carrier="restcomm", credentials=dict(kind.credentials), options=kind.options(restcomm.port)
    )


@pytest.fixture
def number(platform: CpaasPlatform, live_server: LiveServer, settings: Any) -> CpaasNumber:
    """A number whose hook leads to a live server of ours."""
    settings.PUBLIC_URL = live_server.url
    user = EndUserFactory(group__reseller__system_provider=platform.system_provider)
    made = CpaasNumberFactory(number=TN, user=user, platform=platform)
    CpaasNumber.objects.update(created_at=clock.now() - timedelta(hours=1))
    transport.run(get_carrier("restcomm").set_hook(platform.account(), TN))
    return made


@pytest.fixture
def sending(number: CpaasNumber) -> Iterator[None]:
    with DispatcherThread():
        yield


def send(number: CpaasNumber, text: str = "Hello") -> Message:
    return send_message(user=number.user, number=number, to=REMOTE, text=text)


def status_of(message: Message) -> str:
    return Message.objects.get(pk=message.pk).status


def wait_status(message: Message, status: str) -> Message:
    wait_for(lambda: status_of(message) == status, what=status)
    return Message.objects.get(pk=message.pk)


def test_a_receipt_that_never_comes_is_asked_for(number, restcomm, settings, sending) -> None:
    settings.RECHECK_S = [1, 600]
    restcomm.receipts(mode="none", sequence=["sent", "undelivered"])
    message = wait_status(send(number), "undelivered")
    assert message.error_text == "The carrier says: undelivered"
    assert not WebhookEvent.objects.exists()


def test_other_carriers_texts_are_not_asked_for(number, sending) -> None:
    message = wait_status(send(number), "sent")
    assert message.attempts.get().next_check_at is not None
    assert not get_carrier("inteliquent").receipts_get_lost


def test_a_text_that_was_cut_says_so_and_stays_sent(number, restcomm, sending) -> None:
    restcomm.carrier(normalize=True)
    message = wait_status(send(number, "x" * 300), "sent")
    assert message.error_code == "truncated"
    assert "159 of 300 characters" in message.error_text
    restcomm.receipt(message.attempts.get().sid, "delivered")
    assert Message.objects.get(pk=message.pk).error_code == "truncated"


def split(number: CpaasNumber) -> Message:
    number.platform.options |= {"split_at_160_bytes": True}
    number.platform.save()
    return send(number, "word " * 60)


def test_r21_a_text_in_parts_is_delivered_when_all_of_it_is(number, restcomm, sending) -> None:
    restcomm.carrier(normalize=True)
    message = wait_status(split(number), "sent")
    assert message.error_code == ""
    taken = restcomm.taken()
    assert "".join(row["text"] for row in taken) == "word " * 60
    first, second = (row["sid"] for row in taken)
    restcomm.receipt(second, "delivered", copies=2, parallel=True)
    assert status_of(message) == "sent"
    restcomm.receipt(first, "delivered")
    assert status_of(message) == "delivered"


def test_r21_a_text_in_parts_is_failed_when_one_is(number, restcomm, sending) -> None:
    message = wait_status(split(number), "sent")
    first, second = (row["sid"] for row in restcomm.taken())
    restcomm.receipt(first, "delivered")
    restcomm.receipt(second, "undelivered", error="30005")
    message.refresh_from_db()
    assert message.status == "undelivered"
    assert "30005" in message.error_text
    restcomm.receipt(first, "sent")
    assert status_of(message) == "undelivered"
    restcomm.receipt(second, "delivered")
    assert status_of(message) == "delivered"


def test_r21_receipts_of_parts_before_the_answer_are_parked(number, restcomm, sending) -> None:
    restcomm.receipts(mode="auto", sequence=["delivered"], before_answer=True, delay_s=0)
    message = split(number)
    wait_status(message, "delivered")
    assert AttemptPart.objects.filter(status="delivered").count() == 2
    assert not ParkedReceipt.objects.exists()


def test_parts_whose_receipts_never_come_are_asked_for(number, restcomm, settings, sending) -> None:
    settings.RECHECK_S = [1, 600]
    restcomm.receipts(mode="none", sequence=["sent", "delivered"])
    wait_status(split(number), "delivered")
    assert not WebhookEvent.objects.exists()


def test_r18_with_the_text_its_parts_go_and_what_was_said_of_them(number, restcomm, sending) -> None:
    message = wait_status(split(number), "sent")
    for row in restcomm.taken():
        restcomm.receipt(row["sid"], "sent")
    assert WebhookEvent.objects.count() == 2
    delete_messages(actor=None, number=number)
    assert not AttemptPart.objects.exists()
    assert not WebhookEvent.objects.exists()
    assert not Message.objects.filter(pk=message.pk).exists()


def lost(restcomm: CarrierControl, number: CpaasNumber, text: str = "Hi") -> None:
    """A text whose webhook fails, at the second address too: Restcomm tells nobody again."""
    away = replace(number.platform.account(), inbound_url="http://127.0.0.1:9/")
    transport.run(get_carrier("restcomm").set_hook(away, TN))
    answer = restcomm.inbound(**{"from": REMOTE, "to": TN, "text": text})
    assert [delivery["http_status"] for delivery in answer["deliveries"]] == [None, None]


def test_r37_a_text_we_were_never_told_of_is_fetched_once(number, restcomm) -> None:
    restcomm.inbound(**{"from": REMOTE, "to": TN, "text": "told"})
    lost(restcomm, number, "missed")
    assert fetch_missed() == 1
    assert fetch_missed() == 0
    assert list(Message.objects.order_by("position").values_list("text", flat=True)) == ["told", "missed"]
    assert CpaasPlatform.objects.get().inbound_listed_at is not None


def test_r37_a_webhook_that_fails_once_comes_to_the_second_address(number, restcomm) -> None:
    restcomm.inbound(**{"from": REMOTE, "to": TN, "text": "Hi", "url": "http://127.0.0.1:9/"})
    assert Message.objects.get().text == "Hi"


def test_r37_texts_of_before_the_number_was_ours_are_not_taken(number, restcomm) -> None:
    lost(restcomm, number)
    CpaasNumber.objects.update(created_at=clock.now() + timedelta(minutes=1))
    assert fetch_missed() == 0
    assert not Message.objects.exists()


def test_r37_with_the_carrier_away_the_time_since_is_asked_for_later(number, restcomm) -> None:
    lost(restcomm, number)
    restcomm.carrier(state="refusing")
    assert fetch_missed() == 0
    assert CpaasPlatform.objects.get().inbound_listed_at is None
    restcomm.carrier(state="up")
    assert fetch_missed() == 1


def test_r37_a_server_that_hangs_keeps_no_other_platform_waiting(number, restcomm) -> None:
    lost(restcomm, number)
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as pool:
        hanging = CpaasPlatformFactory(
            id=uuid.UUID(int=1),  # it would be the first of them
            carrier="restcomm",
            credentials=number.platform.credentials,
            options={"base_url": f"http://127.0.0.1:{silent.getsockname()[1]}"},
        )
        CpaasNumberFactory(platform=hanging)
        asked = pool.submit(_hold_until_another_is_asked, silent, restcomm)
        assert fetch_missed() == 1
        assert asked.result()


def _hold_until_another_is_asked(silent: socket.socket, restcomm: CarrierControl) -> bool:
    """Let a call hang until the other server is asked for its texts, which is sooner than the transport gives up."""

    def is_asked() -> bool:
        called = restcomm.call("GET", "/restcomm/requests/")["results"]
        return any(request["method"] == "GET" and "/SMS/Messages" in request["path"] for request in called)

    with silent.accept()[0]:
        return bool(wait_for(is_asked, seconds=TIMEOUT_S - 5, what="the question to the other server"))


def test_a_text_that_the_network_repeats_under_a_new_id_is_stored_once(number, restcomm) -> None:
    for _ in range(2):
        restcomm.inbound(**{"from": REMOTE, "to": TN, "text": "Hi"})
    restcomm.inbound(**{"from": REMOTE, "to": TN, "text": "Hi!"})
    assert list(Message.objects.order_by("position").values_list("text", flat=True)) == ["Hi", "Hi!"]
    assert fetch_missed() == 0
    Message.objects.filter(text="Hi").update(created_at=clock.now() - timedelta(minutes=1))
    restcomm.inbound(**{"from": REMOTE, "to": TN, "text": "Hi"})
    assert Message.objects.filter(text="Hi").count() == 2


def test_s4_40_the_former_hook_is_given_back(platform, restcomm) -> None:
    carrier, account = get_carrier("restcomm"), platform.account()
    elsewhere = CpaasPlatformFactory(
        carrier="restcomm", credentials=platform.credentials, options=platform.options
    ).account()
    transport.run(carrier.set_hook(elsewhere, TN))
    user = EndUserFactory(group__reseller__system_provider=platform.system_provider)
    number = CpaasNumberFactory(number=TN, user=user, platform=platform, status="provisioning")
    work_due_numbers()
    number.refresh_from_db()
    assert (number.status, number.former_hook["SmsUrl"]) == ("enabled", elsewhere.inbound_url)
    assert [hook["url"] for hook in restcomm.hooks()] == [account.inbound_url]
    delete_number(actor=None, number=number)
    work_due_numbers()
    assert [hook["url"] for hook in restcomm.hooks()] == [elsewhere.inbound_url]
    assert not Attempt.objects.exists()
