"""Twilio's wire contract: accounts, numbers, sending, signed forms, media."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import pytest
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from sandbox.basic import basic_header
from sandbox.tests.conftest import Portal, Wire
from sandbox.twilio.wire import signature

SID, TOKEN = "AC5a4d00000000000000000000000000f3", "sandbox-twilio-auth-token"
OWN, REMOTE = "+12019940781", "+12015550123"


@dataclass
class Client:
    """A client of Twilio's REST interface."""

    wire: Wire

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.wire.sandbox.port + 3}/twilio/2010-04-01/Accounts/{SID}"

    async def call(self, method: str, path: str, *, auth: tuple[str, str] = (SID, TOKEN), **more: Any) -> Any:
        return await self.wire.request(method, f"{self.base}{path}", auth=auth, **more)

    async def send(self, **form: Any) -> Any:
        return await self.call("POST", "/Messages.json", data={"From": OWN, "To": REMOTE, "Body": "Hello", **form})

    async def set_hook(self, url: str, tn: str = OWN) -> Any:
        _, found = await self.call("GET", "/IncomingPhoneNumbers.json", params={"PhoneNumber": tn})
        sid = found["incoming_phone_numbers"][0]["sid"]
        return await self.call("POST", f"/IncomingPhoneNumbers/{sid}.json", data={"SmsUrl": url, "SmsMethod": "POST"})


@pytest.fixture
def client(wire: Wire) -> Client:
    return Client(wire)


def form_of(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def is_signed(url: str, headers: dict[str, str], body: bytes) -> bool:
    return bool(RequestValidator(TOKEN).validate(url, form_of(body), headers["X-Twilio-Signature"]))


async def test_the_account_is_shown_to_its_token_only(client, wire):
    assert (await client.call("GET", ".json"))[1]["status"] == "active"
    status, error = await client.call("GET", ".json", auth=(SID, "wrong"))
    assert (status, error["code"]) == (401, 20003)
    await wire.control("PUT", "twilio/", {"account_status": "suspended"})
    assert (await client.call("GET", ".json"))[1]["status"] == "suspended"
    assert (await client.send())[0] == 403


async def test_a_number_is_found_by_a_part_of_it_and_shows_what_it_can(client):
    status, found = await client.call("GET", "/IncomingPhoneNumbers.json", params={"PhoneNumber": OWN})
    [row] = found["incoming_phone_numbers"]
    assert (status, row["phone_number"], row["sms_url"]) == (200, OWN, "")
    assert row["capabilities"] == {"fax": False, "voice": True, "sms": True, "mms": True}
    for part, expected in (("2019940", 39), ("20199407*1", 4), ("+12019920781", 0)):
        query = {"PhoneNumber": part}
        _, found = await client.call("GET", "/IncomingPhoneNumbers.json", params=query)
        assert len(found["incoming_phone_numbers"]) == expected, part


async def test_a_hook_is_an_address_of_the_number_and_empty_clears_it(client, wire):
    assert (await client.set_hook("http://portal/hook/"))[1]["sms_url"] == "http://portal/hook/"
    [hook] = (await wire.control("GET", "twilio/hooks/"))["results"]
    assert (hook["tn"], hook["url"]) == ("12019940781", "http://portal/hook/")
    await client.set_hook("")
    assert (await wire.control("GET", "twilio/hooks/"))["results"] == []
    assert (await client.call("POST", "/IncomingPhoneNumbers/PN0.json", data={"SmsUrl": "x"}))[0] == 404


async def test_a_text_is_taken_with_201_and_can_be_looked_up(client, wire):
    await wire.control("PUT", "twilio/receipts/", {"mode": "none", "sequence": ["delivered"]})
    status, row = await client.send(Body="é" * 161)
    assert (status, row["status"], row["num_segments"], row["from"]) == (201, "queued", "2", OWN)
    assert row["sid"].startswith("SM")
    assert len(row["sid"]) == 34
    assert (await client.call("GET", f"/Messages/{row['sid']}.json"))[1]["status"] == "delivered"
    today = row["date_created"]
    assert today.endswith("+0000")
    for query, expected in (
        ({"To": REMOTE, "From": OWN}, 1),
        ({"To": OWN}, 0),
        ({"DateSent>": "2020-01-01"}, 1),
        ({"DateSent<": "2020-01-01"}, 0),
    ):
        found = (await client.call("GET", "/Messages.json", params=query))[1]
        assert len(found["messages"]) == expected, query


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"To": ""}, 21604),
        ({"To": "12015550123"}, 21211),
        ({"To": "BANK"}, 21211),
        ({"From": ""}, 21603),
        ({"From": "+12019940789"}, 21606),
        ({"From": "+12019940775"}, 21606),
        ({"From": "+12019940770", "MediaUrl": "http://portal/a.jpg"}, 21606),
        ({"Body": ""}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"MediaUrl": "a.jpg"}, 21620),
        ({"To": OWN}, 21266),
    ],
)
async def test_what_it_does_not_take_has_a_code(client, wire, change, code):
    status, error = await client.send(**change)
    assert (status, error["code"], error["status"]) == (400, code, 400)
    assert (await wire.control("GET", "twilio/messages/"))["results"] == []


