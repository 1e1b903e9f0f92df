"""The Message Broker: hooks, keys and sending."""

import pytest


async def test_a_text_is_taken_once_and_shown_in_e164(wire):
    status, answer = await wire.send("Hello")
    assert status == 200
    assert (answer["success"], answer["result"]["messageType"]) == (True, "SMS")
    assert answer["result"]["resultResponses"] == [{"to": "12015550123", "status": "SUCCESS"}]
    [message] = await wire.messages()
    assert message["sid"] == answer["result"]["referenceId"]
    assert (message["n"], message["from"], message["to"]) == (1, "+12019920781", "+12015550123")
    assert (message["text"], message["kind"], message["answered"]) == ("Hello", "sms", True)


async def test_messages_are_filtered_by_party_and_number(wire):
    await wire.send(to="12015550111")
    await wire.send(to="12015550122")
    for query, expected in [
        ("to=%2B12015550122", [2]),
        ("to=12015550111", [1]),
        ("after=1", [2]),
        ("from=%2B12019920780", []),
    ]:
        found = await wire.control("GET", f"inteliquent/messages/?{query}")
        assert [row["n"] for row in found["results"]] == expected


@pytest.mark.parametrize(
    "change",
    [
        {"from": "+12019920781"},
        {"from": "12019920789"},
        {"from": "12019920775"},
        {"from": "12019920776"},
        {"to": "12015550123"},
        {"to": ["+12015550123"]},
        {"to": []},
        {"text": ""},
        {"text": 5},
        {"from": "12019920770", "mediaUrls": ["http://127.0.0.1:1/a.jpg"]},
    ],
)
async def test_what_the_carrier_does_not_take(wire, change):
    body = {"from": "12019920781", "to": ["12015550123"], "text": "Hello", **change}
    status, answer = await wire.broker("publishMessages", body)
    assert (status, answer["statusCode"]) == (408, "408")
    await wire.control("PUT", "inteliquent/", {"errors": "body"})
    status, answer = await wire.broker("publishMessages", body)
    assert (status, answer["success"]) == (200, False)
    assert await wire.messages() == []


async def test_media_are_fetched_at_send_time(wire, portal):
    await wire.send("", mediaUrls=[f"{portal.url}/files/pic.jpg", f"{portal.url}/files/gone.jpg"])
    [message] = await wire.messages()
    assert message["kind"] == "mms"
    picture, gone = message["fetched"]
    assert (picture["http_status"], picture["content_type"], picture["content_length"]) == (200, "image/jpeg", 8)
    assert gone["http_status"] == 404


async def test_a_wrong_outbound_key_is_refused(wire):
    status, answer = await wire.broker("selectAuthorization", {}, key="wrong")
    assert (status, answer["success"]) == (401, False)


async def test_hooks_have_no_uniqueness_and_stand_among_the_outbound_keys(wire):
    first = await wire.set_hook("http://portal/one/", apiKey="k")
    second = await wire.set_hook("http://portal/one/", apiKey="k")
    assert first["authId"] != second["authId"]
    assert (first["tn"], first["inboundAuth"]) == ("12019920781", True)
    _, answer = await wire.broker("selectAuthorization", {})
    rows = answer["authConfig"]["authorizations"]
    assert [row["inboundAuth"] for row in rows] == [False, False, True, True]
    assert rows[0]["apiKey"] == "sandbox-outbound-api-key"
    shown = (await wire.control("GET", "inteliquent/hooks/"))["results"]
    assert [(row["tn"], row["url"], row["api_key"]) for row in shown] == [
        ("12019920781", "http://portal/one/", "k")
    ] * 2


async def test_hooks_can_be_listed_with_ten_digits(wire):
    await wire.set_hook("http://portal/")
    await wire.control("PUT", "inteliquent/", {"tn_digits": 10})
    _, answer = await wire.broker("selectAuthorization", {})
    assert answer["authConfig"]["authorizations"][-1]["tn"] == "2019920781"


@pytest.mark.parametrize(
    "change", [{"tn": "2019920781"}, {"inboundAuth": False}, {"webhookUrl": ""}, {"tn": "12019920789"}]
)
async def test_a_wrong_hook_is_not_added(wire, change):
    row = {"inboundAuth": True, "webhookUrl": "http://portal/", "tn": "12019920781", **change}
    _, answer = await wire.broker("configureAuthorization", {"authorizations": [row]})
    assert answer["statusCode"] == "408"
    assert (await wire.control("GET", "inteliquent/hooks/"))["results"] == []


async def test_removing_an_outbound_key_really_locks_its_owner_out_until_reset(wire):
    hook = await wire.set_hook("http://portal/")
    status, _ = await wire.broker("removeAuthorization", {"authorizations": [{"authId": hook["authId"]}]})
    assert status == 200
    assert (await wire.control("GET", "inteliquent/hooks/"))["results"] == []
    await wire.broker("removeAuthorization", {"authorizations": [{"authId": 1}]})
    assert (await wire.send())[0] == 401
    await wire.control("POST", "reset/", {}, expect=204)
    assert (await wire.send())[0] == 200


async def test_the_same_paths_answer_under_the_common_port(wire):
    headers = {"Authorization": "Bearer sandbox-outbound-api-key"}
    url = f"{wire.sandbox.url}/inteliquent/broker/msgbroker/rest/selectAuthorization"
    async with wire.session.post(url, json={}, headers=headers) as answer:
        assert (await answer.json())["success"] is True


async def test_every_request_is_recorded_as_received(wire):
    await wire.send("Hello", to="12015550100")
    await wire.broker("nothing", {})
    first, second = (await wire.control("GET", "inteliquent/requests/"))["results"]
    assert (first["n"], first["method"], first["http_status"]) == (1, "POST", 200)
    assert first["path"] == "/inteliquent/broker/msgbroker/rest/publishMessages"
    assert '"12015550100"' in first["body"]
    assert first["headers"]["Authorization"] == "Bearer sandbox-outbound-api-key"
    assert second["http_status"] == 404
