"""Bandwidth's wire contract: messaging in JSON, numbers and applications in XML, events in lists."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

import pytest

from sandbox.basic import basic_header
from sandbox.tests.conftest import Portal, Wire
from sandbox.xml import as_xml, read_xml

ACCOUNT, APPLICATION = "9900000", "93de2206-9669-4e07-948d-329f4b722ee2"
LOGIN = ("sandbox-bandwidth-user", "sandbox-bandwidth-password")
OWN, OTHER, REMOTE = "+12019950781", "+12019950782", "+12015550123"
CREDENTIALS = {"UserId": "hook", "Password": "secret"}


@dataclass
class Client:
    """A client of both of Bandwidth's interfaces."""

    wire: Wire

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.wire.sandbox.port + 4}/bandwidth"

    async def messaging(self, method: str, path: str, *, auth: tuple[str, str] = LOGIN, **more: Any) -> Any:
        url = f"{self.base}/messaging/api/v2/users/{more.pop('account', ACCOUNT)}/{path}"
        return await self.wire.request(method, url, auth=auth, **more)

    async def send(self, **change: Any) -> Any:
        order = {"applicationId": APPLICATION, "from": OWN, "to": [REMOTE], "text": "Hello", **change}
        return await self.messaging("POST", "messages", json=order)

    async def dashboard(self, method: str, path: str, data: Any = None, *, auth: tuple[str, str] = LOGIN) -> Any:
        """Status and content of the answer's root element."""
        url = f"{self.base}/dashboard/api/accounts/{ACCOUNT}/{path}"
        body = as_xml("Application", data).encode() if data else None
        status, text = await self.wire.request(method, url, auth=auth, data=body)
        return status, read_xml(text.encode())[1] if text else None

    async def set_hook(self, url: str, **more: Any) -> Any:
        application = {
            "ServiceType": "Messaging-V2",
            "AppName": "Portal",
            "InboundCallbackUrl": url,
            "OutboundCallbackUrl": url,
            "InboundCallbackCreds": CREDENTIALS,
            "OutboundCallbackCreds": CREDENTIALS,
        }
        return await self.dashboard("PUT", f"applications/{APPLICATION}", {**application, **more})


@pytest.fixture
def client(wire: Wire) -> Client:
    return Client(wire)


async def event_at(portal: Portal) -> tuple[dict[str, str], dict[str, Any]]:
    headers, body = await portal.next_post()
    [event] = json.loads(body)
    return headers, event


async def test_the_account_is_open_to_its_user_only(client):
    assert await client.messaging("GET", "media") == (200, [])
    assert (await client.messaging("GET", "media", auth=("x", "y")))[0] == 401
    assert (await client.messaging("GET", "media", account="1"))[0] == 403
    assert (await client.dashboard("GET", "applications", auth=("x", "y")))[0] == 401


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("inserviceNumbers/2019950781", 200),
        ("inservice_numbers/2019950781", 200),
        ("inserviceNumbers/2019950789", 404),
        ("inserviceNumbers/2019950776", 404),
    ],
)
async def test_a_number_in_service_is_200_without_a_body(client, path, status):
    assert await client.dashboard("GET", path) == (status, None)


async def test_an_application_is_replaced_by_put_and_changed_by_patch_and_hides_its_passwords(client, wire):
    assert (await wire.control("GET", "bandwidth/hooks/"))["results"] == []
    status, shown = await client.set_hook("http://portal/in/", OutboundCallbackUrl="http://portal/out/")
    assert status == 200
    assert shown["Application"]["InboundCallbackCreds"] == {"UserId": "hook"}
    [hook] = (await wire.control("GET", "bandwidth/hooks/"))["results"]
    assert (hook["tn"], hook["url"], hook["status_url"]) == (None, "http://portal/in/", "http://portal/out/")
    assert hook["header_value"] == basic_header("hook", "secret")
    await client.dashboard("PATCH", f"applications/{APPLICATION}", {"InboundCallbackCreds": {"UserId": "new"}})
    [hook] = (await wire.control("GET", "bandwidth/hooks/"))["results"]
    assert (hook["url"], hook["header_value"]) == ("http://portal/in/", basic_header("new", "secret"))
    await client.dashboard("PUT", f"applications/{APPLICATION}", {"AppName": "Bare"})
    assert (await wire.control("GET", "bandwidth/hooks/"))["results"] == []


