"""The Services interface as facts of the carrier describe it."""

import pytest


async def test_a_number_is_found_by_ten_digits(wire):
    status, answer = await wire.services("tnDetail", _mask("2019920788"))
    assert (status, answer["statusCode"]) == (200, "200")
    [item] = answer["tnList"]["tnItem"]
    assert (item["tn"], item["tnStatus"]) == ("2019920788", "In Service")
    assert item["tnFeature"]["messaging"] == {"messageClass": "P2P", "messageType": "SMSMMS", "netNumberId": "1"}


async def test_a_wildcard_finds_many_and_pages_them(wire):
    _, answer = await wire.services("tnDetail", {**_mask("20199207xx"), "pageSort": {"page": 2, "size": 30}})
    assert len(answer["tnList"]["tnItem"]) == 9
    assert (answer["totalItems"], answer["totalPages"], answer["page"]) == ("39", "2", "2")


@pytest.mark.parametrize(("last", "messaging", "word"), [("75", {}, "In Service"), ("76", None, "Pending")])
async def test_numbers_without_messaging_and_not_in_service(wire, last, messaging, word):
    _, answer = await wire.services("tnDetail", _mask(f"20199207{last}"))
    [item] = answer["tnList"]["tnItem"]
    assert item["tnStatus"] == word
    assert messaging is None or item["tnFeature"]["messaging"] == messaging


@pytest.mark.parametrize(("mode", "status"), [("http", 430), ("body", 200)])
async def test_an_unknown_number_is_code_430_in_either_reading(wire, mode, status):
    await wire.control("PUT", "inteliquent/", {"errors": mode})
    assert await wire.services("tnDetail", _mask("2019920789")) == (
        status,
        {"statusCode": "430", "status": "No Result Found"},
    )


async def test_eleven_digits_are_no_mask(wire):
    _, answer = await wire.services("tnDetail", _mask("12019920788"))
    assert answer["statusCode"] == "409"


async def test_wrong_basic_credentials_are_401001(wire):
    status, answer = await wire.services("tnFeatureMessageList", {}, authorization="Basic d3Jvbmc6d3Jvbmc=")
    assert (status, answer["statusCode"]) == (401, "401001")


async def test_a_wrong_bearer_is_an_xml_fault(wire):
    status, answer = await wire.services("tnFeatureMessageList", {}, authorization="Bearer wrong")
    assert status == 401
    assert "<ams:code>900901</ams:code>" in answer


async def test_an_oauth_token_opens_services(wire):
    form = {"client_id": "sandbox-api-key", "client_secret": "sandbox-api-secret", "grant_type": "client_credentials"}
    async with wire.session.post(f"{wire.carrier_url}/oauth2/token", data=form) as answer:
        token = (await answer.json())["access_token"]
    status, _ = await wire.services("tnAssignedList", {}, authorization=f"Bearer {token}")
    assert status == 200


@pytest.mark.parametrize("private_key", ["", "wrong"])
async def test_a_missing_or_wrong_private_key_is_code_408(wire, private_key):
    _, answer = await wire.services("tnAssignedList", {"privateKey": private_key})
    assert answer["statusCode"] == "408"
    assert "privateKey" in answer["status"]


async def test_verify_lists_numbers_with_messaging_and_tells_an_empty_account_by_430(wire):
    page = {"pageSort": {"page": 1, "size": 1}}
    _, answer = await wire.services("tnFeatureMessageList", page)
    assert len(answer["tnFeatureList"]["tnFeatureItem"]) == 1
    for number in (await wire.control("GET", "inteliquent/numbers/"))["results"]:
        await wire.control("DELETE", f"inteliquent/numbers/{number['tn']}/", expect=204)
    _, answer = await wire.services("tnFeatureMessageList", page)
    assert answer["statusCode"] == "430"


async def test_messaging_is_switched_on_and_off_but_not_under_a_campaign(wire):
    change = {"tn": "2019920775", "messageClass": "P2P", "messageType": "SMS"}
    assert (await wire.services("tnMessaging", change))[1] == {"statusCode": "200", "status": "Success"}
    shown = await wire.control("GET", "inteliquent/numbers/+12019920775/")
    assert shown["messaging"] == "SMS"
    await wire.control("PUT", "inteliquent/numbers/+12019920775/", {"class": "A2PLC", "campaign": "CLLOE4H"})
    _, answer = await wire.services("tnMessaging", {**change, "removeMessaging": "Y"})
    assert answer["statusCode"] == "425"
    _, listed = await wire.services("tnMessagingCampaignList", {})
    assert listed["tnMessageCampaignList"]["tnMessageCampaignItem"] == [
        {"tn": "2019920775", "msgCampaignId": "CLLOE4H"}
    ]


async def test_a_look_up_shows_texts_taken_without_their_id(wire):
    _, sent = await wire.send()
    search = {"startDate": "2020-01-01T00:00:00.000Z", "endDate": "2100-01-01T00:00:00.000Z", "direction": "Outbound"}
    _, answer = await wire.services("messageDetailSearch", {**search, "sourceTn": "2019920781"})
    [row] = answer["messageDetails"]
    assert (row["source"], row["destination"], row["status"]) == ("12019920781", "12015550123", "Enroute")
    assert sent["result"]["referenceId"] not in str(row)
    for other in ({"sourceTn": "2019920780"}, {"endDate": "2020-02-01T00:00:00.000Z"}, {"direction": "Inbound"}):
        _, answer = await wire.services("messageDetailSearch", {**search, **other})
        assert answer["messageDetails"] == []


async def test_without_receipts_a_look_up_shows_what_became_of_the_text(wire):
    await wire.control("PUT", "inteliquent/receipts/", {"mode": "none", "sequence": ["sent", "failed"]})
    await wire.send()
    search = {"startDate": "2020-01-01T00:00:00.000Z", "endDate": "2100-01-01T00:00:00.000Z"}
    _, answer = await wire.services("messageDetailSearch", search)
    assert answer["messageDetails"][0]["status"] == "Failed"


def _mask(mask):
    return {"tnSearchList": {"tnSearchItem": [{"tnMask": mask}]}}