async def test_every_picture_of_a_text_is_fetched(client, wire, portal):
    urls = [("MediaUrl", f"{portal.url}/files/pic.jpg"), ("MediaUrl", f"{portal.url}/files/gone.jpg")]
    status, row = await client.call("POST", "/Messages.json", data=[("From", OWN), ("To", REMOTE), *urls])
    assert (status, row["num_media"]) == (201, "2")
    [message] = (await wire.control("GET", "twilio/messages/"))["results"]
    assert [fetched["http_status"] for fetched in message["fetched"]] == [200, 404]


@pytest.mark.parametrize(
    ("fault", "status", "part"),
    [
        ({"kind": "refuse", "code": "21610", "text": "Stopped"}, 400, "21610"),
        ({"kind": "throttle"}, 429, "20429"),
        ({"kind": "status", "status": 500}, 500, "20500"),
        ({"kind": "status", "status": 401}, 401, "20003"),
        ({"kind": "html"}, 502, "<html>"),
        ({"kind": "xml"}, 401, "RestException"),
    ],
)
async def test_faults_in_its_own_words(client, wire, fault, status, part):
    await wire.control("POST", "twilio/faults/", {"operation": "send", "fault": fault}, expect=201)
    got, answer = await client.send()
    assert got == status
    assert part in str(answer)
    assert (await client.send())[0] == 201


@pytest.mark.parametrize(
    ("operation", "method", "path", "data"),
    [
        ("verify", "GET", ".json", None),
        ("number", "GET", "/IncomingPhoneNumbers.json", None),
        ("hook", "POST", "/IncomingPhoneNumbers/PN0.json", {"SmsUrl": "http://portal/"}),
        ("unhook", "POST", "/IncomingPhoneNumbers/PN0.json", {"SmsUrl": ""}),
        ("list", "GET", "/Messages.json", None),
    ],
)
async def test_each_operation_can_be_broken_by_its_name(client, wire, operation, method, path, data):
    await wire.control("POST", "twilio/faults/", {"operation": operation, "fault": {"kind": "html"}})
    assert (await client.call(method, path, data=data))[0] == 502


async def test_inbound_texts_are_signed_as_twilios_own_validator_wants(client, wire, portal: Portal):
    await client.set_hook(f"{portal.url}/hook/")
    order = {"from": "+13123752629", "to": OWN, "text": "Grüße 😀 & more + =", "sid": "SM1"}
    await wire.control("POST", "twilio/inbound/", order)
    headers, body = await portal.next_post()
    form = form_of(body)
    assert is_signed(f"{portal.url}/hook/", headers, body)
    assert (form["MessageSid"], form["From"], form["To"], form["Body"]) == ("SM1", "+13123752629", OWN, order["text"])
    assert (form["AccountSid"], form["NumMedia"], form["SmsStatus"]) == (SID, "0", "received")
    await wire.control("PUT", "twilio/", {"numbers_as": "int"})
    await wire.control("POST", "twilio/inbound/", order)
    assert form_of((await portal.next_post())[1])["To"] == OWN[1:]
    for sign in ("wrong", "none"):
        await wire.control("POST", "twilio/inbound/", {**order, "sign": sign})
        headers, body = await portal.next_post()
        assert "X-Twilio-Signature" not in headers or not is_signed(f"{portal.url}/hook/", headers, body)


