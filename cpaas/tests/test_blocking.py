"""Blocking a remote party, by number and platform, on the way in and in the API (S4.15, S4.16, R19)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from cpaas.carriers.base import InboundText, WebhookRequest
from cpaas.models import BlockedParty, Conversation, CpaasNumber, CpaasPlatform, Message
from cpaas.services.blocking import block_party, unblock_party
from cpaas.services.opt_in import record_opt_in
from cpaas.services.stops import is_stopped
from cpaas.services.webhook_intake import take_in
from cpaas.tests.factories import BlockedPartyFactory, CpaasNumberFactory
from portal.models import AuditEntry, Event
from portal.problems import Problem
from portal.tests.factories import EndUserFactory, device_token

REMOTE = "+17036089795"
OTHER = "+17036089796"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


def blocking_number(**fields: Any) -> CpaasNumber:
    return CpaasNumberFactory(can_block="on", **fields)


def hear(*numbers: CpaasNumber, sender: str = REMOTE, text: str = "Hi") -> Message:
    """A text comes in; returns it as it is stored for the first number."""
    sid = str(uuid.uuid4())
    recipients = tuple(number.number for number in numbers)
    request = WebhookRequest({}, sid.encode(), "application/json")
    event = InboundText(sid, sender, recipients, text)
    take_in(platform_id=numbers[0].platform_id, nonce="", request=request, events=[event])
    return Message.objects.get(number=numbers[0], sid=sid)


def block(number: CpaasNumber, remote: str = REMOTE) -> BlockedParty:
    return block_party(user=number.user, number=number, remote=remote)


def test_r19_a_blocked_text_is_kept_but_neither_delivered_nor_new() -> None:
    number = blocking_number()
    hear(number)
    block(number)
    Event.objects.all().delete()
    message = hear(number, text="Buy now")
    conversation = Conversation.objects.get()
    assert message.status == "blocked"
    assert (conversation.new_count, conversation.message_count) == (1, 2)
    assert conversation.last_message_at < message.created_at
    assert not Event.objects.exists()
    assert hear(number, sender=OTHER).status == "received"


def test_r19_who_is_blocked_from_the_start_makes_no_conversation_to_see() -> None:
    number = blocking_number()
    block(number)
    hear(number)
    assert list(Conversation.objects.values_list("last_message_at", "new_count")) == [(None, 0)]


def test_r19_unblocking_delivers_what_comes_next_and_nothing_older() -> None:
    number = blocking_number()
    blocked = block(number)
    first = hear(number)
    unblock_party(user=number.user, blocked=blocked)
    second = hear(number)
    first.refresh_from_db()
    assert (first.status, second.status) == ("blocked", "received")
    assert Conversation.objects.get().new_count == 1


@pytest.mark.parametrize(
    ("platform", "own", "works"),
    [
        (True, "inherit", True),
        (False, "inherit", False),
        (False, "on", True),
        (True, "off", False),
    ],
)
def test_s4_16_the_numbers_setting_stands_over_its_platforms(platform, own, works) -> None:
    number = CpaasNumberFactory(can_block=own)
    CpaasPlatform.objects.update(user_can_block=platform)
    number.platform.refresh_from_db()
    if not works:
        with pytest.raises(Problem) as caught:
            block(number)
        assert (caught.value.code, caught.value.status) == ("blocking_not_allowed", 409)
        BlockedPartyFactory(number=number, remote=REMOTE)
    else:
        block(number)
    assert hear(number).status == ("blocked" if works else "received")


def test_s4_16_what_was_blocked_rests_while_blocking_is_off_and_works_again() -> None:
    number = blocking_number()
    blocked = block(number)
    CpaasNumber.objects.update(can_block="off")
    assert hear(number).status == "received"
    CpaasNumber.objects.update(can_block="on")
    assert hear(number).status == "blocked"
    CpaasNumber.objects.update(can_block="off")
    unblock_party(user=number.user, blocked=blocked)
    assert not BlockedParty.objects.exists()


def test_r19_one_of_several_numbers_blocks_for_itself_alone() -> None:
    number = blocking_number()
    second = CpaasNumberFactory(user=number.user, platform=number.platform)
    block(number)
    hear(number, second)
    assert set(Message.objects.values_list("number_id", "status")) == {(number.pk, "blocked"), (second.pk, "received")}


@pytest.mark.parametrize(("opt_in", "status"), [("pending", "blocked"), ("declined", "suppressed")])
def test_r8_a_blocked_text_is_not_held_for_later(opt_in, status) -> None:
    number = blocking_number(opt_in_state=opt_in)
    BlockedPartyFactory(number=number, remote=REMOTE)
    message = hear(number)
    assert message.status == status
    if opt_in == "pending":
        record_opt_in(user=number.user, number=number, answer="yes")
        message.refresh_from_db()
        assert message.status == "blocked"


def test_r20_stop_of_a_blocked_party_counts_although_nobody_sees_it() -> None:
    number = blocking_number()
    block(number)
    assert hear(number, text="STOP").status == "blocked"
    assert is_stopped(number, REMOTE)


def test_r19_names_and_short_codes_that_wrote_to_us_can_be_blocked() -> None:
    number = blocking_number()
    for sender in ("ACME Shop", "72727"):
        hear(number, sender=sender)
        block(number, sender)
        assert hear(number, sender=sender).status == "blocked"
    with pytest.raises(Problem) as caught:
        block(number, "Somebody else")
    assert caught.value.code == "invalid_number"


def test_blocking_leaves_an_audit_row_and_tells_the_user_once() -> None:
    number = blocking_number()
    hear(number)
    Event.objects.all().delete()
    blocked = block(number, "(703) 608-9795")
    assert block(number) == blocked
    unblock_party(user=number.user, blocked=blocked)
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == ["block", "unblock"]
    assert Event.objects.filter(type="conversation.updated").count() == 2


# --- The API ----------------------------------------------------------------------------------------------------------


BASE = "/api/v1/"


def ask(client: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = getattr(client, method.lower())(f"{BASE}{path}", *([] if body is None else [body]))
    return answer.status_code, answer.json() if answer.content else None


def test_s4_15_blocking_over_rest(api) -> None:
    number = blocking_number()
    phone = api(device_token(number.user))
    hear(number)
    status, row = ask(phone, "POST", "blocked/", {"number": str(number.pk), "remote": "703 608 9795"})
    assert status == 201
    assert (row["number"], row["remote"], row["national"]) == (str(number.pk), REMOTE, "7036089795")
    assert ask(phone, "POST", "blocked/", {"number": number.number, "remote": REMOTE}) == (201, row)
    assert ask(phone, "GET", "blocked/")[1]["results"] == [row]
    assert ask(phone, "GET", f"blocked/?number={number.pk}")[1]["results"] == [row]
    [conversation] = ask(phone, "GET", "conversations/")[1]["results"]
    assert (conversation["blocked"], conversation["stopped"]) == (True, False)
    assert ask(phone, "DELETE", f"blocked/{row['id']}/") == (204, None)
    assert ask(phone, "DELETE", f"blocked/{row['id']}/")[0] == 404
    assert ask(phone, "GET", "conversations/")[1]["results"][0]["blocked"] is False


def test_s4_15_a_number_that_may_not_block_says_so(api) -> None:
    number = CpaasNumberFactory()
    status, problem = ask(
        api(device_token(number.user)), "POST", "blocked/", {"number": str(number.pk), "remote": REMOTE}
    )
    assert (status, problem["code"]) == (409, "blocking_not_allowed")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid"),
        ({"number": "", "remote": REMOTE}, 400, "invalid"),
        ({"number": "NUMBER", "remote": ""}, 400, "invalid"),
        ({"number": "NUMBER", "remote": [REMOTE]}, 400, "invalid"),
        ({"number": "NUMBER", "remote": "12"}, 400, "invalid_number"),
        ({"number": "NUMBER", "remote": "911"}, 400, "invalid_number"),
        ({"number": "NUMBER", "remote": f"{REMOTE},{OTHER}"}, 400, "several_recipients"),
        ({"number": "NUMBER", "remote": REMOTE, "reason": "spam"}, 400, "invalid"),
        ({"number": str(uuid.uuid4()), "remote": REMOTE}, 404, "not_found"),
    ],
)
def test_blocking_refuses_bad_input(api, body, status, code) -> None:
    number = blocking_number()
    body = {name: str(number.pk) if value == "NUMBER" else value for name, value in body.items()}
    answer = ask(api(device_token(number.user)), "POST", "blocked/", body)
    assert (answer[0], answer[1]["code"]) == (status, code)


def test_a_strangers_number_and_rows_are_not_found(api) -> None:
    number, stranger = blocking_number(), blocking_number(user=EndUserFactory())
    blocked = block(stranger)
    phone = api(device_token(number.user))
    assert ask(phone, "POST", "blocked/", {"number": str(stranger.pk), "remote": REMOTE})[0] == 404
    assert ask(phone, "DELETE", f"blocked/{blocked.pk}/")[0] == 404
    assert ask(phone, "GET", "blocked/")[1]["results"] == []
