"""What Inteliquent posts to us: token, texts and receipts (contracts section 3)."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpaas.carriers.base import (
    CarrierAccount,
    ForbiddenWebhook,
    InboundText,
    Receipt,
    UnreadableWebhook,
)
from cpaas.tests.inteliquent_fixtures import (
    ACCOUNT,
    INTELIQUENT,
    JSON,
    KEY,
    TN,
    URL,
    parsed,
    signed,
)

VECTOR_NONCE = "9a09df23-01f3-4e0f-adbc-2a783878a574"


@pytest.mark.parametrize(
    "token",
    [
        "3066f6bf934e4dc86e88c4ff7dfacd16a3b7e701d2555a3abb349e1f1ee7a529",
        "3066F6BF934E4DC86E88C4FF7DFACD16A3B7E701D2555A3ABB349E1F1EE7A529",
        "b3b3ce00c541c344b3091d71b385dadff50643c382c8e419d27696adf13c0067",
        hmac.new(KEY.encode(), VECTOR_NONCE.encode(), hashlib.sha256).hexdigest(),
    ],
)
def test_both_readings_of_the_token_are_accepted(token: str) -> None:
    assert INTELIQUENT.authenticate(ACCOUNT, signed({}, VECTOR_NONCE, token)) == VECTOR_NONCE


@pytest.mark.parametrize(
    ("nonce", "token"),
    [
        ("n-2", hashlib.sha256((KEY + "n-1").encode()).hexdigest()),
        ("n-1", ""),
        ("n-1", "é"),
        ("n-1", "\udcff"),
        ("n-1", "0" * 64),
        ("", hashlib.sha256(KEY.encode()).hexdigest()),
    ],
)
def test_a_wrong_or_missing_token_is_forbidden(nonce: str, token: str) -> None:
    with pytest.raises(ForbiddenWebhook):
        INTELIQUENT.authenticate(ACCOUNT, signed({}, nonce, token))


def test_without_a_key_nothing_is_authentic() -> None:
    account = CarrierAccount({**ACCOUNT.credentials, "inbound_api_key": ""}, ACCOUNT.options, URL, URL)
    token = hashlib.sha256(b"n-1").hexdigest()
    with pytest.raises(ForbiddenWebhook):
        INTELIQUENT.authenticate(account, signed({}, "n-1", token))


def inbound(**changes: Any) -> InboundText:
    body = {"referenceId": "Acc1", "from": "13123752629", "to": ["12019920781"], "text": "hi", "deliveryReceipt": False}
    event = parsed({**body, **changes})
    assert isinstance(event, InboundText)
    return event


@pytest.mark.parametrize(
    "number", [13123752629, 3123752629, "13123752629", "3123752629", "+13123752629", 13123752629.0]
)
def test_numbers_come_as_text_or_number_with_or_without_country_code(number: Any) -> None:
    event = inbound(**{"from": number, "to": [number]})
    assert (event.sender, event.recipients) == ("+13123752629", ("+13123752629",))


@pytest.mark.parametrize(
    ("sender", "kept"),
    [
        (72345, "72345"),
        ("911", "911"),
        ("+72345", "72345"),
        ("AMAZON", "AMAZON"),
        ("447480542780", "+447480542780"),
        ("00447480542780", "+447480542780"),
        ("+4512345678", "+4512345678"),
        ("9" * 5000, "+" + "9" * 31),  # as much as is kept of a party
        ("A" * 5000, "A" * 32),
        (None, ""),
    ],
)
def test_senders_that_are_no_ten_digit_numbers(sender: Any, kept: str) -> None:
    assert inbound(**{"from": sender}).sender == kept


def test_a_group_has_several_recipients_each_once() -> None:
    event = inbound(to=[12345678901, "2345678901", "+18098767654", "", None])
    assert event.recipients == ("+12345678901", "+18098767654")
    assert inbound(to="12019920781").recipients == (TN,)


@pytest.mark.parametrize("text", ["", None])
def test_a_text_may_be_empty(text: Any) -> None:
    assert inbound(text=text).text == ""


@pytest.mark.parametrize(
    "media",
    [
        {"mediaUrls": ["https://m.test/1.jpg", "https://m.test/2.PNG?x=1"]},
        {"media": [{"url": "https://m.test/1.jpg"}, {"href": "https://m.test/2.PNG?x=1"}]},
        {"mediaUrls": None, "media": [{"mediaUrl": "https://m.test/1.jpg"}, "https://m.test/2.PNG?x=1"]},
        {
            "mediaUrls": [
                "https://m.test/a.smil",
                "https://m.test/1.jpg",
                "https://m.test/1.jpg",
                "https://m.test/b.SMIL?t=1",
                "https://m.test/2.PNG?x=1",
                "file:///etc/passwd",
                "javascript:alert(1)",
                "http://[broken",
                "",
                7,
                None,
            ]
        },
    ],
)
def test_media_come_in_several_shapes_and_layout_is_dropped(media: dict[str, Any]) -> None:
    assert inbound(**media).media_urls == ("https://m.test/1.jpg", "https://m.test/2.PNG?x=1")


@pytest.mark.parametrize("media", [{}, {"mediaUrls": None}, {"mediaUrls": []}, {"mediaUrls": "", "media": {}}])
def test_no_media(media: dict[str, Any]) -> None:
    assert inbound(**media).media_urls == ()


def test_bad_bytes_are_replaced_nul_removed_and_the_text_kept() -> None:
    raw = b'\xef\xbb\xbf{"referenceId":"r","from":1,"to":[2],"text":"caf\xe9 \\u0000x \\ud800y \x01"}'
    event = parsed(raw)
    assert event.text == "caf\ufffd x \ufffdy \x01"
    event.text.encode()


@pytest.mark.parametrize("flag", [True, "true", "True", " TRUE "])
@pytest.mark.parametrize(
    ("stat", "status"),
    [
        ("ENROUTE", "sent"),
        ("ACCEPTD", "sent"),
        ("DELIVRD", "delivered"),
        ("UNDELIV", "undelivered"),
        ("EXPIRED", "failed"),
        ("DELETED", "failed"),
        ("REJECTD", "failed"),
        ("UNKNOWN", None),
        ("delivrd", "delivered"),
    ],
)
def test_a_receipt_by_its_flag_and_word(flag: Any, stat: str, status: str | None) -> None:
    text = f"id:1 sub:001 dlvrd:001 submit date:2611210830 done date:2611210831 stat:{stat} err:000 text:Hi"
    event = parsed({"referenceId": "sid-9", "deliveryReceipt": flag, "text": text, "from": 1, "to": [2]})
    assert isinstance(event, Receipt)
    assert (event.sid, event.status, event.word) == ("sid-9", status, stat.upper())
    assert bool(event.error_text) == (status in ("undelivered", "failed"))


def test_a_receipts_error_is_a_sentence_with_the_carriers_number() -> None:
    event = parsed({"referenceId": "s", "deliveryReceipt": True, "text": "stat:UNDELIV err:30003"})
    assert event.error_code == "30003"
    assert event.error_text == "The message could not be delivered to the recipient's phone (carrier error 30003)."
    plain = parsed({"referenceId": "s", "deliveryReceipt": True, "text": "stat:EXPIRED err:000"})
    assert plain.error_code == "EXPIRED"


@pytest.mark.parametrize("text", [None, "", "lunch?", "what a state:fine", {"stat": "DELIVRD"}])
def test_only_the_flag_tells_receipts_from_texts(text: Any) -> None:
    event = parsed({"referenceId": "s", "deliveryReceipt": True, "text": text})
    assert isinstance(event, Receipt)
    assert event.status is None
    assert isinstance(inbound(text="id:1 stat:DELIVRD err:000"), InboundText)


def test_a_receipt_may_name_its_status_outside_the_text() -> None:
    assert parsed({"referenceId": "s", "deliveryReceipt": True, "status": "DELIVRD"}).status == "delivered"


@pytest.mark.parametrize("sid", [None, "", " ", [], True])
def test_a_call_without_a_usable_id_is_unreadable(sid: Any) -> None:
    with pytest.raises(UnreadableWebhook):
        parsed({"referenceId": sid, "from": 1, "to": [2], "text": "x"})


def test_the_answer_is_the_documented_one() -> None:
    said = INTELIQUENT.answer([])
    assert (said.status, said.content_type) == (200, "application/json")
    assert json.loads(said.body) == {"statusCode": "200", "status": "success"}


WEBHOOK_KEYS = st.sampled_from(["referenceId", "from", "to", "text", "deliveryReceipt", "mediaUrls", "media", "status"])


@pytest.mark.fuzz
@given(body=st.dictionaries(WEBHOOK_KEYS, JSON))
def test_no_webhook_body_breaks_the_adapter_and_what_it_reads_can_be_stored(body: Any) -> None:
    try:
        (event,) = INTELIQUENT.parse_webhook(ACCOUNT, signed(json.dumps(body).encode()))
    except UnreadableWebhook:
        return
    texts = [event.sid, *((event.word,) if isinstance(event, Receipt) else (event.sender, event.text))]
    for text in texts:
        assert "\0" not in text
        text.encode("utf-8")
