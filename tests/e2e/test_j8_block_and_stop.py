"""J8: a user blocks a spammer, and somebody asks for no more texts."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.clients import Device
from tests.e2e.staff_site import log_in, save
from tests.e2e.world import Tenant
from tests.sandbox_process import wait_for

SPAMMER = "+12125550134"
CUSTOMER = "+12125550135"


def texts_of(device: Device, conversation: str) -> list[str]:
    return [row["text"] for row in device.get(f"conversations/{conversation}/messages/")["results"]]


def set_blocking(page: Page, number: Any, choice: str) -> None:
    """Staff change *User Can Block Numbers* of the number."""
    page.goto(f"/numbers/{number['id']}/change/")
    page.get_by_label("User Can Block Numbers").select_option(label=choice)
    save(page)


def test_j8_block_and_unblock_s4_15_s4_16_r19(page: Page, tenant: Tenant) -> None:
    tenant.platform(user_can_block=False)
    number = tenant.number()
    device, carrier = tenant.device(), tenant.carrier
    wish = {"number": number["id"], "remote": SPAMMER}
    log_in(page, tenant.administrator)

    # 2 The platform does not allow it; the number's own setting does.
    refused = device.call("POST", "blocked/", wish)
    assert (refused.status_code, refused.json()["code"]) == (409, "blocking_not_allowed")
    set_blocking(page, number, "On")
    expect(page.get_by_text("Blocked parties")).to_be_visible()
    assert device.session()["numbers"][0]["can_block"] is True

    # 1 Blocked from the title bar: the next text is not delivered, and nothing is new.
    with device.stream() as stream:
        carrier.inbound(SPAMMER, number["number"], "Buy one")
        first = stream.wait_for("message.created")
        blocked = device.post("blocked/", wish)
        assert stream.wait_for("conversation.updated", blocked=True)["id"] == first["conversation"]
        deliveries = carrier.inbound(SPAMMER, number["number"], "Buy two")
        assert [delivery["http_status"] for delivery in deliveries] == [200]
        carrier.inbound(CUSTOMER, number["number"], "Are you open?")
        assert stream.wait_for("message.created")["text"] == "Are you open?"
    assert texts_of(device, first["conversation"]) == ["Buy one"]
    assert device.session()["new"]["messages"] == 2
    page.reload()
    expect(page.locator("dt:has-text('Blocked parties') + dd")).to_have_text("1")
    assert tenant.staff.get(f"numbers/{number['id']}/")["message_count"] == 3

    # 2 Switched off for the number, what is blocked rests.
    set_blocking(page, number, "Off")
    expect(page.get_by_text("without effect while blocking is off")).to_be_visible()
    carrier.inbound(SPAMMER, number["number"], "Buy three")
    assert texts_of(device, first["conversation"]) == ["Buy three", "Buy one"]
    set_blocking(page, number, "On")
    carrier.inbound(SPAMMER, number["number"], "Buy four")

    # 3 Unblocked: the next one arrives, those between stay away.
    device.delete(f"blocked/{blocked['id']}/")
    carrier.inbound(SPAMMER, number["number"], "Sorry")
    assert texts_of(device, first["conversation"]) == ["Sorry", "Buy three", "Buy one"]
    trail = tenant.staff.get("audit/", object=number["id"])["results"]
    assert {"block", "unblock"} <= {row["action"] for row in trail}


def test_j8_stop_and_start_r20(page: Page, tenant: Tenant) -> None:
    reply = "You will get no more texts from us."
    tenant.platform(options={**tenant.carrier.options, "stop_reply": reply})
    number = tenant.number()
    device, carrier = tenant.device(), tenant.carrier

    # 4 STOP is shown like any text, is answered once, and closes the conversation.
    with device.stream() as stream:
        carrier.inbound(CUSTOMER, number["number"], "Stop!")
        conversation = stream.wait_for("conversation.updated", stopped=True)
        carrier.inbound(CUSTOMER, number["number"], "STOP")
    wait_for(lambda: [row["text"] for row in carrier.taken(number["number"])] == [reply], what="the answer")
    assert texts_of(device, conversation["id"]).count(reply) == 1
    refused = device.call("POST", "messages/", {"to": CUSTOMER, "text": "One more offer"})
    assert (refused.status_code, refused.json()["code"]) == (409, "remote_opted_out")
    assert "START" in refused.json()["detail"]
    assert device.send(SPAMMER, "Somebody else")["status"] == "queued"

    # Staff see it with its evidence.
    log_in(page, tenant.administrator)
    page.goto(f"/numbers/{number['id']}/")
    stops = page.get_by_role("region", name="STOP and START")
    expect(stops.get_by_role("row").nth(1)).to_contain_text("Stopped")
    [row] = tenant.staff.get("stops/", number=number["id"], remote=CUSTOMER)["results"]
    assert (row["number"], row["remote"], row["stopped"], row["keyword"]) == (number["number"], CUSTOMER, True, "STOP")

    # START opens it again.
    carrier.inbound(CUSTOMER, number["number"], "start")
    assert device.get(f"conversations/{conversation['id']}/")["stopped"] is False
    assert device.send(CUSTOMER, "Welcome back")["status"] == "queued"
    page.reload()
    expect(stops.get_by_role("row").nth(1)).to_contain_text("Open again")
    [row] = tenant.staff.get("stops/", number=number["number"])["results"]
    assert [said["keyword"] for said in row["history"]] == ["START", "STOP"]
