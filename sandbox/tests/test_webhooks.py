"""What the carrier posts to the portal: inbound texts, receipts, echo."""

import base64
import hashlib
import hmac
import json
import re

import pytest

KEY = "ZJUZjLIWYI9Nb1la7WKLkgswqdczzMTb"
INBOUND = {"from": "+13123752629", "to": "+12019920781", "text": "Hi"}


async def test_an_inbound_text_goes_signed_to_the_hook_of_its_number(wire, portal):
    await wire.set_hook(f"{portal.url}/hook/", apiKey=KEY, headerName="X-Extra", headerValue="yes")
    sent = await wire.control("POST", "inteliquent/inbound/", {**INBOUND, "sid": "AccO"})
    headers, body = await portal.next_post()
    assert json.loads(body) == {
        "referenceId": "AccO",
        "from": "13123752629",
        "to": ["12019920781"],
        "text": "Hi",
        "deliveryReceipt": False,
        "mediaUrls": [],
    }
    assert headers["X-Extra"] == "yes"
    assert headers["verificationToken"] == hashlib.sha256((KEY + headers["messageID"]).encode()).hexdigest()
    [delivery] = sent["deliveries"]
    assert (sent["sid"], delivery["http_status"], delivery["error"]) == ("AccO", 200, None)
    assert json.loads(delivery["body"])["status"] == "success"


async def test_the_token_can_be_an_hmac_and_numbers_integers(wire, portal):
    await wire.set_hook(f"{portal.url}/hook/", apiKey=KEY)
    await wire.control("PUT", "inteliquent/", {"token": "hmac", "numbers_as": "int"})
    await wire.control("POST", "inteliquent/inbound/", {**INBOUND, "from": "BANK"})
    headers, body = await portal.next_post()
    expected = hmac.new(KEY.encode(), headers["messageID"].encode(), hashlib.sha256).hexdigest()
    assert headers["verificationToken"] == expected
    assert (json.loads(body)["from"], json.loads(body)["to"]) == ("BANK", [12019920781])


async def test_known_signatures_of_the_vector(wire):
    carrier = wire.sandbox.carriers["inteliquent"]
    nonce = "9a09df23-01f3-4e0f-adbc-2a783878a574"
    assert carrier._token_of(KEY, nonce) == "3066f6bf934e4dc86e88c4ff7dfacd16a3b7e701d2555a3abb349e1f1ee7a529"
    carrier.settings.token = "hmac"
    assert carrier._token_of(KEY, nonce) == "b3b3ce00c541c344b3091d71b385dadff50643c382c8e419d27696adf13c0067"


async def test_wrong_and_missing_signatures(wire, portal):
    await wire.set_hook(f"{portal.url}/hook/", apiKey=KEY)
    await wire.control("POST", "inteliquent/inbound/", {**INBOUND, "sign": "wrong"})
    headers, _ = await portal.next_post()
    assert headers["verificationToken"] != hashlib.sha256((KEY + headers["messageID"]).encode()).hexdigest()
    await wire.control("POST", "inteliquent/inbound/", {**INBOUND, "sign": "none"})
    headers, _ = await portal.next_post()
    assert "verificationToken" not in headers


@pytest.mark.parametrize("parallel", [False, True])
async def test_copies_are_the_very_same_call_in_turn_or_at_once(wire, portal, parallel):
    portal.delay_s = 0.3
    await wire.set_hook(f"{portal.url}/hook/", apiKey=KEY)
    sent = await wire.control("POST", "inteliquent/inbound/", {**INBOUND, "copies": 3, "parallel": parallel})
    assert [delivery["http_status"] for delivery in sent["deliveries"]] == [200] * 3
    posts = [await portal.next_post() for _ in range(3)]
    assert len({(headers["messageID"], body) for headers, body in posts}) == 1
    assert portal.most_running == (3 if parallel else 1)


async def test_without_a_hook_the_text_is_dropped_unless_a_url_is_given(wire, portal):
    await wire.control("POST", "inteliquent/inbound/", INBOUND, expect=409)
    await wire.set_hook(f"{portal.url}/hook/", apiKey=KEY)
    order = {**INBOUND, "to": "+12019920789", "url": f"{portal.url}/hook/"}
    await wire.control("POST", "inteliquent/inbound/", order)
    headers, body = await portal.next_post()
    assert json.loads(body)["to"] == ["12019920789"]
    assert headers["verificationToken"] == hashlib.sha256((KEY + headers["messageID"]).encode()).hexdigest()


async def test_the_hook_of_the_company_serves_numbers_without_one(wire, portal):
    row = {"inboundAuth": True, "webhookUrl": f"{portal.url}/hook/"}
    await wire.broker("configureAuthorization", {"authorizations": [row]})
    sent = await wire.control("POST", "inteliquent/inbound/", INBOUND)
    assert sent["deliveries"][0]["http_status"] == 200


async def test_relative_hooks_belong_to_the_portal(wire, portal):
    await wire.control("PATCH", "", {"portal_url": portal.url})
    sent = await wire.control("POST", "inteliquent/inbound/", {**INBOUND, "url": "/hook/"})
    assert sent["deliveries"][0]["http_status"] == 200


async def test_raw_bytes_are_sent_as_they_are_with_the_right_signature(wire, portal):
    await wire.set_hook(f"{portal.url}/hook/", apiKey=KEY)
    raw = {"headers": {"X-Raw": "1"}, "body_base64": base64.b64encode(b"\xff\x00{").decode()}
    await wire.control("POST", "inteliquent/inbound/", {"to": "+12019920781", "raw": raw})
    headers, body = await portal.next_post()
    assert body == b"\xff\x00{"
    assert headers["X-Raw"] == "1"
    assert "verificationToken" in headers