def test_values_of_a_name_are_signed_sorted_and_once():
    url, form = "https://portal.example/hook/", {"To": ["b", "a", "b"], "Body": [""]}
    theirs = RequestValidator(TOKEN).compute_signature(url, MultiDict([("To", "b"), ("To", "a"), ("Body", "")]))
    assert signature(TOKEN, url, form) == theirs


async def test_each_of_our_numbers_gets_its_own_text(client, wire, portal: Portal):
    for tn in (OWN, "+12019940782"):
        await client.set_hook(f"{portal.url}/hook/", tn)
    sent = await wire.control("POST", "twilio/inbound/", {"from": REMOTE, "to": [OWN, "+12019940782"], "text": "Hi"})
    forms = [form_of((await portal.next_post())[1]) for _ in range(2)]
    assert {form["To"] for form in forms} == {OWN, "+12019940782"}
    assert len({form["MessageSid"] for form in forms}) == 2
    assert sent["sid"] in {form["MessageSid"] for form in forms}


async def test_status_goes_to_the_address_of_the_text_and_nowhere_without_one(client, wire, portal: Portal):
    await wire.control("PUT", "twilio/receipts/", {"mode": "manual"})
    _, row = await client.send(StatusCallback=f"{portal.url}/hook/")
    await wire.control("POST", "twilio/receipts/", {"sid": row["sid"], "status": "undelivered", "error": "30003"})
    headers, body = await portal.next_post()
    form = form_of(body)
    assert is_signed(f"{portal.url}/hook/", headers, body)
    assert (form["MessageSid"], form["MessageStatus"], form["ErrorCode"]) == (row["sid"], "undelivered", "30003")
    assert (await client.call("GET", f"/Messages/{row['sid']}.json"))[1]["error_code"] == 30003
    _, silent = await client.send()
    order = {"sid": silent["sid"], "status": "sent"}
    assert (await wire.control("POST", "twilio/receipts/", order, expect=409))["code"] == "no_hook"


async def test_receipts_follow_by_themselves(client, portal: Portal):
    await client.send(StatusCallback=f"{portal.url}/hook/")
    words = [form_of((await portal.next_post())[1])["MessageStatus"] for _ in range(2)]
    assert words == ["sent", "delivered"]


async def test_files_want_the_account_and_lie_on_another_host_that_refuses_it(client, wire, portal: Portal):
    await client.set_hook(f"{portal.url}/hook/")
    await wire.control("PUT", "twilio/", {"media_misses": 1})
    media = [{"name": "a.gif", "content_type": "image/gif", "base64": base64.b64encode(b"GIF89a").decode()}]
    await wire.control("POST", "twilio/inbound/", {"from": REMOTE, "to": OWN, "media": media})
    form = form_of((await portal.next_post())[1])
    assert (form["NumMedia"], form["MediaContentType0"]) == ("1", "image/gif")
    assert "Body" not in form
    get = wire.session.get
    async with get(form["MediaUrl0"]) as answer:
        assert answer.status == 401
    login = {"Authorization": basic_header(SID, TOKEN)}
    async with get(form["MediaUrl0"], headers=login, allow_redirects=False) as answer:
        assert answer.status == 307
        place = answer.headers["Location"]
    assert place.startswith(f"{wire.sandbox.url}/twilio/cdn/")
    async with get(place, headers=login) as answer:
        assert answer.status == 400
    assert [await wire.request("GET", place) for _ in range(2)] == [(404, "Not Found"), (200, "GIF89a")]


async def test_echo_brings_the_picture_back_from_the_carriers_own_shelf(client, wire, portal: Portal):
    await client.set_hook(f"{portal.url}/hook/")
    await wire.control("PUT", "twilio/", {"media_redirect": False})
    await wire.control("PATCH", "", {"echo": True, "echo_delay_s": 0})
    await client.send(MediaUrl=f"{portal.url}/files/pic.jpg")
    form = form_of((await portal.next_post())[1])
    assert (form["From"], form["To"], form["Body"], form["MediaContentType0"]) == (REMOTE, OWN, "Hello", "image/jpeg")
    assert await wire.request("GET", form["MediaUrl0"], auth=(SID, TOKEN)) == (200, "JPEGJPEG")
