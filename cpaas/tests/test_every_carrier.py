"""What can go wrong on the way to a carrier, over real HTTP and through the real dispatcher, with each one (R32)."""

from __future__ import annotations

from typing import Any

import pytest

from cpaas.models import Attempt, CpaasNumber, CpaasPlatform, Message
from cpaas.services.sending import send_message
from cpaas.tests.running import DispatcherThread
from portal import clock
from portal.problems import Problem
from tests.sandbox_process import CarrierControl, wait_for

# How sending goes wrong for each recipient, the state in which the text ends, and how often the carrier took it.
FATES: dict[str, tuple[dict[str, Any], str, int]] = {
    "+17036080001": ({"kind": "html"}, "unknown", 0),
    "+17036080002": ({"kind": "reset"}, "unknown", 0),
    "+17036080003": ({"kind": "reset", "after_accept": True}, "unknown", 1),
    "+17036080004": ({"kind": "status", "status": 500, "after_accept": True}, "unknown", 1),
    "+17036080005": ({"kind": "refuse", "text": "Not today"}, "failed", 0),
    "+17036080006": ({"kind": "status", "status": 401}, "failed", 0),
    "+17036080007": ({"kind": "throttle", "status": 429, "times": 1}, "sent", 1),
    "+17036080008": ({"kind": "status", "status": 503, "times": 1}, "sent", 1),
}
pytestmark = pytest.mark.django_db(transaction=True)


def send(number: CpaasNumber, to: str, text: str = "Hello") -> Message:
    return send_message(user=number.user, number=number, to=to, text=text)


def statuses() -> dict[str, str]:
    return dict(Message.objects.values_list("remote", "status"))


def test_r32_every_bad_answer_ends_in_the_right_state_and_no_text_goes_twice(
    wired: CpaasNumber, wire: CarrierControl
) -> None:
    for to, (fault, _, _) in FATES.items():
        wire.fault("send", **{"times": None, **fault}, to=to)
        send(wired, to)
    expected = {to: status for to, (_, status, _) in FATES.items()}
    with DispatcherThread():
        wait_for(lambda: statuses() == expected, what=f"{expected}")
    taken = [row["to"] for row in wire.taken()]
    assert {to: taken.count(to) for to in FATES} == {to: times for to, (_, _, times) in FATES.items()}
    failed = Message.objects.get(remote="+17036080005")
    assert "Not today" in failed.error_text
    # The two that were asked to wait were tried again once, all others never.
    tries = dict(Attempt.objects.values_list("message__remote", "tries"))
    assert {to for to, count in tries.items() if count > 1} == {"+17036080007", "+17036080008"}


def test_r32_a_text_whose_answer_never_came_is_found_at_the_carrier(
    wired: CpaasNumber, wire: CarrierControl, settings: Any
) -> None:
    settings.CARRIER_TIMEOUT_S, settings.RECHECK_S = 2, [3, 60]
    wire.receipts(mode="none", sequence=["sent", "delivered"])
    wire.fault("send", "timeout", after_accept=True, delay_s=30)
    message = send(wired, "+17036080009")
    with DispatcherThread():
        wait_for(lambda: statuses()[message.remote] == "delivered", what="the look-up")
    [taken] = wire.taken()
    # Inteliquent keeps no id on record.
    assert Attempt.objects.get().sid in ("", taken["sid"])


def test_r32_a_carrier_that_is_down_gets_what_waited_for_it_once(wired: CpaasNumber, wire: CarrierControl) -> None:
    wire.carrier(state="refusing")
    message = send(wired, "+17036080010")
    with DispatcherThread():
        wait_for(lambda: not CpaasPlatform.objects.get().reachable, what="the first try")
        wait_for(lambda: statuses() == {message.remote: "queued"}, what="the text to wait")
        wire.carrier(state="up")
        CpaasPlatform.objects.update(probe_at=clock.now())
        wait_for(lambda: statuses() == {message.remote: "sent"}, what="the text to be sent")
    assert [row["text"] for row in wire.taken()] == ["Hello"]


def test_texts_arrive_as_they_were_written(wired: CpaasNumber, wire: CarrierControl) -> None:
    texts = {
        "+17036080011": "Grüße 😀 & 50% + ⇒ \"'<>",
        "+17036080012": "two\nlines, {braces} and €",
        "+17036080013": "é" * 1600,
    }
    for to, text in texts.items():
        send(wired, to, text)
    with DispatcherThread():
        wait_for(lambda: set(statuses().values()) == {"sent"}, what="the texts to be sent")
    arrived: dict[str, str] = {}
    for row in wire.taken():
        arrived[row["to"]] = arrived.get(row["to"], "") + row["text"]
    assert arrived == texts


def test_r20_a_carrier_that_says_the_recipient_opted_out_stops_the_pair(
    wired: CpaasNumber, wire: CarrierControl
) -> None:
    said = {"text": "The recipient has opted out of messages from this number", **wire.kind.opted_out}
    wire.fault("send", "refuse", **said)
    message = send(wired, "+17036080014")
    with DispatcherThread():
        wait_for(lambda: statuses()[message.remote] == "failed", what="the carrier's no")
    with pytest.raises(Problem) as problem:
        send(wired, message.remote, "Once more")
    assert problem.value.code == "remote_opted_out"
    # START from that telephone, and only from that one, opens it again.
    wire.inbound(**{"from": "+17036080015", "to": wired.number, "text": "START"})
    with pytest.raises(Problem):
        send(wired, message.remote, "Once more")
    wire.inbound(**{"from": message.remote, "to": wired.number, "text": " start! "})
    assert send(wired, message.remote, "Welcome back").status == "queued"
    wire.inbound(**{"from": message.remote, "to": wired.number, "text": "Stop"})
    with pytest.raises(Problem):
        send(wired, message.remote, "Too much")
