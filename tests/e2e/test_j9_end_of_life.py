"""J9: the log, a text in it, whose ticket it is; then saved messages deleted, the number deleted, and the purge."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from playwright.sync_api import Page, expect

from tests.e2e.staff_site import log_in
from tests.e2e.world import Tenant
from tests.sandbox_process import wait_for
from tests.stack_process import Stack

REMOTE = "+12125550134"


def test_j9_the_log_answers_and_a_ticket_is_raised_s1_55_to_s1_60(page: Page, tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number()
    device = tenant.device()
    body = "x" * 91 + " harbor"
    sent = device.send(REMOTE, body)
    wait_for(lambda: device.message(sent["id"])["status"] == "sent", what="the text to be taken")
    sid = device.message(sent["id"])["attempts"][0]["sid"]
    with device.stream() as stream:
        tenant.carrier.inbound(REMOTE, number["number"], "Something else")
        came = stream.wait_for("message.created", direction="in")
    tenant.carrier.receipt(sid, "sent")

    # The same over REST: by the last digits, by the text, and who reads is written down.
    rows = tenant.staff.get("message-log/", to=REMOTE[-4:], text="HARBOR")["results"]
    assert [(row["id"], row["sid"], row["segments"], row["characters"]) for row in rows] == [(sent["id"], sid, 1, 98)]
    assert tenant.staff.get(f"message-log/{sent['id']}/advice/")["ticket"] == "carrier"
    story = f"message-log/{came['id']}/"
    wait_for(
        lambda: "told" in [step["type"] for step in tenant.staff.get(story)["events"]], what="the note of who was told"
    )
    assert tenant.staff.get(f"{story}advice/")["ticket"] == "none"

    # 1 Log → filter From/To/time/body → rows.
    log_in(page, tenant.administrator)
    page.get_by_role("link", name="Message log").first.click()
    expect(page.get_by_role("row")).to_have_count(3)
    page.get_by_label("From").fill(number["number"][-7:])
    page.get_by_label("To").fill(REMOTE)
    page.get_by_label("Message body").fill("harbor")
    page.get_by_role("button", name="Search", exact=True).last.click()
    expect(page.get_by_role("row")).to_have_count(2)

    # 2 Row → SID, segments.
    page.get_by_role("row").nth(1).get_by_role("link").click()
    expect(page.get_by_label("SID")).to_have_value(sid)
    expect(page.get_by_text("98 chars (1 segment)")).to_be_visible()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == sid

    # 3 Whose ticket? → raise ticket, with the story attached and mailed.
    expect(page.get_by_text("raise a ticket with Inteliquent")).to_be_visible()
    page.get_by_role("button", name="Raise ticket").click()
    page.get_by_label("What is wrong").fill("The customer did not get it.")
    page.get_by_role("button", name="Raise ticket").click()
    expect(page.get_by_text("was raised and mailed")).to_be_visible()
    [ticket] = tenant.staff.get("tickets/", state="open")["results"]
    assert (ticket["sid"], ticket["to"], ticket["message"]) == (sid, "carrier", sent["id"])
    mails = wait_for(lambda: tenant.carrier.mails(tenant.administrator["email"]), what="the mail")
    assert any(sid in mail["text"] for mail in mails)
    trail = tenant.staff.get("audit/", object=number["id"], action="open_message")["results"]
    assert trail


def test_j9_messages_and_number_are_deleted_s4_39_s4_40_r18(page: Page, tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number()
    device = tenant.device()
    home = f"/numbers/{number['id']}/"
    log_in(page, tenant.administrator)

    # 4 The button is there only while there is something to delete; afterwards the user's client is empty too.
    page.goto(home)
    expect(page.get_by_role("button", name="Delete messages")).to_have_count(0)
    tenant.carrier.inbound(REMOTE, number["number"], "First")
    tenant.carrier.inbound(REMOTE, number["number"], "Second")
    page.reload()
    page.get_by_role("button", name="Delete messages").click()
    expect(page.get_by_text("2 saved messages are deleted")).to_be_visible()
    page.get_by_role("button", name="Delete messages").click()
    expect(page.get_by_text("2 saved messages of")).to_be_visible()
    expect(page.get_by_role("button", name="Delete messages")).to_have_count(0)
    assert tenant.staff.get(f"numbers/{number['id']}/")["message_count"] == 0
    assert device.get("conversations/")["results"] == []

    # 5 The number goes: its messages at once, its hook at the carrier, never the evidence of consent.
    tenant.carrier.inbound(REMOTE, number["number"], "Third")
    page.goto(home)
    page.get_by_role("button", name="Delete number").click()
    expect(page.get_by_role("heading", name="Delete number?")).to_be_visible()
    page.get_by_role("button", name="Delete number").click()
    expect(page.get_by_role("heading", name=f"{tenant.mark} Ann")).to_be_visible()
    assert device.get("conversations/")["results"] == []
    wait_for(lambda: tenant.staff.call("GET", f"numbers/{number['id']}/").status_code == 404, what="the removal")
    assert tenant.carrier.hooks(number["number"]) == []
    kept = tenant.staff.get("opt-in-history/", tn=number["number"])["results"]
    assert [(row["answer"], row["user_login"]) for row in kept] == [("yes", tenant.user["login"])]
    trail = tenant.staff.get("audit/", object=number["id"])["results"]
    assert {"create", "delete_messages", "delete"} <= {row["action"] for row in trail}


def test_j9_the_purge_keeps_89_days_and_takes_91_s1_21_r18(tenant: Tenant, stack: Stack) -> None:
    tenant.platform()
    number = tenant.number()
    device = tenant.device()
    tenant.carrier.inbound(REMOTE, number["number"], "Keep me for a while")

    def purge(days: int) -> dict[str, int]:
        as_of = (datetime.now(UTC) + timedelta(days=days)).isoformat()
        report: dict[str, int] = json.loads(stack.manage("purge", "--as-of", as_of))
        return report

    # 6 On day 89 it is still there, on day 91 it is gone and the report says so.
    purge(89)
    assert len(device.get("conversations/")["results"]) == 1
    assert purge(91)["messages"] >= 1
    assert device.get("conversations/")["results"] == []
    assert tenant.staff.get(f"numbers/{number['id']}/")["message_count"] == 0
    assert tenant.staff.get("opt-in-history/", tn=number["number"])["results"]