async def test_applications_are_made_listed_and_removed(client):
    assert (await client.dashboard("POST", "applications", {"AppName": "No type"}))[0] == 400
    status, made = await client.dashboard("POST", "applications", {"AppName": "Two", "ServiceType": "Messaging-V2"})
    assert status == 201
    _, found = await client.dashboard("GET", "applications")
    assert [row["AppName"] for row in found["ApplicationList"]["Application"]] == ["Sandbox", "Two"]
    path = f"applications/{made['Application']['ApplicationId']}"
    assert (await client.dashboard("DELETE", path))[0] == 200
    status, error = await client.dashboard("GET", path)
    assert (status, error["ResponseStatus"]["ErrorCode"]) == (404, "12016")
    assert (await client.dashboard("DELETE", f"applications/{APPLICATION}"))[0] == 400


async def test_a_text_is_taken_with_202(client, wire):
    status, row = await client.send(text="é" * 161, tag="mark")
    assert (status, row["owner"], row["to"], row["segmentCount"]) == (202, OWN, [REMOTE], 2)
    assert (row["direction"], row["tag"], row["applicationId"]) == ("out", "mark", APPLICATION)
    [message] = (await wire.control("GET", "bandwidth/messages/"))["results"]
    assert (message["sid"], message["to"], message["kind"]) == (row["id"], REMOTE, "sms")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"applicationId": "other"}, "applicationId"),
        ({"from": "12019950781"}, "from"),
        ({"from": "+12019950789"}, "from"),
        ({"from": "+12019950770", "media": ["http://portal/a.jpg"]}, "from"),
        ({"to": REMOTE}, "to"),
        ({"to": []}, "to"),
        ({"to": ["12015550123"]}, "to"),
        ({"to": [REMOTE] * 11}, "to"),
        ({"text": ""}, "text"),
        ({"text": "x" * 2049}, "text"),
        ({"media": ["http://portal/" + "x" * 4096]}, "media"),
        ({"tag": "x" * 1025}, "tag"),
    ],
)
async def test_what_it_does_not_take_names_the_field(client, wire, change, field):
    status, error = await client.send(**change)
    assert (status, error["type"]) == (400, "request-validation")
    assert [row["fieldName"] for row in error["fieldErrors"]] == [field]
    assert (await wire.control("GET", "bandwidth/messages/"))["results"] == []


async def test_a_look_up_knows_neither_text_nor_tag(client, wire):
    await wire.control("PUT", "bandwidth/receipts/", {"mode": "none", "sequence": ["delivered"]})
    _, sent = await client.send(tag="mark")
    assert (await client.messaging("GET", "messages"))[0] == 400
    for query, expected in (
        ({"sourceTn": OWN}, 1),
        ({"destinationTn": OWN}, 0),
        ({"messageId": sent["id"]}, 1),
        ({"sourceTn": OWN, "fromDateTime": "2020-01-01T00:00:00.000Z", "toDateTime": "2100-01-01T00:00:00Z"}, 1),
        ({"sourceTn": OWN, "toDateTime": "2020-01-01T00:00:00Z"}, 0),
    ):
        _, found = await client.messaging("GET", "messages", params=query)
        assert found["totalCount"] == expected, query
    _, found = await client.messaging("GET", "messages", params={"messageStatus": "DELIVERED"})
    [row] = found["messages"]
    assert (row["messageId"], row["messageDirection"], row["destinationTn"]) == (sent["id"], "OUTBOUND", REMOTE)
    assert not {"text", "tag"} & row.keys()


