"""Restcomm's wire contract, with what is odd about it: facts of the carrier, section 2."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import pytest
from yarl import URL

from sandbox.tests.conftest import Portal, Wire

SID, TOKEN = "AC7e570000000000000000000000000c0d", "sandbox-restcomm-auth-token"
OWN, REMOTE = "+12019930781", "+12015550123"


@dataclass
class Client:
    """A client of Restcomm's REST interface."""

    wire: Wire

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.wire.sandbox.port + 2}/restcomm/2012-04-24/Accounts"

    async def call(self, method: str, path: str, *, auth: tuple[str, str] = (SID, TOKEN), **more: Any) -> Any:
        return await self.wire.request(method, f"{self.base}/{path}", auth=auth, **more)

    async def send(self, **form: Any) -> Any:
        order = {"From": OWN, "To": REMOTE, "Body": "Hello", **form}
        return await self.call("POST", f"{SID}/SMS/Messages.json", data=order)

    async def set_hook(self, url: str, **more: str) -> Any:
        query = {"PhoneNumber": OWN}
        _, found = await self.call("GET", f"{SID}/IncomingPhoneNumbers.json", params=query)
        path = f"{SID}/IncomingPhoneNumbers/{found['incomingPhoneNumbers'][0]['sid']}.json"
        return await self.call("POST", path, data={"SmsUrl": url, "SmsMethod": "POST", **more})


@pytest.fixture
def client(wire: Wire) -> Client:
    return Client(wire)


