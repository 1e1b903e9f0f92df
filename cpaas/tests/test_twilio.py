"""The Twilio adapter, also for SignalWire: the contract of all carriers and what is its own (facts 3.1)."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from cpaas.carriers.base import (
    CarrierNumber,
    ForbiddenWebhook,
    Hook,
    HttpResponse,
    InboundText,
    LookUp,
    LookUpMatch,
    NotTaken,
    NumberNotOnAccount,
    OutboundText,
    Receipt,
    Refused,
    UnreadableWebhook,
    WebhookRequest,
)
from cpaas.carriers.forms import read_pairs
from cpaas.tests.carrier_contract import REMOTE, TN, CarrierContract, Played, answer, play
from cpaas.tests.carrier_intake import IntakeContract
from cpaas.tests.twilio_fixtures import ACCOUNT, SENT, TWILIO, URL, TwilioWire, listed, number, refusal, signed

SENT_AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
BASE = "https://api.twilio.test/2010-04-01/Accounts/AC-1"


class TestContract(TwilioWire, CarrierContract):
    """What all carriers must do."""


class TestIntake(TwilioWire, IntakeContract):
    """What must come of their calls."""


def verify(said: HttpResponse) -> Played:
    return play(TWILIO.verify(ACCOUNT), said)


def test_s4_22_verify_reads_the_account() -> None:
    played = verify(answer({"sid": "AC-1", "status": "active", "auth_token": "token-AAAA"}))
    assert played.error is None
    (asked,) = played.requests
    assert (asked.method, asked.url) == ("GET", BASE + ".json")
    assert asked.headers["Authorization"] == "Basic " + base64.b64encode(b"AC-1:token-AAAA").decode()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (refusal(20003, "Authenticate", 401), "did not accept the Account SID and Auth Token: Authenticate"),
        (refusal(20404, "Not found", 404), "no account with this Account SID"),
        (answer({"status": "suspended"}), "not active (it is suspended)"),
        (answer({"sid": "AC-1"}), "not active"),
    ],
)
def test_s4_22_a_no_says_what_is_wrong(said: HttpResponse, words: str) -> None:
    error = verify(said).error
    assert isinstance(error, Refused)
    assert words in error.detail


def test_s4_22_the_sid_of_an_api_key_is_refused_unasked() -> None:
    """It could send, but its secret signs no webhooks."""
    account = replace(ACCOUNT, credentials={"account_sid": "SK-1", "auth_token": "x"})
    played = play(TWILIO.verify(account))
    assert isinstance(played.error, Refused)
    assert not played.requests


def find(*answers: HttpResponse) -> Played:
    return play(TWILIO.find_number(ACCOUNT, TN), *answers)


def test_s4_29_the_number_is_asked_for_in_e164() -> None:
    played = find(listed(number()))
    assert played.requests[0].url == BASE + "/IncomingPhoneNumbers.json?PhoneNumber=%2B12019920781&PageSize=50"
    assert played.result == CarrierNumber(TN, True, True, True, status_word="in-use")


def test_s4_29_only_the_very_number_counts() -> None:
    played = find(listed(number(phone_number="+120199207811"), number(phone_number="+442019920781")))
    assert isinstance(played.error, NumberNotOnAccount)


def test_s4_29_every_page_is_read_and_only_from_our_own_address() -> None:
    following = "https://evil.example/2010-04-01/Accounts/AC-1/IncomingPhoneNumbers.json?Page=1&PageToken=PA-1"
    played = find(listed(number(phone_number="+12019920000"), following=following), listed(number()))
    assert played.result.tn == TN
    assert played.requests[1].url.startswith(BASE + "/IncomingPhoneNumbers.json?")
    assert played.requests[1].url.endswith("&Page=1&PageToken=PA-1")


def test_a_list_whose_next_page_is_itself_ends() -> None:
    following = "/2010-04-01/Accounts/AC-1/IncomingPhoneNumbers.json?PhoneNumber=%2B12019920781&PageSize=50"
    assert isinstance(find(listed(following=following)).error, NumberNotOnAccount)


def test_a_hook_of_somebody_else_is_remembered() -> None:
    other = number(sms_url="https://crm.example/sms", sms_method="GET", sms_application_sid="AP-1")
    assert find(listed(other)).result.former_hook == {
        "SmsUrl": "https://crm.example/sms",
        "SmsMethod": "GET",
        "SmsApplicationSid": "AP-1",
    }
    ours = number(sms_url=URL.replace("portal.example.com", "old.example.com"))
    assert find(listed(ours)).result.former_hook == {}


def set_hook(*answers: HttpResponse) -> Played:
    return play(TWILIO.set_hook(ACCOUNT, TN), *answers)


def test_s4_31_the_hook_is_the_numbers_sms_url() -> None:
    played = set_hook(listed(number(sms_url="https://old.example/")), answer(number(sms_url=URL)))
    assert played.requests[1].url == BASE + "/IncomingPhoneNumbers/PN-1.json"
    assert played.forms[1] == [("SmsUrl", URL), ("SmsMethod", "POST")]
    assert played.result == Hook("PN-1", TN, URL)


def test_s4_31_a_hook_that_is_there_already_is_left_alone() -> None:
    assert len(set_hook(listed(number(sms_url=URL))).requests) == 1


@pytest.mark.parametrize("wrong", [{"sms_method": "GET"}, {"sms_application_sid": "AP-1"}])
def test_s4_31_our_url_is_of_no_use_with_get_or_below_an_application(wrong: dict[str, str]) -> None:
    played = set_hook(listed(number(sms_url=URL, **wrong)), answer(number(sms_url=URL)))
    assert (("SmsApplicationSid", "") in played.forms[1]) == ("sms_application_sid" in wrong)


def test_s4_31_a_hook_that_the_answer_does_not_show_may_be_tried_again() -> None:
    assert isinstance(set_hook(listed(number()), answer(number())).error, NotTaken)


def test_s4_40_removing_gives_back_what_was_there() -> None:
    former = {"SmsUrl": "https://crm.example/sms", "SmsMethod": "GET", "SmsApplicationSid": "AP-1"}
    back = number(sms_url="https://crm.example/sms")
    played = play(TWILIO.remove_hook(ACCOUNT, TN, former), listed(number(sms_url=URL)), answer(back))
    assert dict(played.forms[1]) == former
    assert played.result == 1


def test_s4_40_removing_leaves_nothing_of_ours() -> None:
    played = play(TWILIO.remove_hook(ACCOUNT, TN, {}), listed(number(sms_url=URL)), answer(number()))
    assert dict(played.forms[1]) == {"SmsUrl": "", "SmsMethod": "POST"}


@pytest.mark.parametrize("there", [listed(number(sms_url="https://crm.example/")), listed(number()), listed()])
def test_s4_40_what_is_not_ours_stays(there: HttpResponse) -> None:
    assert play(TWILIO.remove_hook(ACCOUNT, TN, {}), there).result == 0


def test_the_list_of_hooks_has_all_pages() -> None:
    first = listed(number(sms_url=URL), number(sid="PN-2"), following="/x?Page=1")
    second = listed(number(sid="PN-3", phone_number="+12019920782", sms_url="https://a.example/"))
    assert play(TWILIO.list_hooks(ACCOUNT), first, second).result == [
        Hook("PN-1", TN, URL),
        Hook("PN-3", "+12019920782", "https://a.example/"),
    ]


def send(text: OutboundText, *answers: HttpResponse) -> Played:
    return play(TWILIO.send(ACCOUNT, text), *answers)


def test_a_text_is_sent_with_the_address_for_its_fate() -> None:
    played = send(OutboundText(TN, REMOTE, "Grüße & 👋"), answer(SENT, 201))
    assert played.requests[0].url == BASE + "/Messages.json"
    assert dict(played.forms[0]) == {
        "To": REMOTE,
        "From": TN,
        "Body": "Grüße & 👋",
        "StatusCallback": URL + "status/",
    }


def test_an_mms_names_each_medium_and_needs_no_text() -> None:
    played = send(OutboundText(TN, REMOTE, "", ["https://p.test/1.jpg", "https://p.test/2.jpg"]), answer(SENT, 201))
    assert played.forms[0][3:] == [("MediaUrl", "https://p.test/1.jpg"), ("MediaUrl", "https://p.test/2.jpg")]


@pytest.mark.parametrize("said", [refusal(20429, "Too many requests", 429), refusal(21611), refusal(30022)])
def test_r32_what_twilio_cannot_take_now_may_be_sent_again(said: HttpResponse) -> None:
    error = send(OutboundText(TN, REMOTE, "x"), said).error
    assert isinstance(error, NotTaken)
    assert error.code in ("20429", "21611", "30022")


def test_r32_an_error_has_twilios_number_and_words() -> None:
    error = send(OutboundText(TN, REMOTE, "x"), refusal(21211, "The 'To' number is not valid")).error
    assert (error.code, error.detail) == ("21211", "Twilio refused this (code 21211): The 'To' number is not valid.")


def record(**changes: Any) -> dict[str, Any]:
    return {
        "sid": "SM-1",
        "from": TN,
        "to": REMOTE,
        "status": "delivered",
        "direction": "outbound-api",
        "date_created": "Sat, 21 Nov 2026 08:30:01 +0000",
        "error_code": None,
        **changes,
    }


def look_up(sid: str, *answers: HttpResponse) -> Played:
    return play(TWILIO.look_up(ACCOUNT, LookUp(TN, REMOTE, SENT_AT, sid)), *answers)


def test_r32_a_text_with_an_id_is_looked_up_by_it() -> None:
    played = look_up("SM-1", answer(record(status="undelivered", error_code=30003)))
    assert played.requests[0].url == BASE + "/Messages/SM-1.json"
    said = "The recipient's phone could not be reached (carrier error 30003)."
    at = SENT_AT + timedelta(seconds=1)
    assert played.result == [LookUpMatch(at, REMOTE, "undelivered", "undelivered", "SM-1", "30003", said)]
    assert look_up("SM-1", refusal(20404, "Not found", 404)).result == []
    assert look_up("SM-1", answer(record(sid="SM-2"))).result == []


def test_r32_a_text_without_an_id_is_looked_for_by_numbers_and_time() -> None:
    rows = [
        record(),
        record(sid="SM-2", direction="inbound"),
        record(sid="SM-3", to="+12015550124"),
        record(sid="SM-4", date_created="Sat, 21 Nov 2026 09:30:01 +0000"),
        record(sid="SM-5", date_created="soon"),
        record(sid="SM-6", date_created="2026-11-21T08:31:00Z", status="queued"),
    ]
    played = look_up("", answer({"messages": rows}))
    assert "From=%2B12019920781&To=%2B12015550123" in played.requests[0].url
    assert [(match.sid, match.status) for match in played.result] == [("SM-6", "sent"), ("SM-1", "delivered")]


def test_media_lie_behind_the_api_and_are_redirected_without_credentials() -> None:
    own = TWILIO.media_request(ACCOUNT, BASE + "/Messages/MM-1/Media/ME-1")
    assert own.headers["Authorization"].startswith("Basic ")
    for url in ("https://mms.twiliocdn.com/AC-1/x", "https://files.signalwire.com/x"):
        assert "Authorization" not in TWILIO.media_request(ACCOUNT, url).headers
    with pytest.raises(Refused):
        TWILIO.media_request(ACCOUNT, "https://evil.example/x")


FIELDS = {"MessageSid": "SM-1", "From": REMOTE, "To": TN, "Body": "Grüße 👋", "Empty": "", "Many": ["b", "a", "b"]}


@pytest.mark.parametrize("url", [URL, URL.replace(".com/", ".com:443/"), URL.replace(".com/", ".com:8443/")])
@pytest.mark.parametrize("called", [URL, URL.replace(".com/", ".com:443/"), URL.replace(".com/", ".com:8443/")])
def test_the_signature_is_right_with_and_without_the_port(url: str, called: str) -> None:
    """As Twilio's own library sees it."""
    request = replace(signed(FIELDS, url=url), url=called)
    fields = {"MessageSid": "SM-1", "From": REMOTE, "To": TN, "Body": "Grüße 👋", "Empty": ""}
    valid = RequestValidator("token-AAAA").validate(called, _Many(fields, Many=["b", "a", "b"]), _signature(request))
    assert _is_authentic(request) == valid


