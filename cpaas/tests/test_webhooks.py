"""The carriers' door: inbound texts and receipts, in any order, doubled, forged (contracts section 3, R8, R21)."""

from __future__ import annotations

import hashlib
import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.test import Client

from cpaas.models import Attempt, Conversation, CpaasNumber, CpaasPlatform, Message, ParkedReceipt, WebhookEvent
from cpaas.services.opt_in import record_opt_in
from cpaas.services.receipts import settle_parked
from cpaas.services.sending import send_message
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from portal.models import EndUser, Event
from portal.services.users import update_user
from portal.tests.factories import EndUserFactory
from tests.sandbox_process import wait_for

REMOTE = "+17036089795"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


def text_in(sandbox, number: CpaasNumber, text: str = "Hi", **more: object) -> dict:
    return sandbox.inbound(**{"from": REMOTE, "to": number.number, "text": text, **more})


def statuses(answer: dict) -> list[int]:
    return [delivery["http_status"] for delivery in answer["deliveries"]]


def test_s1_22_a_text_is_stored_and_told(hooked, sandbox) -> None:
    assert statuses(text_in(sandbox, hooked)) == [200]
    message = Message.objects.get()
    assert (message.direction, message.status, message.text, message.remote) == ("in", "received", "Hi", REMOTE)
    conversation = Conversation.objects.get()
    assert (conversation.new_count, conversation.last_position, conversation.user_id) == (1, 1, hooked.user_id)
    assert list(Event.objects.order_by("number").values_list("number", "type")) == [
        (1, "message.created"),
        (2, "conversation.updated"),
    ]


def test_a_doubled_webhook_in_parallel_stores_one(hooked, sandbox) -> None:
    answer = text_in(sandbox, hooked, copies=8, parallel=True)
    assert statuses(answer) == [200] * 8
    assert Message.objects.count() == 1
    assert Conversation.objects.get().new_count == 1


def test_the_same_message_under_a_new_nonce_stores_one(hooked, sandbox) -> None:
    sid = text_in(sandbox, hooked)["sid"]
    assert statuses(text_in(sandbox, hooked, sid=sid)) == [200]
    assert Message.objects.count() == 1
    assert Conversation.objects.get().last_position == 1


@pytest.mark.parametrize("sign", ["wrong", "none"])
def test_a_wrong_signature_is_forbidden_and_stores_nothing(hooked, sandbox, sign) -> None:
    assert statuses(text_in(sandbox, hooked, sign=sign)) == [403]
    assert not Message.objects.exists()
    assert not WebhookEvent.objects.exists()


def test_a_wrong_path_secret_and_an_unknown_platform_look_the_same(hooked) -> None:
    client = Client()
    wrong = client.post(f"/webhooks/inteliquent/{hooked.platform_id}/wrong/", {}, "application/json")
    unknown = client.post(f"/webhooks/inteliquent/{uuid.uuid4()}/wrong/", {}, "application/json")
    no_id = client.post("/webhooks/inteliquent/17/wrong/", {}, "application/json")
    assert [answer.status_code for answer in (wrong, unknown, no_id)] == [403] * 3
    assert wrong.json() == unknown.json() == no_id.json()


def test_a_platform_deleted_under_our_hands_is_forbidden(hooked) -> None:
    """This process saw it a moment ago, the database no longer has it."""
    assert post(hooked, {"referenceId": "a", "from": "17036089795", "to": ["12015550000"], "text": "x"}) == 200
    CpaasNumber.objects.all().delete()
    CpaasPlatform.objects.all().delete()
    assert post(hooked, {"referenceId": "b", "from": "17036089795", "to": ["12015550000"]}, nonce="2") == 403


def test_a_nonce_with_another_body_is_forged(hooked) -> None:
    assert post(hooked, {"referenceId": "a", "from": "17036089795", "to": [hooked.number[1:]], "text": "x"}) == 200
    assert post(hooked, {"referenceId": "b", "from": "17036089795", "to": [hooked.number[1:]], "text": "y"}) == 403
    assert Message.objects.get().text == "x"


def test_an_unknown_own_number_is_taken_and_kept_as_unassigned(hooked) -> None:
    assert post(hooked, {"referenceId": "a", "from": "17036089795", "to": ["12015550000"], "text": "x"}) == 200
    assert not Message.objects.exists()
    assert WebhookEvent.objects.get().state == "unassigned"