def form_of(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


@pytest.mark.parametrize(
    ("auth", "status"),
    [
        ((SID, TOKEN), 200),
        (("sandbox@restcomm.example", TOKEN), 200),
        ((SID, "wrong"), 401),
        (("AC0", TOKEN), 401),
    ],
)
async def test_the_account_is_shown_to_sid_or_mail_address(client, auth, status):
    assert (await client.call("GET", f"{SID}.json", auth=auth))[0] == status


async def test_the_password_opens_when_the_token_is_its_digest(client, wire):
    token = hashlib.md5(b"secret", usedforsecurity=False).hexdigest()
    await wire.control("PUT", "restcomm/", {"credentials": {"auth_token": token}})
    assert (await client.call("GET", f"{SID}.json", auth=(SID, "secret")))[0] == 200


async def test_other_accounts_are_404_and_inactive_ones_403(client, wire):
    assert (await client.call("GET", "AC0.json"))[0] == 404
    await wire.control("PUT", "restcomm/", {"account_status": "suspended"})
    assert await client.call("GET", f"{SID}.json") == (403, "Provided Account is not active")


async def test_json_anywhere_in_the_path_or_in_accept_else_xml(client):
    number = "IncomingPhoneNumbers"
    json = {"Accept": "application/json"}
    for path, headers in ((f"{SID}/{number}.json", {}), (f"{SID}.json/{number}", {}), (f"{SID}/{number}", json)):
        assert "incomingPhoneNumbers" in (await client.call("GET", path, headers=headers))[1]
    assert (await client.call("GET", f"{SID}/{number}"))[1].startswith("<?xml")


async def test_the_filter_of_numbers_is_a_like_and_wants_the_plus_encoded(client):
    url = f"{SID}/IncomingPhoneNumbers.json?PageSize=50&PhoneNumber="
    for query, expected in (("2019930781", 1), ("%2B12019930781", 1), ("+12019930781", 0), ("201993", 39), ("", 39)):
        _, found = await client.wire.request("GET", URL(f"{client.base}/{url}{query}", encoded=True), auth=(SID, TOKEN))
        assert found["total"] == expected, query
    row = found["incomingPhoneNumbers"][0]
    assert row["sms_application_sid"] is None
    assert row["capabilities"]["sms_capable"] is True


async def test_pages_that_are_not_there_are_the_word_null_and_too_far_is_400(client):
    path = f"{SID}/IncomingPhoneNumbers.json"
    _, first = await client.call("GET", path, params={"PageSize": "20"})
    assert (first["page"], first["num_pages"], first["previous_page_uri"]) == (0, 1, "null")
    assert first["next_page_uri"].endswith("?Page=1&PageSize=20")
    assert (await client.call("GET", path, params={"PageSize": "20", "Page": "2"}))[0] == 400


async def test_an_application_set_at_the_number_takes_the_place_of_its_url(client, wire):
    status, row = await client.set_hook("http://portal/", SmsApplicationSid="AP1")
    assert (status, row["sms_url"], row["sms_application_sid"]) == (200, "http://portal/", "AP1")
    assert (await wire.control("GET", "restcomm/hooks/"))["results"] == []
    await client.set_hook("http://portal/", SmsApplicationSid="")
    assert [row["tn"] for row in (await wire.control("GET", "restcomm/hooks/"))["results"]] == ["12019930781"]


async def test_a_text_is_taken_with_200_and_without_members_that_are_null(client, wire):
    await wire.control("PUT", "restcomm/receipts/", {"mode": "manual"})
    status, row = await client.send()
    assert (status, row["status"], row["direction"], row["body"]) == (200, "sending", "outbound-api", "Hello")
    assert not {"date_sent", "error_code", "error_message"} & row.keys()
    assert re.fullmatch(r"[A-Z][a-z]{2}, [1-9]\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d -0500", row["date_created"])
    order = {"sid": row["sid"], "status": "undelivered", "error": "30003"}
    assert (await wire.control("POST", "restcomm/receipts/", order, expect=409))["code"] == "no_hook"


async def test_a_look_up_gives_the_number_of_an_error_a_callback_its_name(client, wire, portal: Portal):
    await wire.control("PUT", "restcomm/receipts/", {"mode": "manual"})
    _, sent = await client.send(StatusCallback=f"{portal.url}/hook/", Body="a&b=ü", Encoding="UTF-8")
    order = {"sid": sent["sid"], "status": "undelivered", "error": "30003"}
    await wire.control("POST", "restcomm/receipts/", order)
    body = (await portal.next_post())[1]
    form = form_of(body)
    assert (form["MessageSid"], form["MessageStatus"]) == (sent["sid"], "undelivered")
    assert (form["ErrorCode"], form["AccountSid"]) == ("UNREACHABLE_DESTINATION_HANDSET", SID)
    assert [value for name, value in parse_qsl(body.decode()) if name == "Body"] == ["a&b=ü"] * 2
    _, row = await client.call("GET", f"{SID}/SMS/Messages/{sent['sid']}.json")
    assert (row["error_code"], row["status"]) == (30003, "undelivered")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}-05:00", row["date_sent"])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"From": ""}, 400),
        ({"To": ""}, 400),
        ({"Body": ""}, 400),
        ({"Encoding": "UTF8"}, 500),
        ({"Body": "x" * 1000}, 500),
    ],
)
async def test_the_little_that_it_checks(client, wire, change, status):
    assert (await client.send(**change))[0] == status
    assert (await wire.control("GET", "restcomm/messages/"))["results"] == []
    assert (await client.send(From="12015550000"))[0] == 200


async def test_without_an_encoding_characters_are_lost_on_the_air(client, wire):
    for encoding, aired in (({}, "5 € ?"), ({"Encoding": "UCS-2"}, "5 € 😀")):
        _, row = await client.send(Body="5 € 😀", **encoding)
        assert row["body"] == "5 € 😀"
        taken = (await wire.control("GET", "restcomm/messages/"))["results"][-1]
        assert taken["text"] == aired


async def test_with_normalised_numbers_a_long_text_is_cut_in_silence(client, wire):
    await wire.control("PUT", "restcomm/", {"normalize": True})
    assert len((await client.send(Body="x" * 160))[1]["body"]) == 160
    assert len((await client.send(Body="x" * 161))[1]["body"]) == 159
    assert len((await client.send(Body="ü" * 100))[1]["body"]) == 100
    assert (await client.send(To="BANK"))[0] == 400


async def test_by_sip_no_callback_comes(client, wire, portal: Portal):
    await wire.control("PUT", "restcomm/", {"transport": "sip"})
    await wire.control("PUT", "restcomm/receipts/", {"before_answer": True, "delay_s": 0})
    _, sent = await client.send(StatusCallback=f"{portal.url}/hook/")
    assert portal.posts.empty()
    assert (await client.call("GET", f"{SID}/SMS/Messages/{sent['sid']}.json"))[1]["status"] == "sent"