class _Many(dict[str, Any]):
    """A form with one repeated name, as Twilio's library asks for it."""

    def __init__(self, fields: dict[str, str], **many: list[str]) -> None:
        super().__init__({**fields, **many})

    def getlist(self, name: str) -> list[str]:
        return self[name] if isinstance(self[name], list) else [self[name]]


def _signature(request: WebhookRequest) -> str:
    return request.headers["x-twilio-signature"]


def _is_authentic(request: WebhookRequest) -> bool:
    try:
        TWILIO.authenticate(ACCOUNT, request)
    except ForbiddenWebhook:
        return False
    return True


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@pytest.mark.fuzz
@given(fields=st.dictionaries(NAMES, st.lists(NAMES, min_size=1, max_size=3), max_size=6), query=st.booleans())
def test_every_form_that_twilios_library_signs_is_authentic(fields: dict[str, list[str]], query: bool) -> None:
    request = signed(fields, url=URL + "?foo=1&bar=a%20b" if query else URL)
    assert _is_authentic(request)
    assert not _is_authentic(replace(request, url=request.url + "x"))
    assert not _is_authentic(replace(request, body=request.body + b"&x=y"))


@pytest.mark.parametrize(
    "headers", [{}, {"x-twilio-signature": ""}, {"x-twilio-signature": "é"}, {"x-twilio-signature": "\udcff"}]
)
def test_a_call_without_a_usable_signature_is_forbidden(headers: dict[str, str]) -> None:
    assert not _is_authentic(replace(signed(FIELDS), headers=headers))


