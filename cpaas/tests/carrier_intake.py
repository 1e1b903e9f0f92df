"""What must come of every carrier's calls, through our own door and into the real database."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from cpaas.carriers.base import Sent, WebhookRequest
from cpaas.models import CpaasNumber, CpaasPlatform, Message, ParkedReceipt, WebhookEvent
from cpaas.services.sending import send_message
from cpaas.services.settling import Outcome, store_outcomes
from cpaas.tests.carrier_contract import REMOTE, TN, CarrierWire
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from cpaas.tests.running import claim_texts

OTHER_TN = "+12019920782"
SUCCESS = (200, 204)


@pytest.mark.core
@pytest.mark.django_db(transaction=True)
class IntakeContract(CarrierWire):
    """The rules of intake and receipts that all carriers share (contracts section 3, R21)."""

    @pytest.fixture
    def platform(self) -> CpaasPlatform:
        return CpaasPlatformFactory(carrier=self.code, credentials=dict(self.account.credentials))

    @pytest.fixture
    def number(self, platform: CpaasPlatform) -> CpaasNumber:
        return CpaasNumberFactory(
            number=TN, platform=platform, group__reseller__system_provider=platform.system_provider
        )

    def post(self, request: WebhookRequest) -> int:
        """The status of our answer to a call."""
        headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
        path = request.url.removeprefix(settings.PUBLIC_URL)
        return Client().generic("POST", path, request.body, request.content_type, **headers).status_code

    def sent(self, number: CpaasNumber, sid: str = "sid-1") -> Message:
        """A text of the number that the carrier took and calls `sid`."""
        message = send_message(user=number.user, number=number, to=REMOTE, text="Hello")
        (claimed,) = claim_texts(1, uuid.uuid4())
        store_outcomes([Outcome(claimed, Sent(sid))])
        return message

    def status_of(self, message: Message) -> str:
        return Message.objects.get(pk=message.pk).status

    def test_s1_22_a_text_is_stored_once_however_often_it_comes(self, number: CpaasNumber) -> None:
        request = self.inbound(number.platform.account(), "👋🏽 " + "ŵ" * 1598)
        assert [self.post(request) in SUCCESS for _ in range(3)] == [True] * 3
        message = Message.objects.get()
        assert (message.status, message.remote, message.text) == ("received", REMOTE, "👋🏽 " + "ŵ" * 1598)
        assert WebhookEvent.objects.count() == 1

    def test_a_text_that_comes_several_times_at_once_is_stored_once(self, number: CpaasNumber) -> None:
        if connection.vendor != "postgresql":
            return
        request = self.inbound(number.platform.account(), "Hi")

        def call(_: int) -> bool:
            try:
                return self.post(request) in SUCCESS
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(call, range(8)))
        assert Message.objects.count() == 1

    def test_a_text_without_words_but_with_media_is_kept(self, number: CpaasNumber) -> None:
        media = ["https://m.test/1.jpg", "https://m.test/2.png"] if self.has_media else []
        assert self.post(self.inbound(number.platform.account(), "", media=media)) in SUCCESS
        message = Message.objects.get()
        assert (message.text, message.kind) == ("", "mms" if media else "sms")

    def test_a_group_text_reaches_each_of_our_numbers(self, number: CpaasNumber, platform: CpaasPlatform) -> None:
        other = CpaasNumberFactory(number=OTHER_TN, platform=platform, group=number.group)
        for request in self.group(platform.account(), (TN, OTHER_TN)):
            assert self.post(request) in SUCCESS
        assert sorted(Message.objects.values_list("number__number", flat=True)) == [TN, other.number]

    def test_bytes_that_are_no_text_are_replaced_and_the_text_kept(self, number: CpaasNumber) -> None:
        request = self.broken(number.platform.account())
        assert self.post(request) in SUCCESS
        assert Message.objects.get().text == "caf\ufffd!"
        assert bytes(WebhookEvent.objects.get().body) == request.body, "kept as it came"

    def test_an_unknown_number_of_ours_is_taken_and_kept_as_unassigned(self, platform: CpaasPlatform) -> None:
        assert self.post(self.inbound(platform.account(), "Hi")) in SUCCESS
        assert not Message.objects.exists()
        assert WebhookEvent.objects.get().state == "unassigned"

    def test_a_wrong_secret_is_forbidden_and_stores_nothing(self, number: CpaasNumber) -> None:
        account = number.platform.account()
        wrong = replace(account, credentials=dict.fromkeys(account.credentials, "wrong"))
        request = self.inbound(account, "Hi")
        elsewhere = request.url.replace(number.platform.webhook_secret, "wrong")
        calls = [replace(request, url=elsewhere)]
        if (forged := self.inbound(wrong, "Hi")) != request:
            calls.append(forged)
        assert [self.post(call) for call in calls] == [403] * len(calls)
        assert not Message.objects.exists()
        assert not WebhookEvent.objects.exists()

    def test_garbage_is_refused(self, number: CpaasNumber) -> None:
        request = self.inbound(number.platform.account(), "Hi")
        for body in (b"", b"\xff", *self.unreadable):
            assert self.post(replace(request, body=body)) in (400, 403), body  # 403 where the body is signed
        assert not Message.objects.exists()
        assert set(WebhookEvent.objects.values_list("state", flat=True)) <= {"unreadable"}

    def test_r21_receipts_in_any_order_and_doubled(self, number: CpaasNumber) -> None:
        message = self.sent(number)
        account = number.platform.account()
        for word in (self.words["delivered"], self.words["sent"], self.words["failed"], self.words["delivered"], "?"):
            assert self.post(self.receipt(account, "sid-1", word)) in SUCCESS
        assert self.status_of(message) == "delivered"

    def test_r21_a_failure_says_why_and_a_late_delivered_wins(self, number: CpaasNumber) -> None:
        message = self.sent(number)
        account = number.platform.account()
        self.post(self.receipt(account, "sid-1", self.words["failed"]))
        message.refresh_from_db()
        assert (message.status, bool(message.error_text)) == ("failed", True)
        self.post(self.receipt(account, "sid-1", self.words["delivered"]))
        assert self.status_of(message) == "delivered"

    def test_r21_a_receipt_before_the_answer_is_parked_and_applied(self, number: CpaasNumber) -> None:
        message = send_message(user=number.user, number=number, to=REMOTE, text="Hello")
        (claimed,) = claim_texts(1, uuid.uuid4())
        account = number.platform.account()
        assert self.post(self.receipt(account, "sid-1", self.words["delivered"])) in SUCCESS
        assert self.status_of(message) == "sending"
        store_outcomes([Outcome(claimed, Sent("sid-1"))])
        assert self.status_of(message) == "delivered"
        assert not ParkedReceipt.objects.exists()

    def test_a_receipt_for_a_text_that_is_not_ours_changes_nothing(self, number: CpaasNumber) -> None:
        message = self.sent(number)
        assert self.post(self.receipt(number.platform.account(), "sid-2", self.words["failed"])) in SUCCESS
        assert self.status_of(message) == "sent"
        assert not Message.objects.filter(direction="in").exists()