async def test_lists_hold_both_directions_and_filter_by_part(client, wire):
    await client.send(Body="out")
    order = {"from": REMOTE, "to": OWN, "text": "in", "url": "http://127.0.0.1:9/", "sid": "SM1"}
    assert (await wire.control("POST", "restcomm/inbound/", order))["deliveries"][0]["error"] == "refused"
    for query, expected in (
        ({}, ["out", "in"]),
        ({"SortBy": "DateCreated:desc"}, ["in", "out"]),
        ({"To": "930781"}, ["in"]),
        ({"From": "930781", "StartTime": "2020-01-01"}, ["out"]),
        ({"EndTime": "2020-01-01"}, []),
        ({"Status": "received"}, ["in"]),
        # As the network wrote it, without a plus.
        ({"To": OWN}, []),
    ):
        _, found = await client.call("GET", f"{SID}/SMS/Messages.json", params=query)
        assert [row["body"] for row in found["messages"]] == expected, query
        assert {row["direction"] for row in found["messages"] if row["body"] == "in"} <= {"inbound"}


async def test_inbound_is_a_form_without_plus_and_signature(client, wire, portal: Portal):
    await client.set_hook(f"{portal.url}/hook/")
    media = [{"name": "a.gif", "content_type": "image/gif", "base64": base64.b64encode(b"GIF").decode()}]
    order = {"from": "+13123752629", "to": OWN, "text": "Grüße 😀", "sid": "SM1", "media": media}
    await wire.control("POST", "restcomm/inbound/", order)
    _, body = await portal.next_post()
    expected = {"SmsSid": "SM1", "AccountSid": SID, "From": "13123752629", "To": "12019930781", "Body": "Grüße 😀"}
    assert form_of(body) == expected
    for sign, account in (("wrong", "AC00000000000000000000000000000bad"), ("none", None)):
        await wire.control("POST", "restcomm/inbound/", {**order, "sign": sign})
        assert form_of((await portal.next_post())[1]).get("AccountSid") == account
    await wire.control("PUT", "restcomm/", {"normalize": True})
    await wire.control("POST", "restcomm/inbound/", order)
    assert form_of((await portal.next_post())[1])["From"] == "+13123752629"


async def test_an_answer_that_is_not_200_goes_to_the_fallback_once_and_one_without_xml_is_noted(
    client, wire, portal: Portal
):
    await client.set_hook(f"{portal.url}/gone/", SmsFallbackUrl=f"{portal.url}/hook/")
    order = {"from": REMOTE, "to": OWN, "text": "Hi", "sid": "SM1"}
    sent = await wire.control("POST", "restcomm/inbound/", order)
    assert [row["http_status"] for row in sent["deliveries"]] == [404, 200]
    assert form_of((await portal.next_post())[1])["SmsSid"] == "SM1"
    await client.set_hook(f"{portal.url}/hook/")
    assert (await client.call("GET", f"{SID}/Notifications.json"))[1]["notifications"] == []
    await wire.control("POST", "restcomm/inbound/", order)
    [note] = (await client.call("GET", f"{SID}/Notifications.json"))[1]["notifications"]
    assert (note["error_code"], note["request_url"]) == (12300, f"{portal.url}/hook/")


@pytest.mark.parametrize(
    ("fault", "status", "part"),
    [
        ({"kind": "refuse", "text": "Spam"}, 400, "Spam"),
        ({"kind": "throttle"}, 429, "Too many"),
        ({"kind": "throttle", "code": "SMS_LIMIT_EXCEEDED"}, 403, "SMS_LIMIT_EXCEEDED"),
        ({"kind": "status", "status": 500}, 500, "Internal error"),
        ({"kind": "status", "status": 401}, 401, ""),
        ({"kind": "html"}, 502, "<html>"),
        ({"kind": "xml"}, 401, "RestException"),
    ],
)
async def test_faults_in_its_own_words(client, wire, fault, status, part):
    await wire.control("POST", "restcomm/faults/", {"operation": "send", "fault": fault}, expect=201)
    got, answer = await client.send()
    assert got == status
    assert part in str(answer)
    assert (await client.send())[0] == 200