def test_a_json_body_is_signed_by_its_digest_in_the_query() -> None:
    body = json.dumps({"MessageSid": "SM-1", "From": REMOTE, "To": TN, "Body": "Hi"}).encode()
    url = f"{URL}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = RequestValidator("token-AAAA").compute_signature(url, {})
    request = WebhookRequest({"x-twilio-signature": signature}, body, "application/json; charset=utf-8", url)
    assert _is_authentic(request)
    assert not _is_authentic(replace(request, body=body + b" "))
    (event,) = TWILIO.parse_webhook(ACCOUNT, request)
    assert event == InboundText("SM-1", REMOTE, (TN,), "Hi")


def test_signalwire_signs_with_a_key_of_its_own() -> None:
    account = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "signing_key": "PSK-1"})
    request = signed(FIELDS, key="PSK-1")
    request = replace(request, headers={"x-signalwire-signature": _signature(request)})
    TWILIO.authenticate(account, request)
    with pytest.raises(ForbiddenWebhook):
        TWILIO.authenticate(account, signed(FIELDS))


def event(**fields: Any) -> Any:
    (found,) = TWILIO.parse_webhook(ACCOUNT, signed({"MessageSid": "SM-1", "From": REMOTE, "To": TN, **fields}))
    return found


@pytest.mark.parametrize("word", ["accepted", "scheduled", "queued", "sending", "sent", "partially_delivered"])
def test_a_text_on_its_way_is_sent(word: str) -> None:
    assert event(MessageStatus=word) == Receipt("SM-1", "sent", word)


