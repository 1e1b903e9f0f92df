"""A contact centre: a text comes in, is offered, reserved, answered and closed; staff look on (S4.3, S4.13, S4.33)."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.looking import Look
from tests.e2e.staff_site import log_in
from tests.e2e.world import Tenant
from tests.sandbox_process import wait_for

REMOTE = "+12125550188"


def contact_centre(tenant: Tenant, **fields: Any) -> tuple[Any, Any, list[Any]]:
    """A media stream, its enabled number and its two agents."""
    tenant.platform()
    users = [tenant.new_user(name, licence="agent") for name in ("bea", "cal")]
    wanted = {"group": tenant.group["id"], "name": f"{tenant.mark} Orders", "agents": [user["id"] for user in users]}
    stream = tenant.staff.post("media-streams/", {**wanted, "media_type": "sms", **fields})
    number = tenant.staff.post("numbers/", {"number": tenant.carrier.new_number(), "media_stream": stream["id"]})
    tenant.wait_for_status(number["id"], "enabled")
    return stream, number, users


def test_s4_3_from_the_text_to_the_reply(tenant: Tenant) -> None:
    _, number, users = contact_centre(tenant, routing="round_robin", offer_timeout_s=5)
    # Media streams are never asked for an opt-in (S4.13).
    assert tenant.staff.get(f"numbers/{number['id']}/")["opt_in"]["state"] == "not_required"
    devices = [tenant.device(user) for user in users]
    assert devices[0].session()["features"]["contact_centre"] is True

    with devices[0].stream() as first, devices[1].stream() as second:
        tenant.carrier.inbound(REMOTE, number["number"], "Where is my order?")
        # Nobody answers: the offer goes from one to the other.
        offers = [stream.wait_for("queue.offered") for stream in (first, second)]
        conversation = offers[0]["conversation"]
        assert offers[0]["remote"]["number"] == REMOTE
        assert [offer["offered_to"] for offer in offers] == [[user["id"]] for user in users]

        taken = devices[1].post(f"conversations/{conversation}/reserve/", status=200)
        assert taken["reserved_by"] == users[1]["id"]
        refusal = devices[0].post(f"conversations/{conversation}/reserve/", status=409)
        assert (refusal["code"], refusal["by"]) == ("already_reserved", users[1]["id"])
        first.wait_for("queue.updated", conversation=conversation, state="reserved")
        reply = {"from": number["id"], "to": REMOTE, "text": "It is on its way."}
        assert devices[0].post("messages/", reply, status=409)["code"] == "not_reserved"
        message = devices[1].post("messages/", reply, status=202)
        second.wait_for("message.updated", id=message["id"], status="sent")
        sid = devices[1].message(message["id"])["attempts"][0]["sid"]
        tenant.carrier.receipt(sid, "delivered")
        second.wait_for("message.updated", id=message["id"], status="delivered")

        tenant.carrier.inbound(REMOTE, number["number"], "Thank you")
        assert second.wait_for("message.created", direction="in")["text"] == "Thank you"
        devices[1].post(f"conversations/{conversation}/close/", status=200)
        first.wait_for("queue.updated", conversation=conversation, gone=True)
        assert "message.created" not in {event["type"] for event in first.seen}
        tenant.carrier.inbound(REMOTE, number["number"], "One more thing")
        assert first.wait_for("queue.updated", conversation=conversation)["state"] in ("waiting", "offered")
    taken = wait_for(lambda: tenant.carrier.taken(number["number"]))
    assert [text["text"] for text in taken] == ["It is on its way."]


def test_s4_3_staff_see_the_queue_live(page: Page, tenant: Tenant) -> None:
    stream, number, users = contact_centre(tenant, routing="ring_all")
    look, url = Look(page), f"/media-streams/{stream['id']}/"
    log_in(page, tenant.administrator)
    page.goto(url)
    page.get_by_role("tab", name="Live queue").click()
    expect(page.get_by_text("Nobody waits.")).to_be_visible()
    expect(page.get_by_text("No agent has a conversation now.")).to_be_visible()
    expect(page.get_by_text("Away")).to_have_count(2)
    assert look.wrong() == []

    page.evaluate("window.notReloaded = true")
    bea = users[0]
    device = tenant.device(bea)
    tenant.carrier.inbound(REMOTE, number["number"], "Are you open?")
    waiting = page.get_by_role("region", name="Waiting")
    expect(waiting).to_contain_text("2125550188")
    expect(waiting).to_contain_text("Nobody yet")
    with device.stream() as events:
        expect(waiting).to_contain_text(bea["name"])
        expect(page.get_by_role("row", name=bea["name"]).filter(has_text="Being asked")).to_be_visible()
        conversation = events.wait_for("queue.offered")["conversation"]
        device.post(f"conversations/{conversation}/reserve/", status=200)
        handled = page.get_by_role("region", name="Being handled")
        expect(handled).to_contain_text(bea["name"])
        expect(waiting).to_contain_text("Nobody waits.")
        tenant.carrier.inbound("+12125550189", number["number"], "And you?")
        expect(waiting).to_contain_text("2125550189")
        assert page.evaluate("window.notReloaded") is True
        assert look.wrong() == []
        # Staff may take it from the agent.
        handled.get_by_role("button", name="Return 2125550188 to queue").click()
        expect(page.get_by_text("The conversation waits in the queue again.")).to_be_visible()
        events.wait_for("queue.updated", conversation=conversation, reserved_by=None)
    page.get_by_role("tab", name="Audit trail").click()
    expect(page.get_by_text("reserve").first).to_be_visible()
