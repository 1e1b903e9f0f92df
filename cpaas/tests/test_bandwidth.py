"""The Bandwidth adapter: the contract of all carriers and what is its own (facts 3.2)."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpaas.carriers.bandwidth.calls import read_xml
from cpaas.carriers.base import (
    CarrierAccount,
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
from cpaas.carriers.registry import get_carrier
from cpaas.models import Attempt, Message, WebhookEvent
from cpaas.services.dead_letters import keep_unreadable, replay
from cpaas.services.numbers import delete_messages
from cpaas.tests.carrier_contract import REMOTE, TN, CarrierContract, CarrierWire, Played, answer, play
from cpaas.tests.carrier_intake import IntakeContract
from cpaas.tests.factories import CpaasNumberFactory
from cpaas.tests.inteliquent_fixtures import JSON
from portal.problems import Problem

BANDWIDTH = get_carrier("bandwidth")
URL = "https://portal.example.com/webhooks/bandwidth/7/s3cret/"
ACCOUNT = CarrierAccount(
    credentials={
        "account_id": "9900000",
        "username": "api-user",
        "password": "api-password",
        "application_id": "app-1",
        "callback_user": "callback-user",
        "callback_password": "callback-password",
    },
    options={"messaging_url": "https://messaging.test/api/v2/", "dashboard_url": "https://dashboard.test/api"},
    inbound_url=URL,
    status_url=URL + "status/",
)
SENT_AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
TAKEN = {"id": "sid-1", "owner": TN, "segmentCount": 1, "direction": "out", "time": "2026-11-21T08:30:00Z"}


def refusal(kind: str, status: int = 400, description: str = "No", **fields: str) -> HttpResponse:
    rows = [{"fieldName": name, "description": said} for name, said in fields.items()]
    return answer({"type": kind, "description": description, "fieldErrors": rows}, status)


def call(events: Any, account: CarrierAccount, url: str = "") -> WebhookRequest:
    user, password = account.credentials["callback_user"], account.credentials["callback_password"]
    headers = {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    body = events if isinstance(events, bytes) else json.dumps(events).encode()
    return WebhookRequest(headers, body, "application/json; charset=utf-8", url or account.inbound_url)


def message(kind: str, *, row: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    inner = {"id": "sid-1", "owner": TN, "direction": "out", "to": [REMOTE], "from": TN, "text": "", "segmentCount": 1}
    return {
        "type": kind,
        "time": "2026-11-21T08:30:01Z",
        "to": "12015550123",
        "message": inner | changes,
        **(row or {}),
    }


class Wire(CarrierWire):
    code = "bandwidth"
    account = ACCOUNT
    taken = answer(TAKEN, 202)
    refusals = (
        refusal("request-validation", to="must be replaced with a valid E164 formatted telephone number"),
        refusal("conflict", 409),
    )
    opt_outs = (refusal("destination-rejected-due-to-user-opt-out"), refusal("x", description="It has opted out"))
    words: ClassVar[dict[str, str]] = {
        "sent": "message-sending",
        "delivered": "message-delivered",
        "failed": "message-failed",
    }
    spellings = ("+12019920781", "12019920781", "2019920781", 12019920781, 2019920781)
    unreadable = (b"[]", b"{}", b"null", b"[{}]", b'[{"message": {"id": ""}}]', b'[1, "x", [2]]', b"<x/>")

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
        inner: dict[str, Any] = {"id": sid, "owner": to, "direction": "in", "from": sender, "to": [to], "text": text}
        if media:
            inner["media"] = list(media)
        return call([message("message-received", **inner)], account)

    def receipt(self, account: CarrierAccount, sid: str, word: str) -> WebhookRequest:
        row = {"errorCode": 4720, "description": "invalid-destination-address"} if word == "message-failed" else {}
        return call([message(word, row=row, id=sid)], account, account.status_url)

    def broken(self, account: CarrierAccount, to: str = TN) -> WebhookRequest:
        body = (
            b'[{"type":"message-received","message":{"id":"in-1","from":"+12015550123","owner":"%s",'
            b'"text":"caf\xe9\\u0000!"}}]' % to.encode()
        )
        return call(body, account)

    def group(self, account: CarrierAccount, recipients: Sequence[str]) -> list[WebhookRequest]:
        return [
            call(
                [
                    message(
                        "message-received",
                        id=f"in-{own}",
                        owner=own,
                        direction="in",
                        **{"from": REMOTE, "to": list(recipients)},
                    )
                ],
                account,
            )
            for own in recipients
        ]


class TestContract(Wire, CarrierContract):
    """What all carriers must do."""


class TestIntake(Wire, IntakeContract):
    """What must come of their calls."""

    def test_every_event_of_a_call_counts_and_again_nothing_new(self, number: Any) -> None:
        """A text and the fate of another in one call, repeated as after an answer that was lost."""
        sent = self.sent(number)
        inner = {"id": "in-1", "owner": TN, "direction": "in", "from": REMOTE, "to": [TN], "text": "Hi"}
        events = [
            message("message-sending"),
            message("message-received", **inner),
            message("message-received", **inner),
            {"type": "message-received"},
            message("message-delivered"),
        ]
        for _ in range(2):
            assert self.post(call(events, number.platform.account())) == 204
        assert self.status_of(sent) == "delivered"
        assert type(sent).objects.filter(direction="in").count() == 1
        # Each is kept with the id of its own text, and goes with it (R18).
        assert sorted(WebhookEvent.objects.values_list("sid", flat=True)) == ["in-1", "sid-1", "sid-1"]
        delete_messages(actor=None, number=number)
        assert not WebhookEvent.objects.exists()

    def test_a_dead_letter_of_several_texts_is_taken_in_whole_or_stays(self, number: Any) -> None:
        """It could not be read when it came, so nobody separated it; once taken in it is no text's own (R18)."""
        other = "+12019920799"
        inner = {"direction": "in", "from": REMOTE, "text": "Hi"}
        events = [message("message-received", id=f"in-{own}", owner=own, to=[own], **inner) for own in (TN, other)]
        keep_unreadable(platform_id=number.platform_id, request=call(events, number.platform.account()))
        letter = WebhookEvent.objects.get()
        with pytest.raises(Problem) as error:
            replay(actor=None, call=letter)
        assert error.value.code == "unassigned"
        CpaasNumberFactory(
            number=other, platform=number.platform, group__reseller__system_provider=number.platform.system_provider
        )
        taken = replay(actor=None, call=letter)
        assert (taken.state, bytes(taken.body)) == ("replayed", b"")
        assert sorted(Message.objects.values_list("sid", flat=True)) == [f"in-{TN}", f"in-{other}"]

    def test_r32_a_receipt_with_our_reference_settles_a_text_whose_answer_was_lost(self, number: Any) -> None:
        """The answer with the id never came, so that only the reference says whose receipt it is."""
        sent = self.sent(number, sid="")
        Attempt.objects.update(status="unknown")
        type(sent).objects.update(status="unknown")
        tag = str(Attempt.objects.get().pk)
        assert self.post(call([message("message-delivered", id="sid-9", tag=tag)], number.platform.account())) == 204
        assert (self.status_of(sent), Attempt.objects.get().sid) == ("delivered", "sid-9")