def test_another_tenants_number_cannot_be_written_to(hooked) -> None:
    other = CpaasNumberFactory(number="+12015550001")
    assert post(hooked, {"referenceId": "a", "from": "17036089795", "to": ["12015550001"], "text": "x"}) == 200
    assert not Message.objects.filter(number=other).exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"nonsense", 400),
        (b"{}", 400),
        (b'{"referenceId": ""}', 400),
        (b"x" * 1_048_577, 413),
    ],
    ids=["empty", "array", "nonsense", "no id", "blank id", "over 1 MB"],
)
def test_garbage_is_refused_by_size_and_shape(hooked, body, status) -> None:
    assert post(hooked, body) == status
    assert not Message.objects.exists()
    # What could be read by nobody is kept, to be replayed when the parser is mended.
    kept = [(call.state, bytes(call.body)) for call in WebhookEvent.objects.all()]
    assert kept == ([("unreadable", body)] if status == 400 else [])


def test_undecodable_bytes_are_replaced_and_the_message_kept(hooked) -> None:
    to = hooked.number[1:].encode()
    body = b'{"referenceId":"a","from":"17036089795","to":["%s"],"text":"caf\xe9 \\u0000!"}' % to
    assert post(hooked, body) == 200
    assert Message.objects.get().text == "caf� !"
    assert bytes(WebhookEvent.objects.get().body) == body, "kept as it came"


def test_no_text_says_anything_to_the_database(hooked) -> None:
    text = """'"),}\\n\\u0041 $1 %s %(a)s {x} \t\r\n 👋🏽 ŵ"""
    assert post(hooked, {"referenceId": "a", "from": "17036089795", "to": [hooked.number[1:]], "text": text}) == 200
    assert Message.objects.get().text == text


def test_names_as_senders_are_kept_as_they_are(hooked, sandbox) -> None:
    assert statuses(text_in(sandbox, hooked, **{"from": "ACME"})) == [200]
    assert Conversation.objects.get().remote == "ACME"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"opt_in_state": "pending"}, "held"),
        ({"opt_in_state": "postponed"}, "held"),
        ({"opt_in_state": "declined"}, "suppressed"),
        ({"status": "provisioning"}, "held"),
    ],
)
def test_r8_what_may_not_be_delivered_is_stored_unseen(hooked, sandbox, change, status) -> None:
    CpaasNumber.objects.update(**change)
    assert statuses(text_in(sandbox, hooked)) == [200]
    assert Message.objects.get().status == status
    assert Conversation.objects.get().last_message_at is None
    assert not Event.objects.exists()


def test_r8_held_texts_are_new_after_the_yes(hooked, sandbox) -> None:
    CpaasNumber.objects.update(opt_in_state="pending")
    text_in(sandbox, hooked, "one")
    text_in(sandbox, hooked, "two")
    record_opt_in(user=hooked.user, number=hooked, answer="yes")
    assert set(Message.objects.values_list("status", flat=True)) == {"received"}
    conversation = Conversation.objects.get()
    assert (conversation.new_count, conversation.last_message_at) == (2, Message.objects.latest("position").created_at)
    assert Event.objects.filter(type="message.created").count() == 2


def test_r8_held_for_want_of_a_licence_comes_when_it_is_back(hooked, sandbox) -> None:
    EndUser.objects.update(licence="none")
    text_in(sandbox, hooked)
    assert Message.objects.get().status == "held"
    update_user(actor=None, user=hooked.user, changes={"licence": "agent"})
    assert Message.objects.get().status == "received"


def test_r21_receipts_in_any_order_and_doubled(hooked, sandbox, dispatcher) -> None:
    message = send_message(user=hooked.user, number=hooked, to=REMOTE, text="x")
    sid = wait_for(lambda: Attempt.objects.exclude(sid="").first()).sid
    for word in ("delivered", "sent", "delivered", "undelivered", "nonsense"):
        assert statuses(sandbox.receipt(sid, word, copies=2, parallel=True)) == [200, 200]
    message.refresh_from_db()
    assert message.status == "delivered"
    assert message.delivered_at is not None


def test_r21_an_error_says_why_and_a_late_delivered_wins(hooked, sandbox, dispatcher) -> None:
    message = send_message(user=hooked.user, number=hooked, to=REMOTE, text="x")
    sid = wait_for(lambda: Attempt.objects.exclude(sid="").first()).sid
    sandbox.receipt(sid, "undelivered", error="30003")
    message.refresh_from_db()
    assert message.status == "undelivered"
    sandbox.receipt(sid, "delivered")
    message.refresh_from_db()
    assert message.status == "delivered"
    assert message.error_code == ""


def test_r21_a_receipt_before_the_answer_is_parked_and_applied(hooked, sandbox, dispatcher) -> None:
    sandbox.receipts(mode="auto", sequence=["delivered"], before_answer=True, delay_s=0)
    sandbox.carrier(latency_ms=300)
    message = send_message(user=hooked.user, number=hooked, to=REMOTE, text="x")
    wait_for(lambda: Message.objects.get(pk=message.pk).status == "delivered")
    assert not ParkedReceipt.objects.exists()


