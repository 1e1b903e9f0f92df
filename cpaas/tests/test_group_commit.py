"""Inbound calls that come together are stored together, and each is answered for itself."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from cpaas.carriers.base import InboundText, WebhookRequest
from cpaas.models import Conversation, CpaasNumber, Message, WebhookEvent
from cpaas.services import inbound_statement, webhook_intake
from cpaas.services.group_commit import GroupCommit
from cpaas.services.inbound_statement import PlainCall
from cpaas.tests.factories import CpaasNumberFactory
from cpaas.tests.interleaving import Beside, wait_for_waiters
from portal.models import Event
from tests.sandbox_process import wait_for

REMOTE = "+17036089795"
pytestmark = pytest.mark.django_db(transaction=True)


class Store:
    """Where a group writes to: remembers what came together, waits for `open`, refuses what is `bad`."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.open = threading.Event()

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.groups.append(list(items))
        assert self.open.wait(30)
        if "bad" in items:
            raise ValueError("bad")
        return [item.upper() for item in items]


def in_line(group: GroupCommit[str, str], *items: str) -> list[Beside]:
    """One caller an item, each in line before the next comes."""
    callers = []
    for item in items:
        before = len(group._line)
        callers.append(Beside(lambda item=item: group.store(item)))  # type: ignore[misc]
        wait_for(lambda before=before: len(group._line) == before + 1)  # type: ignore[misc]
    return callers


def led(store: Store, group: GroupCommit[str, str]) -> Beside:
    """A caller that leads and is writing."""
    leader = Beside(lambda: group.store("first"))
    wait_for(lambda: store.groups)
    return leader


def test_what_comes_while_one_is_written_is_written_together_in_turn_and_bounded() -> None:
    store = Store()
    group: GroupCommit[str, str] = GroupCommit(store, most=2)
    leader, others = led(store, group), in_line(group, "a", "b", "c")
    store.open.set()
    assert [caller.result() for caller in [leader, *others]] == ["FIRST", "A", "B", "C"]
    assert store.groups == [["first"], ["a", "b"], ["c"]]


def test_one_that_cannot_be_written_fails_alone() -> None:
    store = Store()
    group: GroupCommit[str, str] = GroupCommit(store, most=10)
    leader, (fine, bad, also_fine) = led(store, group), in_line(group, "a", "bad", "c")
    store.open.set()
    assert [leader.result(), fine.result(), also_fine.result()] == ["FIRST", "A", "C"]
    with pytest.raises(ValueError, match="bad"):
        bad.result()
    assert group.store("again") == "AGAIN"


def test_a_leader_that_fails_hands_the_lead_on() -> None:
    store = Store()
    group: GroupCommit[str, str] = GroupCommit(store, most=10)
    leader = Beside(lambda: group.store("bad"))
    wait_for(lambda: store.groups)
    (other,) = in_line(group, "a")
    store.open.set()
    assert other.result() == "A"
    with pytest.raises(ValueError, match="bad"):
        leader.result()


def test_in_a_transaction_of_the_callers_nobody_else_is_taken_along() -> None:
    store = Store()
    group: GroupCommit[str, str] = GroupCommit(store, most=10)
    leader, others = led(store, group), in_line(group, "a")
    store.open.set()
    with transaction.atomic():
        assert group.store("mine") == "MINE"
    assert ["mine"] in store.groups
    assert [leader.result(), *(other.result() for other in others)] == ["FIRST", "A"]


# --- The statement ---------------------------------------------------------------------------------------------------


def call(number: CpaasNumber, **more: Any) -> PlainCall:
    given: dict[str, Any] = {"to": number.number, "sender": REMOTE, "sid": str(uuid.uuid4()), "nonce": "", **more}
    text = InboundText(given["sid"], given["sender"], (given["to"],), "Hi")
    request = WebhookRequest({}, given["sid"].encode(), "application/json")
    kept = webhook_intake._call(uuid.uuid4(), given["nonce"], request, [text])
    return PlainCall(number.platform_id, kept, text, timezone.now())


def test_many_calls_in_one_statement_are_stored_as_one_by_one() -> None:
    first = CpaasNumberFactory()
    second = CpaasNumberFactory(platform=first.platform, user=first.user, number="+12019920762")
    held = CpaasNumberFactory(platform=first.platform, number="+12019920763", opt_in_state="pending")
    calls = [
        call(first, nonce="1"),
        call(first, sender="+17036089796"),
        call(second),
        call(first),
        call(held),
        call(first, to="+12019920799"),
        call(first, nonce="1"),
    ]
    taken = inbound_statement.receive(calls)
    assert [each.new for each in taken] == [True] * 6 + [False]
    assert [each.held_for for each in taken] == [None] * 4 + [held.pk, None, None]
    assert WebhookEvent.objects.filter(state="applied").count() == 5
    assert WebhookEvent.objects.get(state="unassigned").sid == calls[5].text.sid
    conversation = Conversation.objects.get(number=first, remote=REMOTE)
    assert (conversation.last_position, conversation.new_count, conversation.message_count) == (2, 2, 2)
    rows = conversation.messages.order_by("position").values_list("position", "sid")
    assert list(rows) == [(1, calls[0].text.sid), (2, calls[3].text.sid)]
    assert Message.objects.get(number=held).status == "held"
    inbound_statement.receive([call(first)])
    events = list(Event.objects.filter(user=first.user).order_by("number").values_list("number", "type"))
    assert events == list(enumerate(["message.created", "conversation.updated"] * 5, 1))
    assert not Event.objects.filter(user=held.user).exists()


def test_the_same_text_twice_in_one_group_is_stored_once() -> None:
    """Together they violate a constraint, alone the second finds the first."""
    number = CpaasNumberFactory()
    twice, other = str(uuid.uuid4()), CpaasNumberFactory(platform=number.platform, number="+12019920762")
    with transaction.atomic():
        CpaasNumber.objects.select_for_update().get(pk=number.pk)
        leader = Beside(lambda: take_in(number, str(uuid.uuid4())))
        wait_for_waiters(1)
        others = [Beside(lambda: take_in(number, twice)) for _ in range(2)]
        others.append(Beside(lambda: take_in(other, str(uuid.uuid4()))))
        wait_for(lambda: len(webhook_intake._plain_calls._line) == 3)
    for caller in [leader, *others]:
        caller.result()
    assert Message.objects.filter(number=number).count() == 2
    assert Message.objects.filter(number=other).count() == 1
    assert WebhookEvent.objects.count() == 4


def take_in(number: CpaasNumber, sid: str) -> None:
    text = InboundText(sid, REMOTE, (number.number,), "Hi")
    request = WebhookRequest({}, b"{}", "application/json")
    webhook_intake.take_in(platform_id=number.platform_id, nonce=str(uuid.uuid4()), request=request, events=[text])


def test_the_statement_is_planned_once_whatever_the_number_of_calls() -> None:
    """Planning it takes longer than running it."""
    number = CpaasNumberFactory()
    for size in (1, 3, 2, 8, 1, 5, 1, 1):
        inbound_statement.receive([call(number) for _ in range(size)])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE '%cpaas_webhookevent%'"
        )
        rows = cursor.fetchall()
    assert rows == [(8, 0)]
