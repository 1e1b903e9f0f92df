"""The Inteliquent adapter: the contract of all carriers, credentials and ownership of numbers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from cpaas.carriers.base import (
    CarrierAccount,
    CarrierNumber,
    HttpResponse,
    NotTaken,
    NumberNotOnAccount,
    OutboundText,
    Refused,
    WebhookRequest,
)
from cpaas.tests.carrier_contract import REMOTE, CarrierContract, CarrierWire, Played, answer, play
from cpaas.tests.carrier_intake import IntakeContract
from cpaas.tests.inteliquent_fixtures import (
    ACCOUNT,
    BAD_BASIC,
    BAD_TOKEN,
    HTML_502,
    INTELIQUENT,
    SUCCESS,
    TN,
    URL,
    published,
    signed,
)


class Wire(CarrierWire):
    code = "inteliquent"
    account = ACCOUNT
    taken = answer(published())
    refusals = (
        answer({"success": False, "reason": "FAILED", "detail": "from is not on the account"}),
        answer({"statusCode": "408", "status": "to is missing"}),
        answer({"error": "bad number", "message": "no such number"}),
        answer(published(status="FAILED", detail="landline")),
        answer({**published(), "statusCode": "409"}),
    )
    opt_outs = (
        answer({"success": False, "reason": "FAILED", "detail": "Recipient has opted out"}),
        answer({"statusCode": "409", "status": "recipient opted-out"}),
        answer(published(status="FAILED", detail="opted out")),
    )
    words: ClassVar[dict[str, str]] = {"sent": "ENROUTE", "delivered": "DELIVRD", "failed": "REJECTD"}
    spellings = (12019920781, 2019920781, "12019920781", "2019920781", "+12019920781", 12019920781.0)
    unreadable = (b"[]", b"{}", b"null", b'{"referenceId": ""}')

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
        body = {"referenceId": sid, "from": sender.lstrip("+"), "to": [to], "text": text, "mediaUrls": list(media)}
        return signed(body, sid, account=account)

    def receipt(self, account: CarrierAccount, sid: str, word: str) -> WebhookRequest:
        body = {"referenceId": sid, "deliveryReceipt": True, "text": f"id:1 stat:{word} err:000"}
        return signed(body, f"{sid} {word}", account=account)

    def broken(self, account: CarrierAccount, to: str = TN) -> WebhookRequest:
        body = b'{"referenceId":"in-1","from":12015550123,"to":["%s"],"text":"caf\xe9\\u0000!"}' % to.encode()
        return signed(body, account=account)

    def group(self, account: CarrierAccount, recipients: Sequence[str]) -> list[WebhookRequest]:
        to = [number.lstrip("+") for number in recipients]
        body = {"referenceId": "in-1", "from": "12015550123", "to": to, "mediaUrls": ["https://m.test/1.jpg"]}
        return [signed(body, account=account)]


class TestContract(Wire, CarrierContract):
    """What all carriers must do."""


class TestIntake(Wire, IntakeContract):
    """What must come of their calls."""


def verify(*answers: Any) -> Played:
    return play(INTELIQUENT.verify(ACCOUNT), *answers)


def test_s4_22_verify_tries_both_keys_where_they_are_used() -> None:
    played = verify(answer({"statusCode": "200", "status": "Success"}), answer(SUCCESS))
    assert played.error is None
    services, broker = played.requests
    assert services.url == "https://services.test/Services/2.0.0/tnFeatureMessageList"
    assert services.headers["Authorization"] == "Basic " + base64.b64encode(b"key-AAAA:secret-BBBB").decode()
    assert played.bodies[0] == {"privateKey": "key-AAAA", "pageSort": {"page": 1, "size": 1}}
    assert broker.url == "https://broker.test/rest/selectAuthorization"
    assert broker.headers["Authorization"] == "Bearer outbound-CCCC"
    assert played.bodies[1] == {}
    assert {request.method for request in played.requests} == {"POST"}


@pytest.mark.parametrize("empty", [answer({"statusCode": "430"}), answer(b"", 430)])
def test_s4_22_an_account_without_messaging_numbers_is_fine(empty: HttpResponse) -> None:
    assert verify(empty, answer(SUCCESS)).error is None


@pytest.mark.parametrize(
    "said",
    [
        answer(BAD_BASIC),
        answer(BAD_BASIC, 401),
        answer(b"", 401),
        answer(BAD_TOKEN, 401),
        answer(BAD_TOKEN),
        answer({"statusCode": "408", "status": "privateKey is missing or invalid"}),
    ],
)
def test_s4_22_a_wrong_key_is_named_wherever_the_carrier_puts_the_code(said: HttpResponse) -> None:
    error = verify(said).error
    assert isinstance(error, Refused)
    assert "did not accept the API key and secret" in error.detail


@pytest.mark.parametrize("said", [answer(BAD_TOKEN, 401), answer(b"", 403), answer({"statusCode": "401001"})])
def test_s4_22_a_wrong_outbound_key_is_named(said: HttpResponse) -> None:
    error = verify(answer({"statusCode": "200"}), said).error
    assert isinstance(error, Refused)
    assert "did not accept the Outbound API Key" in error.detail


@pytest.mark.parametrize(
    "said", [answer({"statusCode": "431"}), answer(b"", 431), answer({"statusCode": "431"}, 500), HTML_502]
)
def test_s4_22_could_not_reach_is_not_wrong_key(said: HttpResponse) -> None:
    error = verify(said).error
    assert isinstance(error, NotTaken)
    assert "did not accept" not in error.detail


def test_a_key_that_cannot_stand_in_a_header_is_refused_before_anything_is_sent() -> None:
    account = CarrierAccount({**ACCOUNT.credentials, "outbound_api_key": "a\r\nb"}, ACCOUNT.options, URL, URL)
    played = play(INTELIQUENT.send(account, OutboundText(TN, "+12015550123", "x")))
    assert isinstance(played.error, Refused)
    assert not played.requests


def inventory(tn: Any = "2019920781", messaging: dict[str, str] | None = None, status: str = "In Service") -> Any:
    messaging = {"messageClass": "P2P", "messageType": "SMSMMS"} if messaging is None else messaging
    item = {"tn": tn, "tnStatus": status, "allowMsg": "Y", "tnFeature": {"e911": {}, "messaging": messaging}}
    return {"statusCode": "200", "status": "Success", "tnList": {"tnItem": [item]}, "totalItems": "1"}


def find(said: Any, tn: str = TN) -> Played:
    return play(INTELIQUENT.find_number(ACCOUNT, tn), answer(said))


def test_s4_29_the_number_is_asked_for_by_its_ten_digits() -> None:
    played = find(inventory())
    assert played.paths == ["tnDetail"]
    assert played.bodies[0]["tnSearchList"] == {"tnSearchItem": [{"tnMask": "2019920781"}]}
    assert played.result == CarrierNumber(TN, True, True, True, "P2P", "In Service")


@pytest.mark.parametrize(
    ("kind", "sms", "mms"),
    [("SMS", True, False), ("MMS", False, True), ("SMSMMS_ALT", True, True), ("SMS_ALT", True, False)],
)
def test_s4_30_the_message_type_says_what_the_number_can(kind: str, sms: bool, mms: bool) -> None:
    found = find(inventory(2019920781, {"messageClass": "A2PLC", "messageType": kind})).result
    assert (found.sms, found.mms, found.messaging_class) == (sms, mms, "A2PLC")


def test_a_number_without_messaging_and_out_of_service_is_found_as_such() -> None:
    found = find(inventory("12019920781", {}, "Pending Disconnect")).result
    assert found == CarrierNumber(TN, False, False, False, "", "Pending Disconnect")


@pytest.mark.parametrize(
    "said",
    [
        {"statusCode": "430", "status": "no result found"},
        {"statusCode": "200", "tnList": {"tnItem": []}},
        {"statusCode": "200", "tnList": None},
        inventory("2019920782"),
    ],
)
def test_s4_29_a_number_that_is_not_on_the_account(said: Any) -> None:
    error = find(said).error
    assert isinstance(error, NumberNotOnAccount)
    assert error.detail == (
        "This number is not assigned to this Inteliquent account, please check the number and try again or check "
        "with the Inteliquent customer portal for more information"
    )


@pytest.mark.parametrize("tn", ["+447480542780", "+1201992078x", "2019920781", "", "+1201992078１"])
def test_what_is_no_north_american_number_is_never_searched(tn: str) -> None:
    played = play(INTELIQUENT.find_number(ACCOUNT, tn))
    assert isinstance(played.error, NumberNotOnAccount)
    assert not played.requests


def test_a_wrong_key_is_not_a_missing_number() -> None:
    error = find(BAD_BASIC).error
    assert isinstance(error, Refused)
    assert not isinstance(error, NumberNotOnAccount)


def page(*tns: str, pages: object = "1") -> Any:
    items = [inventory(tn)["tnList"]["tnItem"][0] for tn in tns]
    return answer({"statusCode": "200", "tnList": {"tnItem": items}, "totalPages": pages})


def test_r44_the_whole_inventory_is_read_page_by_page() -> None:
    played = play(INTELIQUENT.list_numbers(ACCOUNT), page("2019920781", pages="2"), page("2019920782", pages=2))
    assert [number.tn for number in played.result] == ["+12019920781", "+12019920782"]
    assert [body["pageSort"]["page"] for body in played.bodies] == [1, 2]
    assert played.bodies[0]["tnSearchList"]["tnSearchItem"] == [{"tnMask": "xxxxxxxxxx"}]


@pytest.mark.parametrize("pages", [None, "many", "", -3, {"a": 1}, "99999999999999999999"])
def test_r44_an_inventory_that_does_not_count_its_pages_is_one(pages: object) -> None:
    assert len(play(INTELIQUENT.list_numbers(ACCOUNT), page("2019920781", pages=pages)).result) == 1


def test_r44_an_empty_inventory_ends_at_once() -> None:
    assert play(INTELIQUENT.list_numbers(ACCOUNT), answer({"statusCode": "430"})).result == []
    assert play(INTELIQUENT.list_numbers(ACCOUNT), page(pages="7")).result == []


@pytest.mark.parametrize("said", [{"tnMessageCampaignList": None}, {"tnMessageCampaignList": {"x": [1]}}, {}])
def test_facts_1_9_campaigns_by_number(said: Any) -> None:
    item = {"tn": "2019920781", "msgCampaignId": "CLLOE4H", "startDate": "", "isBillable": "Y"}
    listed = {"tnMessageCampaignList": {"tnMessageCampaignItem": [item, {"tn": "2019920782"}, 5]}}
    played = play(INTELIQUENT.list_campaigns(ACCOUNT), answer({"statusCode": "200", **listed}))
    assert played.result == {"+12019920781": "CLLOE4H"}
    assert play(INTELIQUENT.list_campaigns(ACCOUNT), answer({"statusCode": "200", **said})).result == {}
