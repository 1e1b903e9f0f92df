"""The Restcomm adapter: the contract of all carriers and what is its own (facts 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpaas.carriers.base import (
    CarrierAccount,
    CarrierNumber,
    Doubtful,
    ForbiddenWebhook,
    HttpResponse,
    InboundText,
    ListedText,
    LookUp,
    NotTaken,
    NumberNotOnAccount,
    OutboundText,
    Receipt,
    Refused,
    UnreadableWebhook,
    WebhookRequest,
)
from cpaas.carriers.forms import FORM
from cpaas.carriers.registry import get_carrier
from cpaas.carriers.restcomm import split_text
from cpaas.tests.carrier_contract import REMOTE, TN, CarrierContract, CarrierWire, Played, answer, play
from cpaas.tests.carrier_intake import IntakeContract

RESTCOMM = get_carrier("restcomm")
URL = "https://portal.example.com/webhooks/restcomm/7/s3cret/"
ACCOUNT = CarrierAccount(
    credentials={"account_sid": "AC-1", "auth_token": "token-AAAA"},
    options={"base_url": "https://restcomm.test/restcomm/2012-04-24"},
    inbound_url=URL,
    status_url=URL + "status/",
)
SPLITTING = replace(ACCOUNT, switches=frozenset({"split_at_160_bytes"}))
BASE = "https://restcomm.test/restcomm/2012-04-24/Accounts/AC-1"
SENT_AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def sent(sid: str = "sid-1", body: str = "Hello", **changes: Any) -> HttpResponse:
    return answer({"sid": sid, "status": "sending", "direction": "outbound-api", "body": body, **changes})


def form(fields: Sequence[tuple[str, str]] | bytes, url: str) -> WebhookRequest:
    return WebhookRequest({}, fields if isinstance(fields, bytes) else urlencode(fields).encode(), FORM, url)


class Wire(CarrierWire):
    code = "restcomm"
    account = ACCOUNT
    taken = sent()
    refusals = (
        answer(b"From can not be null.", 400),
        answer({"message": "The account has reached its limit", "error": "SMS_LIMIT_EXCEEDED"}, 403),
        sent(status="failed", error_code=30002),
    )
    opt_outs = (answer(b"The recipient has opted out", 400),)
    words: ClassVar[dict[str, str]] = {"sent": "sent", "delivered": "delivered", "failed": "failed"}
    spellings = ("+12019920781", "12019920781", "2019920781")
    unreadable = (b"[]", b"{}", b"AccountSid=AC-1&From=1&To=2&Body=x", b"AccountSid=AC-1&SmsSid=")
    has_media = False

    def inbound(
        self,
        account: CarrierAccount,
        text: str,
        *,
        sid: str = "in-1",
        sender: str = REMOTE,
        to: Any = TN,
        media: Sequence[str] = (),
    ) -> WebhookRequest:
        fields = [("SmsSid", sid), ("AccountSid", account.credentials["account_sid"]), ("From", sender), ("To", to)]
        return form([*fields, ("Body", text)], account.inbound_url)

    def receipt(self, account: CarrierAccount, sid: str, word: str) -> WebhookRequest:
        error = [("ErrorCode", "UNREACHABLE_DESTINATION_HANDSET")] if word == "failed" else []
        fields = [("From", TN), ("To", REMOTE), ("Body", "Hello"), ("AccountSid", account.credentials["account_sid"])]
        fields += [*error, ("MessageSid", sid), ("MessageStatus", word), ("Body", "Hello")]
        return form(fields, account.status_url)

    def broken(self, account: CarrierAccount, to: str = TN) -> WebhookRequest:
        account_sid = account.credentials["account_sid"]
        fields = f"SmsSid=in-1&AccountSid={account_sid}&From=12015550123&To={quote_plus(to)}&Body=caf".encode()
        return form(fields + b"\xe9%00!", account.inbound_url)

    def group(self, account: CarrierAccount, recipients: Sequence[str]) -> list[WebhookRequest]:
        return [self.inbound(account, "Hi", sid=f"in-{to}", to=to) for to in recipients]


class TestContract(Wire, CarrierContract):
    """What all carriers must do."""

    def test_a_webhook_with_the_right_signature_is_read(self) -> None:
        request = self.inbound(self.account, "Grüße 🎉")
        RESTCOMM.authenticate(self.account, request)
        event = self.parse(request)
        assert event == InboundText("in-1", REMOTE, (TN,), "Grüße 🎉", renamed_when_repeated=True)


class TestIntake(Wire, IntakeContract):
    """What must come of their calls."""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(b"", 401, www_authenticate='Basic realm="Restcomm realm"'), "did not accept the Account SID and Auth"),
        (answer(b"Provided Account is not active", 403), "Provided Account is not active"),
        (answer(b"", 404), "no account with this Account SID"),
        (answer({"sid": "AC-1", "status": "suspended"}), "not active (it is suspended)"),
    ],
)
def test_s4_22_a_no_says_what_is_wrong(said: HttpResponse, words: str) -> None:
    error = play(RESTCOMM.verify(ACCOUNT), said).error
    assert isinstance(error, Refused)
    assert words in error.detail


def test_s4_22_the_account_is_read_as_json() -> None:
    played = play(RESTCOMM.verify(ACCOUNT), answer({"sid": "AC-1", "status": "active", "auth_token": "token-AAAA"}))
    assert played.error is None
    assert played.requests[0].url == BASE + ".json"


def number(**changes: Any) -> dict[str, Any]:
    return {
        "sid": "PN-1",
        "phone_number": TN,
        "sms_url": None,
        "sms_method": "POST",
        "sms_fallback_url": None,
        "sms_application_sid": None,
        "capabilities": {"voice_capable": True, "sms_capable": True, "mms_capable": False},
        **changes,
    }


def listed(*numbers: dict[str, Any], following: str = "null") -> HttpResponse:
    return answer({"page": 0, "num_pages": 1, "next_page_uri": following, "incomingPhoneNumbers": list(numbers)})


def find(*answers: HttpResponse) -> Played:
    return play(RESTCOMM.find_number(ACCOUNT, TN), *answers)


def test_s4_29_the_filter_finds_parts_and_only_the_very_number_counts() -> None:
    others = (number(phone_number="+120199207811"), number(phone_number="+442019920781"))
    played = find(listed(*others, number(phone_number="12019920781")))
    assert played.requests[0].url == BASE + "/IncomingPhoneNumbers.json?PhoneNumber=2019920781&PageSize=50"
    assert played.result == CarrierNumber(TN, True, True, False)
    assert isinstance(find(listed(*others)).error, NumberNotOnAccount)


def test_s4_29_a_page_that_is_not_there_is_the_word_null_and_a_list_may_be_bare() -> None:
    following = "/restcomm/2012-04-24/Accounts/AC-1/IncomingPhoneNumbers.json?Page=1&PageSize=50"
    played = find(listed(number(phone_number="+120199207811"), following=following), listed(number()))
    assert played.requests[1].url.endswith("PhoneNumber=2019920781&PageSize=50&Page=1")
    assert find(answer([number()])).result.tn == TN


def test_a_number_that_restcomm_thinks_cannot_text_is_told_and_not_refused() -> None:
    found = find(listed(number(capabilities={"sms_capable": False}))).result
    assert found.sms
    assert "not able to text" in found.note


def test_an_application_that_takes_the_texts_is_taken_off_and_staff_are_told() -> None:
    record = number(sms_application_sid="AP-1", sms_url="https://crm.example/sms")
    found = find(listed(record)).result
    assert "application AP-1" in found.note
    assert found.former_hook["SmsApplicationSid"] == "AP-1"
    played = play(RESTCOMM.set_hook(ACCOUNT, TN), listed(record), answer(number(sms_url=URL)))
    assert dict(played.forms[1]) == {
        "SmsUrl": URL,
        "SmsMethod": "POST",
        "SmsFallbackUrl": URL,
        "SmsFallbackMethod": "POST",
        "SmsApplicationSid": "",
    }


def test_s4_40_what_was_there_before_is_given_back() -> None:
    former = {"SmsUrl": "https://crm.example/sms", "SmsMethod": "GET", "SmsApplicationSid": "AP-1"}
    back = number(sms_url="https://crm.example/sms")
    played = play(RESTCOMM.remove_hook(ACCOUNT, TN, former), listed(number(sms_url=URL)), answer(back))
    assert dict(played.forms[1]) == {**former, "SmsFallbackUrl": "", "SmsFallbackMethod": "POST"}
    assert play(RESTCOMM.remove_hook(ACCOUNT, TN, former), listed(back)).result == 0


def send(account: CarrierAccount, text: str, *answers: Any) -> Played:
    return play(RESTCOMM.send(account, OutboundText(TN, REMOTE, text)), *answers)


@pytest.mark.parametrize(("text", "encoding"), [("Hello {€}", "GSM"), ("ŵ", "UCS-2"), ("👋", "UCS-2"), ("`", "UCS-2")])
def test_a_text_that_is_not_gsm_7_says_so(text: str, encoding: str) -> None:
    played = send(ACCOUNT, text, sent(body=text))
    assert played.requests[0].url == BASE + "/SMS/Messages.json"
    assert dict(played.forms[0]) == {
        "From": TN,
        "To": REMOTE,
        "Body": text,
        "StatusCallback": URL + "status/",
        "Encoding": encoding,
    }
    assert played.result.note == ""


def test_silent_cutting_is_seen() -> None:
    result = send(ACCOUNT, "x" * 300, sent(body="x" * 159)).result
    assert (result.sid, result.code) == ("sid-1", "truncated")
    assert "159 of 300 characters" in result.note


def test_a_long_text_goes_in_parts_where_the_server_would_cut_it() -> None:
    text = "Grüße " * 40
    parts = split_text(text, 160)
    played = send(SPLITTING, text, *(sent(f"sid-{n}", part) for n, part in enumerate(parts, 1)))
    assert [dict(form)["Body"] for form in played.forms] == parts
    assert "".join(parts) == text
    assert played.result.sid == "sid-1"
    assert played.result.parts == tuple(f"sid-{n}" for n in range(1, len(parts) + 1))
    assert not played.result.note


def test_1600_characters_go_in_parts_that_the_table_of_texts_holds() -> None:
    played = send(ACCOUNT, "x" * 1600, sent("sid-1", "x" * 999), sent("sid-2", "x" * 601))
    assert [len(dict(form)["Body"]) for form in played.forms] == [999, 601]
    assert played.result.parts == ("sid-1", "sid-2")


@pytest.mark.parametrize("said", [answer(b"no", 400), answer(b"", 503), NotTaken("It is away.", "unreachable")])
def test_r32_a_part_that_is_not_taken_after_others_fails_the_text_for_good(said: Any) -> None:
    """The parts that went cannot be called back, so that it must not be sent again by itself."""
    error = send(SPLITTING, "word " * 60, sent(), said).error
    assert isinstance(error, Refused)
    assert "1 of 2 parts" in error.detail


def test_r32_a_part_of_unknown_fate_leaves_the_text_open_and_a_first_part_not_taken_may_go_again() -> None:
    assert isinstance(send(SPLITTING, "word " * 60, sent(), Doubtful("silence")).error, Doubtful)
    assert isinstance(send(SPLITTING, "word " * 60, answer(b"", 503)).error, NotTaken)


@given(text=st.text(max_size=700), most=st.sampled_from([160, None]))
def test_parts_are_the_text_and_none_is_too_long(text: str, most: int | None) -> None:
    parts = split_text(text, most)
    assert "".join(parts) == text
    assert all(len(part.encode()) <= 160 if most else len(part) <= 999 for part in parts)
    assert all(parts) or parts == [""]


def test_mms_is_refused() -> None:
    played = play(RESTCOMM.send(ACCOUNT, OutboundText(TN, REMOTE, "x", ["https://p.test/1.jpg"])))
    assert isinstance(played.error, Refused)
    assert not played.requests


def record(sid: str, at: str = "Sat, 21 Nov 2026 03:30:01 -0500", **changes: Any) -> dict[str, Any]:
    row = {"sid": sid, "from": TN, "to": REMOTE, "status": "delivered", "direction": "outbound-api", "date_created": at}
    return row | changes


def test_r32_a_look_up_reads_the_number_of_an_error() -> None:
    said = answer(record("SM-1", status="undelivered", error_code=30003))
    (match,) = play(RESTCOMM.look_up(ACCOUNT, LookUp(TN, REMOTE, SENT_AT, "SM-1")), said).result
    assert (match.status, match.error_code) == ("undelivered", "30003")
    assert match.at == SENT_AT + timedelta(seconds=1)
    assert play(RESTCOMM.look_up(ACCOUNT, LookUp(TN, REMOTE, SENT_AT, "SM-1")), answer(b"", 404)).result == []


def test_r32_without_an_id_the_list_of_those_days_is_searched() -> None:
    played = play(RESTCOMM.look_up(ACCOUNT, LookUp(TN, REMOTE, SENT_AT)), answer({"messages": [record("SM-1")]}))
    query = parse_qs(urlsplit(played.requests[0].url).query)
    assert (query["StartTime"], query["EndTime"]) == (["2026-11-20"], ["2026-11-23"])
    assert [match.sid for match in played.result] == ["SM-1"]


def inbound_row(sid: str, at: str, **changes: Any) -> dict[str, Any]:
    row = {"sid": sid, "from": "12015550123", "to": "12019920781", "body": "Hi", "direction": "inbound"}
    return {**row, "date_created": at, **changes}


def test_r37_inbound_texts_are_listed_back_to_a_moment() -> None:
    rows = [
        inbound_row("SM-3", "Sat, 21 Nov 2026 03:32:00 -0500"),
        record("SM-2", "Sat, 21 Nov 2026 03:31:30 -0500"),
        inbound_row("SM-1", "Sat, 21 Nov 2026 03:31:00 -0500", direction="incoming"),
    ]
    old = inbound_row("SM-0", "Sat, 21 Nov 2026 03:29:59 -0500")
    pages = (
        answer({"messages": rows, "next_page_uri": "/x?Page=1&PageSize=50"}),
        answer({"messages": [old], "next_page_uri": "/x?Page=2&PageSize=50"}),
    )
    played = play(RESTCOMM.list_inbound(ACCOUNT, SENT_AT), *pages)
    assert "StartTime=2026-11-20&SortBy=DateCreated%3Adesc" in played.requests[0].url
    assert played.result == [
        ListedText(SENT_AT + timedelta(minutes=minutes), InboundText(sid, REMOTE, (TN,), "Hi", (), True))
        for sid, minutes in (("SM-3", 2), ("SM-1", 1))
    ]


def parsed(fields: dict[str, str], url: str = URL) -> Any:
    (event,) = RESTCOMM.parse_webhook(ACCOUNT, form(list(fields.items()), url))
    return event


@pytest.mark.parametrize("code", ["UNREACHABLE_DESTINATION_HANDSET", "30003"])
def test_an_error_comes_as_name_or_number(code: str) -> None:
    said = "The recipient's phone could not be reached (carrier error 30003)."
    event = parsed({"MessageSid": "SM-1", "MessageStatus": "undelivered", "ErrorCode": code})
    assert event == Receipt("SM-1", "undelivered", "undelivered", "30003", said)


def test_a_call_that_names_another_account_is_forbidden() -> None:
    for fields in ([("SmsSid", "SM-1")], [("SmsSid", "SM-1"), ("AccountSid", "AC-2")], b"&" * 5000):
        with pytest.raises(ForbiddenWebhook):
            RESTCOMM.authenticate(ACCOUNT, form(fields, URL))


def test_the_answers_are_xml_for_a_text_and_nothing_for_a_receipt() -> None:
    text = RESTCOMM.answer([parsed({"SmsSid": "SM-1"})])
    assert (text.status, text.content_type, text.body) == (200, "text/xml", b"<Response/>")
    receipt = RESTCOMM.answer([parsed({"MessageSid": "SM-1"}, URL + "status/")])
    assert (receipt.status, receipt.body) == (204, b"")


NAMES = ["MessageSid", "SmsSid", "From", "To", "Body", "MessageStatus", "ErrorCode", "AccountSid"]


@pytest.mark.fuzz
@given(fields=st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=80)), status=st.booleans())
def test_no_form_breaks_the_adapter_and_what_it_reads_can_be_stored(fields: dict[str, bytes], status: bool) -> None:
    body = b"&".join(name.encode() + b"=" + value for name, value in fields.items())
    try:
        (event,) = RESTCOMM.parse_webhook(ACCOUNT, form(body, URL + ("status/" if status else "")))
    except UnreadableWebhook:
        return
    assert isinstance(event, Receipt) or not status
    texts = [event.sid, *((event.word,) if isinstance(event, Receipt) else (event.sender, event.text))]
    for text in texts:
        assert "\0" not in text
        text.encode("utf-8")