async def test_files_of_an_inbound_text_can_be_fetched(wire, portal):
    await wire.set_hook(f"{portal.url}/hook/")
    media = [{"name": "a.gif", "content_type": "image/gif", "base64": base64.b64encode(b"GIF89a").decode()}]
    await wire.control("POST", "inteliquent/inbound/", {**INBOUND, "media": media})
    _, body = await portal.next_post()
    layout, url = json.loads(body)["mediaUrls"]
    assert layout.endswith(".smil")
    async with wire.session.get(url) as answer:
        assert (answer.content_type, await answer.read()) == ("image/gif", b"GIF89a")
    await wire.control(
        "POST", "inteliquent/faults/", {"operation": "media", "fault": {"kind": "status", "status": 404}}
    )
    async with wire.session.get(url) as answer:
        assert answer.status == 404


async def test_a_portal_that_is_down_or_silent_is_told_by_a_word(wire, portal):
    sent = await wire.control("POST", "inteliquent/inbound/", {**INBOUND, "url": "http://127.0.0.1:9/"})
    assert (sent["deliveries"][0]["http_status"], sent["deliveries"][0]["error"]) == (None, "refused")
    await wire.sandbox.courier.close()
    wire.sandbox.courier.timeout_s = 0.2
    portal.delay_s = 2
    sent = await wire.control("POST", "inteliquent/inbound/", {**INBOUND, "url": f"{portal.url}/hook/"})
    assert sent["deliveries"][0]["error"] == "timeout"


async def test_a_carrier_that_retries_shows_every_try(wire, portal):
    portal.status = 503
    await wire.control("PUT", "inteliquent/", {"retries": 1})
    sent = await wire.control("POST", "inteliquent/inbound/", {**INBOUND, "url": f"{portal.url}/hook/"})
    assert [(row["attempt"], row["http_status"]) for row in sent["deliveries"]] == [(1, 503), (2, 503)]


async def test_receipts_follow_by_themselves_in_the_words_of_an_smsc(wire, portal):
    await wire.set_hook(f"{portal.url}/hook/", apiKey=KEY)
    _, answer = await wire.send("Hello")
    sid = answer["result"]["referenceId"]
    bodies = []
    for _ in range(2):
        headers, body = await portal.next_post()
        assert headers["verificationToken"] == hashlib.sha256((KEY + headers["messageID"]).encode()).hexdigest()
        bodies.append(json.loads(body))
    assert [re.search(r"stat:(\w+)", body["text"])[1] for body in bodies] == ["ACCEPTD", "DELIVRD"]
    assert all(body["deliveryReceipt"] is True and body["referenceId"] == sid for body in bodies)
    pattern = r"id:\S+ sub:001 dlvrd:001 submit date:\d{10} done date:\d{10} stat:DELIVRD err:000 text:Hello"
    assert re.fullmatch(pattern, bodies[1]["text"])


async def test_receipts_doubled_reversed_and_before_the_answer(wire, portal):
    await wire.set_hook(f"{portal.url}/hook/")
    plan = {"copies": 2, "reverse": True, "before_answer": True, "delay_s": 0}
    await wire.control("PUT", "inteliquent/receipts/", plan)
    await wire.send()
    assert portal.posts.qsize() == 4
    words = [re.search(rb"stat:(\w+)", (await portal.next_post())[1])[1] for _ in range(4)]
    assert words == [b"DELIVRD", b"DELIVRD", b"ACCEPTD", b"ACCEPTD"]


async def test_a_plan_for_one_recipient_leaves_the_others_theirs(wire, portal):
    await wire.set_hook(f"{portal.url}/hook/")
    await wire.control("PUT", "inteliquent/receipts/", {"mode": "manual"})
    plan = {"to": "+12015550199", "sequence": ["undelivered"], "before_answer": True, "delay_s": 0}
    await wire.control("PUT", "inteliquent/receipts/", plan)
    await wire.send()
    await wire.send(to="12015550199")
    assert b"stat:UNDELIV" in (await portal.next_post())[1]
    assert portal.posts.empty()


@pytest.mark.parametrize(
    ("word", "stat"), [("sent", "ACCEPTD"), ("failed", "REJECTD"), ("undelivered", "UNDELIV"), ("odd", "ODD")]
)
async def test_receipts_on_order(wire, portal, word, stat):
    await wire.set_hook(f"{portal.url}/hook/")
    await wire.control("PUT", "inteliquent/receipts/", {"mode": "manual"})
    _, answer = await wire.send()
    order = {"sid": answer["result"]["referenceId"], "status": word, "error": "30003", "copies": 2, "parallel": True}
    done = await wire.control("POST", "inteliquent/receipts/", order)
    assert [delivery["http_status"] for delivery in done["deliveries"]] == [200, 200]
    _, body = await portal.next_post()
    assert f"stat:{stat} err:30003" in json.loads(body)["text"]
    await wire.control("POST", "inteliquent/receipts/", {"sid": "unknown", "status": "sent"}, expect=404)


async def test_echo_comes_back_as_a_reply(wire, portal):
    await wire.set_hook(f"{portal.url}/hook/")
    await wire.control("PUT", "inteliquent/receipts/", {"mode": "manual"})
    await wire.control("PATCH", "", {"echo": True, "echo_delay_s": 0})
    await wire.send("Anybody there?")
    _, body = await portal.next_post()
    reply = json.loads(body)
    assert (reply["from"], reply["to"], reply["text"]) == ("12015550123", ["12019920781"], "Anybody there?")
    assert reply["deliveryReceipt"] is False
