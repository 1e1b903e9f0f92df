"""J6: a text is sent, its receipts come, one fails and is sent again, and one waits for the carrier."""

from __future__ import annotations

from typing import Any

from tests.e2e.clients import Device
from tests.e2e.conftest import every_carrier
from tests.e2e.world import Tenant
from tests.sandbox_process import wait_for


def sid_of(device: Device, message_id: str) -> str:
    sid: str = device.message(message_id)["attempts"][-1]["sid"]
    return sid


def reached(device: Device, message: Any, status: str) -> Any:
    """The message once it has `status`."""
    wait_for(lambda: device.message(message["id"])["status"] == status, what=status)
    return device.message(message["id"])


@every_carrier
def test_j6_send_and_live_receipts_s1_25_s1_34_s1_41_to_s1_44(tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number()
    tenant.new_user("merced", mobile="7036089795")
    device = tenant.device()

    # 1 Dialled as ten digits; the thread has the directory's name.
    with device.stream() as stream:
        message = device.send("7036089795", "See you at ten")
        assert (message["to"], message["status"]) == ("+17036089795", "queued")
        conversation = device.get(f"conversations/{message['conversation']}/")
        assert conversation["remote"]["name"] == f"{tenant.mark} Merced"
        # 2 Ticks, live: queued, sent, delivered.
        stream.wait_for("message.created", id=message["id"])
        stream.wait_for("message.updated", id=message["id"], status="sent")
        tenant.carrier.receipt(sid_of(device, message["id"]), "delivered")
        delivered = stream.wait_for("message.updated", id=message["id"], status="delivered")
        assert delivered["delivered_at"]
    assert [row["text"] for row in tenant.carrier.taken(number["number"])] == ["See you at ten"]


@every_carrier
def test_j6_receipts_in_any_order_r21(tenant: Tenant) -> None:
    tenant.platform()
    tenant.number()
    device = tenant.device()
    message = device.send("2125550134", "Out of order")
    reached(device, message, "sent")
    # 3 Delivered first, then sent, and everything twice: it stays delivered.
    for word in ("delivered", "sent"):
        deliveries = tenant.carrier.receipt(sid_of(device, message["id"]), word, copies=2, parallel=True)
        assert {delivery["http_status"] for delivery in deliveries} <= {200, 204}
    assert reached(device, message, "delivered")["status"] == "delivered"


@every_carrier
def test_j6_failure_and_resend_s1_43_r22(tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number()
    device = tenant.device()
    # 4 The carrier refuses this destination: an error a person understands.
    tenant.carrier.fault("send", "refuse", times=1, to="+12125550136", text="Blocked")
    message = device.send("2125550136", "Will you come?")
    failed = reached(device, message, "failed")
    assert "Blocked" in failed["error"]["text"]
    assert failed["resendable"]
    # 5 Sent again: the same message, a second attempt.
    again = device.post(f"messages/{message['id']}/resend/", status=202)
    assert (again["id"], len(again["attempts"])) == (message["id"], 2)
    reached(device, message, "sent")
    # Undelivered by receipt is an error with a text too.
    kind = tenant.carrier.kind
    tenant.carrier.receipt(sid_of(device, message["id"]), "undelivered", error=kind.error)
    assert reached(device, message, kind.undelivered)["error"]["text"]
    assert len(device.get(f"conversations/{message['conversation']}/messages/")["results"]) == 1
    assert [row["text"] for row in tenant.carrier.taken(number["number"])] == ["Will you come?"]


@every_carrier
def test_j6_a_carrier_that_is_down_is_waited_for_r32(tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number()
    device = tenant.device()
    # 6 The carrier is away: the text waits, and goes when it is back.
    tenant.carrier.set(state="refusing")
    message = device.send("2125550137", "Patience")
    wait_for(lambda: device.message(message["id"])["attempts"][0]["error"], what="a first try that found nobody")
    assert device.message(message["id"])["status"] == "queued"
    tenant.carrier.set(state="up")
    reached(device, message, "sent")
    assert [row["text"] for row in tenant.carrier.taken(number["number"])] == ["Patience"]