def test_r20_an_opt_out_that_only_the_receipt_tells_is_told_apart() -> None:
    said = event(MessageStatus="undelivered", ErrorCode="21610")
    text = "The recipient has opted out of texts from this number (carrier error 21610)."
    assert said == Receipt("SM-1", "undelivered", "undelivered", "21610", text, opted_out=True)


def test_a_call_to_the_status_address_is_never_a_chat_message() -> None:
    request = signed({"MessageSid": "SM-1", "From": REMOTE, "To": TN, "Body": "x"}, url=URL + "status/")
    assert TWILIO.parse_webhook(ACCOUNT, request) == [Receipt("SM-1", None, "")]


@pytest.mark.parametrize("names", ["SmsSid", "SmsMessageSid"])
def test_an_inbound_id_may_have_an_older_name(names: str) -> None:
    (found,) = TWILIO.parse_webhook(ACCOUNT, signed({names: "SM-2", "From": REMOTE, "To": TN, "SmsStatus": "received"}))
    assert found == InboundText("SM-2", REMOTE, (TN,), "")


def test_a_text_that_came_in_base64_is_unpacked_and_one_that_did_not_is_left_alone() -> None:
    text = "A longer text of several parts 👋, which some carriers join with the media of an MMS."
    packed = base64.b64encode(text.encode()).decode()
    assert event(Body=packed).text == text
    assert event(Body=packed[:40] + "\r\n" + packed[40:]).text == text
    for kept in ("abcd", "x" * 64, "Supercalifragilisticexpialidocious" * 4, packed[:-1]):
        assert event(Body=kept).text == kept


def test_the_answers_say_nothing_in_reply() -> None:
    inbound = TWILIO.answer([event(Body="Hi")])
    assert (inbound.status, inbound.content_type, inbound.body) == (200, "text/xml", b"<Response/>")
    assert TWILIO.answer([event(MessageStatus="sent")]).status == 204


WEBHOOK_NAMES = ["MessageSid", "SmsSid", "From", "To", "Body", "MessageStatus", "SmsStatus", "ErrorCode", "MediaUrl0"]


@pytest.mark.fuzz
@given(fields=st.dictionaries(st.sampled_from(WEBHOOK_NAMES), st.binary(max_size=80)), junk=st.binary(max_size=40))
def test_no_form_breaks_the_adapter_and_what_it_reads_can_be_stored(fields: dict[str, bytes], junk: bytes) -> None:
    body = b"&".join([*(name.encode() + b"=" + value for name, value in fields.items()), junk])
    read_pairs(body)
    try:
        (found,) = TWILIO.parse_webhook(ACCOUNT, WebhookRequest({}, body, "application/x-www-form-urlencoded", URL))
    except UnreadableWebhook:
        return
    texts = [found.sid, *((found.word,) if isinstance(found, Receipt) else (found.sender, found.text))]
    for text in texts:
        assert "\0" not in text
        text.encode("utf-8")
