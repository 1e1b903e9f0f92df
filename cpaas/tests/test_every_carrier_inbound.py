"""What carriers post to us and what we set up there, over real HTTP, with each carrier: hooks, texts, receipts."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from cpaas.models import CpaasNumber, Message
from cpaas.services.number_work import work_due_numbers
from cpaas.services.numbers import assign_number, delete_number
from cpaas.services.sending import send_message
from cpaas.tests.running import DispatcherThread
from portal.problems import Problem
from tests.sandbox_process import CarrierControl, wait_for

TN, OTHER = "+15515550100", "+15515550101"
REMOTE = "+17036080001"
SUCCESS = {200, 204}
pytestmark = pytest.mark.django_db(transaction=True)


def texts() -> list[str]:
    return list(Message.objects.filter(direction="in").order_by("position").values_list("text", flat=True))


def came(posted: dict[str, Any]) -> set[int | None]:
    return {delivery["http_status"] for delivery in posted["deliveries"]}


def test_s4_31_s4_40_a_number_gets_its_hook_and_gives_it_back(wired: CpaasNumber, wire: CarrierControl) -> None:
    [hook] = wire.hooks()
    assert hook["url"] == wired.platform.inbound_url
    delete_number(actor=None, number=wired)
    work_due_numbers()
    assert not CpaasNumber.objects.exists()
    assert wire.hooks() == []


def test_s4_40_what_numbers_share_stays_until_the_last_of_them_is_gone(
    wired: CpaasNumber, wire: CarrierControl
) -> None:
    assert wired.user is not None
    wire.put_number(OTHER)
    other = assign_number(actor=None, user=wired.user, number=OTHER)
    work_due_numbers()
    delete_number(actor=None, number=wired)
    work_due_numbers()
    assert came(wire.inbound(**{"from": REMOTE, "to": OTHER, "text": "still here"})) <= SUCCESS
    assert texts() == ["still here"]
    delete_number(actor=None, number=other)
    work_due_numbers()
    assert wire.hooks() == []


def test_s4_29_a_number_that_is_not_on_the_account_is_refused(wired: CpaasNumber, wire: CarrierControl) -> None:
    assert wired.user is not None
    with pytest.raises(Problem, match=f"not assigned to this {wire.kind.label} account") as problem:
        assign_number(actor=None, user=wired.user, number="+15515550199")
    assert problem.value.code == "number_not_on_account"


def test_texts_are_taken_once_in_every_shape(wired: CpaasNumber, wire: CarrierControl) -> None:
    """Doubled and parallel calls, digits without a plus, short codes, emoji, long texts; forged calls leave nothing."""
    posts = [
        wire.inbound(**{"from": REMOTE, "to": TN, "text": "once 😀"}, copies=3, parallel=True),
        wire.inbound(**{"from": "70360", "to": TN, "text": "x" * 1600}),
    ]
    wire.carrier(numbers_as="int")
    posts.append(wire.inbound(**{"from": REMOTE, "to": TN, "text": "Grüße"}))
    assert set().union(*map(came, posts)) <= SUCCESS
    assert sorted(texts()) == sorted(["once 😀", "x" * 1600, "Grüße"])
    assert set(Message.objects.values_list("remote", flat=True)) == {REMOTE, "70360"}
    for sign in ("wrong", "none"):
        assert came(wire.inbound(**{"from": REMOTE, "to": TN, "text": "forged"}, sign=sign)) == {403}
    assert len(texts()) == 3


def test_bytes_that_are_no_text_are_answered_and_never_a_fault_of_ours(
    wired: CpaasNumber, wire: CarrierControl
) -> None:
    for content in (b"\xff\xfe\x00{", b"", b"[]", b"{}", b"a" * 1_100_000):
        raw = {"headers": {}, "body_base64": base64.b64encode(content).decode()}
        assert came(wire.inbound(to=TN, raw=raw)) <= {400, 403, 413}, content[:10]
    assert texts() == []


def test_r21_receipts_before_the_answer_doubled_and_reversed_end_in_delivered(
    wired: CpaasNumber, wire: CarrierControl
) -> None:
    wire.receipts(before_answer=True, copies=2, reverse=True, delay_s=0)
    assert wired.user is not None
    message = send_message(user=wired.user, number=wired, to=REMOTE, text="Hello")
    with DispatcherThread():
        wait_for(lambda: Message.objects.get(pk=message.pk).status == "delivered", what="the parked receipts")
    [taken] = wire.taken()
    for word in ("sent", "a-word-nobody-knows"):
        assert came(wire.receipt(taken["sid"], word, copies=2, parallel=True)) <= SUCCESS
    assert Message.objects.get(pk=message.pk).status == "delivered"
    assert texts() == []