APPLICATION = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<ApplicationProvisioningResponse><Application><ApplicationId>app-1</ApplicationId>
<ServiceType>Messaging-V2</ServiceType><AppName>Ours</AppName>{more}</Application></ApplicationProvisioningResponse>"""
MEDIA = answer([])


def application(more: str = "", **urls: str) -> HttpResponse:
    shown = "".join(f"<{name}>{url}</{name}>" for name, url in urls.items())
    return answer(APPLICATION.format(more=shown + more).encode())


def ours() -> HttpResponse:
    return application(InboundCallbackUrl=URL, OutboundCallbackUrl=URL + "status/")


def test_s4_22_verify_asks_messaging_and_for_the_application() -> None:
    played = play(BANDWIDTH.verify(ACCOUNT), MEDIA, application())
    assert played.error is None
    assert [request.url for request in played.requests] == [
        "https://messaging.test/api/v2/users/9900000/media",
        "https://dashboard.test/api/accounts/9900000/applications/app-1",
    ]
    right = "Basic " + base64.b64encode(b"api-user:api-password").decode()
    assert {request.headers["Authorization"] for request in played.requests} == {right}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([refusal("unauthorized", 401, "Authentication Failed")], "did not accept the API user name and password"),
        ([refusal("forbidden", 403, "Access is denied")], "does not let this API user use the account"),
        ([MEDIA, answer(b"<x/>", 404)], "no application with this Application ID"),
        ([MEDIA, answer(APPLICATION.replace("Messaging-V2", "Voice-V2").encode())], "is for Voice-V2"),
        ([MEDIA, answer(b"", 401)], "did not accept the API user name and password"),
    ],
)
def test_s4_22_a_no_says_what_is_wrong(answers: list[HttpResponse], words: str) -> None:
    error = play(BANDWIDTH.verify(ACCOUNT), *answers).error
    assert isinstance(error, Refused)
    assert words in error.detail


def test_s4_29_a_number_is_asked_for_by_its_ten_digits() -> None:
    played = play(BANDWIDTH.find_number(ACCOUNT, TN), answer(b""), application())
    assert played.requests[0].url == "https://dashboard.test/api/accounts/9900000/inservice_numbers/2019920781"
    assert played.result == CarrierNumber(TN, True, True, True)
    assert isinstance(play(BANDWIDTH.find_number(ACCOUNT, TN), answer(b"", 404)).error, NumberNotOnAccount)


def test_an_application_that_was_somebody_elses_is_remembered_and_staff_are_told() -> None:
    keys = "<InboundCallbackCreds><UserId>crm</UserId></InboundCallbackCreds>"
    other = application(keys, InboundCallbackUrl="https://crm.example/in")
    found = play(BANDWIDTH.find_number(ACCOUNT, TN), answer(b""), other).result
    assert found.former_hook == {"InboundCallbackUrl": "https://crm.example/in", "InboundCallbackCreds.UserId": "crm"}
    assert "all numbers of the application app-1" in found.note
    assert play(BANDWIDTH.find_number(ACCOUNT, TN), answer(b""), ours()).result.former_hook == {}


def sent_xml(played: Played) -> dict[str, str]:
    root = fromstring(played.requests[1].body)
    return {
        f"{child.tag}.{leaf.tag}" if leaf is not child else child.tag: leaf.text or ""
        for child in root
        for leaf in (list(child) or [child])
    }


def test_s4_31_the_application_gets_both_addresses_and_keeps_the_rest() -> None:
    requested = "<RequestedCallbackTypes><CallbackType>message-sending</CallbackType></RequestedCallbackTypes>"
    before = application(requested, CallbackUrl="https://crm.example/", MsgCount="3")
    played = play(BANDWIDTH.set_hook(ACCOUNT, TN), before, ours())
    assert played.requests[1].method == "PUT"
    root = fromstring(played.requests[1].body)
    assert [event.text for event in root.iter("CallbackType")] == [
        "message-sending",
        "message-delivered",
        "message-failed",
    ]
    assert root.find("ApplicationId") is None
    assert root.find("CallbackUrl") is None
    said = sent_xml(played)
    del said["RequestedCallbackTypes.CallbackType"]
    assert said == {
        "ServiceType": "Messaging-V2",
        "AppName": "Ours",
        "MsgCount": "3",
        "InboundCallbackUrl": URL,
        "OutboundCallbackUrl": URL + "status/",
        "InboundCallbackCreds.UserId": "callback-user",
        "InboundCallbackCreds.Password": "callback-password",
        "OutboundCallbackCreds.UserId": "callback-user",
        "OutboundCallbackCreds.Password": "callback-password",
    }
    assert played.result == Hook("app-1", "", URL)


def test_s4_31_an_application_that_does_not_show_our_address_may_be_tried_again() -> None:
    assert isinstance(play(BANDWIDTH.set_hook(ACCOUNT, TN), application(), application()).error, NotTaken)


def test_s4_40_the_application_goes_back_to_where_it_was() -> None:
    former = {"InboundCallbackUrl": "https://crm.example/in", "InboundCallbackCreds.UserId": "crm"}
    played = play(BANDWIDTH.remove_hook(ACCOUNT, TN, former), ours(), application())
    assert sent_xml(played) == {"ServiceType": "Messaging-V2", "AppName": "Ours", **former}
    assert played.result == 1


@pytest.mark.parametrize("there", [application(), application(InboundCallbackUrl="https://x.test/"), answer(b"", 404)])
def test_s4_40_what_is_not_ours_stays(there: HttpResponse) -> None:
    assert play(BANDWIDTH.remove_hook(ACCOUNT, TN, {}), there).result == 0


def test_there_is_one_hook_for_all_numbers() -> None:
    assert play(BANDWIDTH.list_hooks(ACCOUNT), ours()).result == [Hook("app-1", "", URL)]
    assert play(BANDWIDTH.list_hooks(ACCOUNT), application()).result == []


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
        b"<x",
        b"",
        b"\xff",
        b'<?xml version="1.0" encoding="nonsense"?><x/>',
    ],
)
def test_xml_that_is_none_or_an_attack_is_not_read(body: bytes) -> None:
    assert read_xml(body) is None


def test_xml_may_have_a_namespace() -> None:
    root = read_xml(b'<a xmlns="urn:x"><b>1</b></a>')
    assert root is not None
    assert [element.tag for element in root.iter()] == ["a", "b"]


@pytest.mark.fuzz
@given(body=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: f"<a>{text}</a>".encode("utf-8", "replace")))
def test_no_answer_breaks_the_reading_of_xml(body: bytes) -> None:
    read_xml(body)


def send(text: OutboundText, said: HttpResponse) -> Played:
    return play(BANDWIDTH.send(ACCOUNT, text), said)


def test_a_text_carries_our_reference() -> None:
    played = send(OutboundText(TN, REMOTE, "Grüße 👋", reference="attempt-1"), answer(TAKEN, 202))
    assert played.requests[0].url == "https://messaging.test/api/v2/users/9900000/messages"
    assert played.bodies[0] == {
        "applicationId": "app-1",
        "from": TN,
        "to": [REMOTE],
        "text": "Grüße 👋",
        "tag": "attempt-1",
    }


def test_an_mms_needs_no_text() -> None:
    played = send(OutboundText(TN, REMOTE, "", ["https://p.test/1.jpg"]), answer(TAKEN, 202))
    assert played.bodies[0]["media"] == ["https://p.test/1.jpg"]
    assert "text" not in played.bodies[0]


def test_r32_an_error_names_the_fields() -> None:
    said = refusal("request-validation", description="Your request could not be accepted.", to="'x' must be a number")
    error = send(OutboundText(TN, REMOTE, "x"), said).error
    assert error.code == "request-validation"
    assert "to 'x' must be a number" in error.detail


def test_r32_a_look_up_goes_by_id_or_by_numbers_and_time() -> None:
    row = {
        "messageId": "sid-1",
        "sourceTn": TN,
        "destinationTn": REMOTE,
        "messageDirection": "OUTBOUND",
        "messageStatus": "FAILED",
        "errorCode": 4720,
        "receiveTime": "2026-11-21T08:30:01.000Z",
    }
    rows = [row, {**row, "messageDirection": "INBOUND"}, {**row, "receiveTime": None}, {**row, "destinationTn": TN}]
    played = play(BANDWIDTH.look_up(ACCOUNT, LookUp(TN, REMOTE, SENT_AT)), answer({"messages": rows}))
    assert "fromDateTime=2026-11-21T08%3A28%3A00.000Z&toDateTime=2026-11-21T08%3A40%3A00.000Z" in played.requests[0].url
    said = "The message could not be delivered (carrier error 4720)."
    match = LookUpMatch(SENT_AT + timedelta(seconds=1), REMOTE, "failed", "FAILED", "sid-1", "4720", said)
    assert played.result == [match]
    played = play(BANDWIDTH.look_up(ACCOUNT, LookUp(TN, REMOTE, SENT_AT, "sid-1")), answer({"messages": [row]}))
    assert played.requests[0].url.endswith("/messages?messageId=sid-1")
    assert played.result == [match]


def event(kind: str, row: dict[str, Any] | None = None, **changes: Any) -> Any:
    (found,) = BANDWIDTH.parse_webhook(ACCOUNT, call([message(kind, row=row, **changes)], ACCOUNT))
    return found


def test_our_own_number_is_the_owner() -> None:
    """In a group the first recipient may be somebody else."""
    found = event("message-received", **{"from": "+17035550100", "to": [REMOTE, TN], "owner": TN})
    assert found == InboundText("sid-1", "+17035550100", (TN,), "")


@pytest.mark.parametrize("code", [4475, 4775])
def test_r20_an_opt_out_is_told_apart(code: int) -> None:
    row = {"errorCode": code, "description": "destination-rejected-due-to-user-opt-out"}
    found = event("message-failed", row, tag="attempt-1")
    said = f"The recipient has opted out of texts from this number (carrier error {code})."
    expected = Receipt("sid-1", "failed", "message-failed", str(code), said, opted_out=True, reference="attempt-1")
    assert found == expected


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic %%%", "Bearer x", "Basic " + base64.b64encode(b"callback-user:x").decode()]
)
def test_a_call_without_the_right_name_and_password_is_forbidden(header: str) -> None:
    with pytest.raises(ForbiddenWebhook):
        BANDWIDTH.authenticate(ACCOUNT, replace(call([], ACCOUNT), headers={"authorization": header}))


def test_without_a_password_of_ours_nothing_is_authentic() -> None:
    bare = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "callback_user": "", "callback_password": ""})
    with pytest.raises(ForbiddenWebhook):
        BANDWIDTH.authenticate(bare, call([], bare))


def test_media_get_our_credentials_only_from_messaging_itself() -> None:
    own = BANDWIDTH.media_request(ACCOUNT, "https://messaging.test/api/v2/users/9900000/media/1/0/a.jpg")
    assert "Authorization" in own.headers
    assert "Authorization" not in BANDWIDTH.media_request(ACCOUNT, "https://cdn.bandwidth.com/a.jpg").headers


KEYS = st.sampled_from(["type", "to", "message", "errorCode", "description"])
INNER = st.dictionaries(st.sampled_from(["id", "owner", "from", "to", "text", "media", "tag", "direction"]), JSON)


@pytest.mark.fuzz
@given(body=st.lists(st.dictionaries(KEYS, JSON | INNER), max_size=3) | JSON)
def test_no_call_breaks_the_adapter_and_what_it_reads_can_be_stored(body: Any) -> None:
    try:
        events = BANDWIDTH.parse_webhook(ACCOUNT, call(json.dumps(body).encode(), ACCOUNT))
    except UnreadableWebhook:
        return
    for found in events:
        texts = [found.sid, *((found.word,) if isinstance(found, Receipt) else (found.sender, found.text))]
        for text in texts:
            assert "\0" not in text
            text.encode("utf-8")