async def test_status_events_go_to_the_outbound_address_with_its_password_and_the_tag(client, wire, portal: Portal):
    await wire.control("PUT", "bandwidth/receipts/", {"mode": "manual"})
    await client.set_hook("http://127.0.0.1:9/", OutboundCallbackUrl=f"{portal.url}/hook/")
    _, sent = await client.send(tag="mark")
    for order, kind, code in (
        ({"status": "sent"}, "message-sending", None),
        ({"status": "delivered"}, "message-delivered", None),
        ({"status": "failed", "error": "4720"}, "message-failed", 4720),
        ({"status": "undelivered"}, "message-failed", 9902),
        ({"status": "read"}, "message-read", None),
    ):
        await wire.control("POST", "bandwidth/receipts/", {"sid": sent["id"], **order})
        headers, event = await event_at(portal)
        assert headers["Authorization"] == basic_header("hook", "secret")
        assert (event["type"], event.get("errorCode"), event["to"]) == (kind, code, REMOTE)
        assert (event["message"]["id"], event["message"]["tag"]) == (sent["id"], "mark")


async def test_only_the_events_that_were_asked_for_come(client, portal: Portal):
    types = {"CallbackType": ["message-delivered", "message-failed"]}
    await client.set_hook(f"{portal.url}/hook/", RequestedCallbackTypes=types)
    await client.send()
    assert (await event_at(portal))[1]["type"] == "message-delivered"


async def test_without_an_outbound_address_nobody_is_told(client, wire, portal: Portal):
    await client.set_hook(f"{portal.url}/hook/", OutboundCallbackUrl="")
    await wire.control("PUT", "bandwidth/receipts/", {"mode": "manual"})
    _, sent = await client.send()
    order = {"sid": sent["id"], "status": "sent"}
    assert (await wire.control("POST", "bandwidth/receipts/", order, expect=409))["code"] == "no_hook"


async def test_inbound_is_one_event_for_each_of_our_numbers_in_a_group(client, wire, portal: Portal):
    await client.set_hook(f"{portal.url}/hook/")
    order = {"from": "+13123752629", "to": [OWN, OTHER, REMOTE], "text": "Hi 😀", "sid": "first"}
    await wire.control("POST", "bandwidth/inbound/", order)
    events = []
    for _ in range(2):
        headers, event = await event_at(portal)
        assert headers["Authorization"] == basic_header("hook", "secret")
        events.append(event)
    messages = [event["message"] for event in events]
    assert {message["owner"] for message in messages} == {OWN, OTHER}
    assert len({message["id"] for message in messages}) == 2
    assert all(message["to"] == [OWN, OTHER, REMOTE] and message["text"] == "Hi 😀" for message in messages)
    assert {event["to"] for event in events} == {"12019950781", "12019950782"}
    assert {(event["type"], event["message"]["direction"]) for event in events} == {("message-received", "in")}


async def test_wrong_and_missing_passwords(client, wire, portal: Portal):
    await client.set_hook(f"{portal.url}/hook/")
    order = {"from": REMOTE, "to": OWN, "text": "Hi"}
    await wire.control("POST", "bandwidth/inbound/", {**order, "sign": "wrong"})
    assert (await event_at(portal))[0]["Authorization"] == basic_header("somebody", "else")
    await wire.control("POST", "bandwidth/inbound/", {**order, "sign": "none"})
    assert "Authorization" not in (await event_at(portal))[0]
    await wire.control("PUT", "bandwidth/", {"credentials": {"callback_user": "a", "callback_password": "b"}})
    await wire.control("POST", "bandwidth/inbound/", {**order, "to": "+12019950789", "url": f"{portal.url}/hook/?x"})
    assert (await event_at(portal))[0]["Authorization"] == basic_header("a", "b")


