"""A contact centre over REST: a text comes in, is offered, reserved, answered and closed (S4.3, S4.13)."""

from __future__ import annotations

from tests.e2e.world import Tenant
from tests.sandbox_process import wait_for

REMOTE = "+12125550188"


def test_s4_3_from_the_text_to_the_reply(tenant: Tenant) -> None:
    tenant.platform()
    users = [tenant.new_user(name, licence="agent") for name in ("bea", "cal")]
    stream = tenant.staff.post(
        "media-streams/",
        {
            "group": tenant.group["id"],
            "name": "Orders",
            "media_type": "sms",
            "routing": "round_robin",
            "offer_timeout_s": 5,
            "agents": [user["id"] for user in users],
        },
    )
    row = tenant.staff.post(
        "numbers/", {"number": tenant.carrier.new_number(), "media_stream": stream["id"], "friendly_name": "Orders"}
    )
    # Media streams are never asked for an opt-in (S4.13).
    assert tenant.wait_for_status(row["id"], "enabled")
    assert tenant.staff.get(f"numbers/{row['id']}/")["opt_in"]["state"] == "not_required"
    devices = [tenant.device(user) for user in users]
    assert devices[0].session()["features"]["contact_centre"] is True

    with devices[0].stream() as first, devices[1].stream() as second:
        tenant.carrier.inbound(REMOTE, row["number"], "Where is my order?")
        # Nobody answers: the offer goes from one to the other.
        offers = [stream.wait_for("queue.offered") for stream in (first, second)]
        conversation = offers[0]["conversation"]
        assert offers[0]["remote"]["number"] == REMOTE
        assert {tuple(offer["offered_to"]) for offer in offers} == {(user["id"],) for user in users}

        taken = devices[1].post(f"conversations/{conversation}/reserve/", status=200)
        assert taken["reserved_by"] == users[1]["id"]
        refusal = devices[0].post(f"conversations/{conversation}/reserve/", status=409)
        assert (refusal["code"], refusal["by"]) == ("already_reserved", users[1]["id"])
        first.wait_for("queue.updated", conversation=conversation, state="reserved")
        reply = {"from": row["id"], "to": REMOTE, "text": "It is on its way."}
        assert devices[0].post("messages/", reply, status=409)["code"] == "not_reserved"
        message = devices[1].post("messages/", reply, status=202)
        second.wait_for("message.updated", id=message["id"], status="sent")
        sid = devices[1].message(message["id"])["attempts"][0]["sid"]
        tenant.carrier.receipt(sid, "delivered")
        second.wait_for("message.updated", id=message["id"], status="delivered")

        tenant.carrier.inbound(REMOTE, row["number"], "Thank you")
        assert second.wait_for("message.created", direction="in")["text"] == "Thank you"
        devices[1].post(f"conversations/{conversation}/close/", status=200)
        first.wait_for("queue.updated", conversation=conversation, gone=True)
        assert "message.created" not in {event["type"] for event in first.seen}
        tenant.carrier.inbound(REMOTE, row["number"], "One more thing")
        again = first.wait_for("queue.updated", conversation=conversation)
        assert again["state"] in ("waiting", "offered")
    assert wait_for(lambda: [text["text"] for text in tenant.carrier.taken(row["number"])]) == ["It is on its way."]