def test_a_parked_receipt_left_by_a_crash_is_swept(hooked, sandbox, dispatcher) -> None:
    message = send_message(user=hooked.user, number=hooked, to=REMOTE, text="x")
    attempt = wait_for(lambda: Attempt.objects.exclude(sid="").first())
    ParkedReceipt.objects.create(platform_id=attempt.platform_id, sid=attempt.sid, status="delivered")
    settle_parked()
    assert Message.objects.get(pk=message.pk).status == "delivered"


def test_receipts_of_another_platform_do_not_count(hooked, sandbox, dispatcher) -> None:
    message = send_message(user=hooked.user, number=hooked, to=REMOTE, text="x")
    attempt = wait_for(lambda: Attempt.objects.exclude(sid="").first())
    other = CpaasPlatformFactory(credentials=sandbox.credentials)
    foreign = CpaasNumberFactory(number="+12015550001", platform=other)
    assert post(foreign, {"referenceId": attempt.sid, "deliveryReceipt": True, "text": "stat:DELIVRD"}) == 200
    assert Message.objects.get(pk=message.pk).status == "sent"


def test_s1_20_parallel_texts_make_one_conversation_in_order(hooked, settings) -> None:
    settings.DEBUG = False
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(post_live, hooked, n) for n in range(24)]
        assert {job.result() for job in jobs} == {200}
    assert Conversation.objects.count() == 1
    assert sorted(Message.objects.values_list("position", flat=True)) == list(range(1, 25))
    assert Conversation.objects.get().new_count == 24
    numbers = list(Event.objects.filter(user=hooked.user).order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, 49))


def test_two_users_numbers_in_one_group_text_get_it_each(hooked, sandbox) -> None:
    other = CpaasNumberFactory(number="+12019920761", user=EndUserFactory(group=hooked.group), platform=hooked.platform)
    body = {"referenceId": "g", "from": "17036089795", "to": [hooked.number[1:], other.number[1:]], "text": "x"}
    assert post(hooked, body) == 200
    assert set(Message.objects.values_list("number_id", flat=True)) == {hooked.pk, other.pk}


def post(number: CpaasNumber, body: dict | bytes, nonce: str = "nonce-1") -> int:
    """One correctly signed call; the same nonce unless said otherwise."""
    url = f"/webhooks/inteliquent/{number.platform_id}/{number.platform.webhook_secret}/"
    return Client().post(url, *_signed(number, body), **_headers(number, nonce)).status_code


def post_live(number: CpaasNumber, n: int) -> int:
    body = {"referenceId": f"r{n}", "from": "17036089795", "to": [number.number[1:]], "text": str(n)}
    headers = {name[5:].replace("_", "-"): value for name, value in _headers(number, f"n{n}").items()}
    return requests.post(number.platform.inbound_url, json=body, headers=headers, timeout=30).status_code


def _signed(number: CpaasNumber, body: dict | bytes) -> tuple[bytes, str]:
    return (body if isinstance(body, bytes) else json.dumps(body).encode()), "application/json"


def _headers(number: CpaasNumber, nonce: str) -> dict[str, str]:
    token = hashlib.sha256((number.platform.credentials["inbound_api_key"] + nonce).encode()).hexdigest()
    return {"HTTP_MESSAGEID": nonce, "HTTP_VERIFICATIONTOKEN": token}


def test_names_and_ids_longer_than_any_real_one_lose_no_text(hooked) -> None:
    """Two ids that differ only at their far end are two texts."""
    to = hooked.number[1:]
    for end in "ab":
        text = {"referenceId": "r" * 150 + end, "from": "A" * 60, "to": [to], "text": end}
        assert [post(hooked, text, f"{end}{n}") for n in range(2)] == [200, 200]
    assert set(Message.objects.values_list("text", flat=True)) == {"a", "b"}
    assert Conversation.objects.get().remote == "A" * 32


def test_webhooks_go_past_sessions_and_pages_but_not_past_the_host_check(hooked) -> None:
    url = f"/webhooks/inteliquent/{hooked.platform_id}/{hooked.platform.webhook_secret}/"
    body = {"referenceId": "a", "from": "17036089795", "to": [hooked.number[1:]], "text": "x"}
    answer = Client().post(url, *_signed(hooked, body), **_headers(hooked, "1"))
    assert answer.status_code == 200
    assert answer["X-Request-ID"]
    assert not answer.cookies
    stranger = Client().post(url, *_signed(hooked, body), **_headers(hooked, "2"), HTTP_HOST="elsewhere.example")
    assert stranger.status_code == 400
    assert Client().get(url).status_code == 405
    assert Client().get("/webhooks/").status_code == 404