async def test_numbers_can_be_json_numbers(client, wire, portal: Portal):
    await client.set_hook(f"{portal.url}/hook/")
    await wire.control("PUT", "bandwidth/", {"numbers_as": "int"})
    await wire.control("POST", "bandwidth/inbound/", {"from": "BANK", "to": OWN, "text": "Hi"})
    message = (await event_at(portal))[1]["message"]
    assert (message["from"], message["to"], message["owner"]) == ("BANK", [12019950781], 12019950781)


async def test_it_tries_again_until_it_is_answered_with_2xx(client, wire, portal: Portal):
    portal.status = 503
    await wire.control("PUT", "bandwidth/", {"retries": 1})
    await client.set_hook(f"{portal.url}/hook/")
    sent = await wire.control("POST", "bandwidth/inbound/", {"from": REMOTE, "to": OWN, "text": "Hi"})
    assert [(row["attempt"], row["http_status"]) for row in sent["deliveries"]] == [(1, 503), (2, 503)]
    first, second = [(await event_at(portal))[1] for _ in range(2)]
    assert first == second


@pytest.mark.parametrize("redirects", [False, True])
async def test_files_want_the_account_and_a_layout_part_is_among_them(client, wire, portal: Portal, redirects):
    await client.set_hook(f"{portal.url}/hook/")
    await wire.control("PUT", "bandwidth/", {"media_redirect": redirects})
    media = [{"name": "a.gif", "content_type": "image/gif", "base64": base64.b64encode(b"GIF89a").decode()}]
    await wire.control("POST", "bandwidth/inbound/", {"from": REMOTE, "to": OWN, "media": media})
    message = (await event_at(portal))[1]["message"]
    assert "text" not in message
    layout, url = message["media"]
    assert layout.endswith(".smil")
    assert (await wire.request("GET", url))[0] == 401
    async with wire.session.get(url, headers={"Authorization": basic_header(*LOGIN)}, allow_redirects=False) as answer:
        status, place = answer.status, answer.headers.get("Location")
    assert status == (307 if redirects else 200)
    assert await wire.request("GET", place or url, auth=None if redirects else LOGIN) == (200, "GIF89a")


@pytest.mark.parametrize(
    ("fault", "status", "part"),
    [
        ({"kind": "refuse", "text": "Spam"}, 400, "Spam"),
        ({"kind": "throttle"}, 429, "too-many-requests"),
        ({"kind": "status", "status": 500}, 500, "internal-server-error"),
        ({"kind": "status", "status": 401}, 401, "unauthorized"),
        ({"kind": "html"}, 502, "<html>"),
        ({"kind": "xml"}, 401, "ResponseStatus"),
    ],
)
async def test_faults_in_its_own_words(client, wire, fault, status, part):
    await wire.control("POST", "bandwidth/faults/", {"operation": "send", "fault": fault}, expect=201)
    got, answer = await client.send()
    assert got == status
    assert part in str(answer)
    assert (await client.send())[0] == 202


async def test_each_operation_can_be_broken_by_its_name(client, wire):
    calls = {
        "verify": client.messaging("GET", "media"),
        "list": client.messaging("GET", "messages"),
        "number": client.wire.request("GET", f"{client.base}/dashboard/api/accounts/{ACCOUNT}/inserviceNumbers/1"),
        "hook": client.wire.request(
            "PUT",
            f"{client.base}/dashboard/api/accounts/{ACCOUNT}/applications/x",
            data=as_xml("Application", {"InboundCallbackUrl": "http://portal/"}),
        ),
        "unhook": client.wire.request("PUT", f"{client.base}/dashboard/api/accounts/{ACCOUNT}/applications/x"),
    }
    for operation, call in calls.items():
        await wire.control("POST", "bandwidth/faults/", {"operation": operation, "fault": {"kind": "html"}})
        assert (await call)[0] == 502, operation
