"""J4: a text comes in while the user's client listens."""

from __future__ import annotations

import uuid

from tests.e2e.conftest import every_carrier
from tests.e2e.world import Tenant

REMOTE = "+12125550134"
# Carriers differ in what they take for success (contracts section 3).
SUCCESS = {200, 204}


@every_carrier
def test_j4_inbound_to_a_live_client_s4_1_s1_22(tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number()
    device, carrier = tenant.device(), tenant.carrier

    # 1 The client holds the stream. 2 The carrier posts. 3 The event arrives, with one conversation.
    with device.stream() as stream:
        sid = str(uuid.uuid4())
        deliveries = carrier.inbound(REMOTE, number["number"], "Are you open today?", sid=sid)
        assert [delivery["http_status"] in SUCCESS for delivery in deliveries] == [True]
        message = stream.wait_for("message.created", direction="in")
        assert (message["text"], message["status"], message["from"]) == ("Are you open today?", "received", REMOTE)
        conversation = stream.wait_for("conversation.updated", id=message["conversation"])
        assert conversation["new_count"] == 1
        assert len(device.get("conversations/")["results"]) == 1

        # 4 The same webhook again, three times at once: success, and still one message (S4.1).
        again = carrier.inbound(REMOTE, number["number"], "Are you open today?", sid=sid, copies=3, parallel=True)
        assert {delivery["http_status"] for delivery in again} <= SUCCESS
        # 5 A wrong key: 403, and nothing is stored.
        forged = carrier.inbound(REMOTE, number["number"], "Forged", sign="wrong")
        assert {delivery["http_status"] for delivery in forged} == {403}
        # 6 A number that is not ours: success, in no conversation.
        url = carrier.hooks(number["number"])[0]["url"]
        stray = carrier.inbound(REMOTE, "+15515559999", "For nobody", url=url)
        assert {delivery["http_status"] for delivery in stray} <= SUCCESS

        # What comes next is the next event: none of the three above made one.
        carrier.inbound(REMOTE, number["number"], "Still there?")
        following = stream.wait_for("message.created")
        assert following["text"] == "Still there?"
    texts = [row["text"] for row in device.get(f"conversations/{message['conversation']}/messages/")["results"]]
    assert texts == ["Still there?", "Are you open today?"]
    assert [row["new_count"] for row in device.get("conversations/")["results"]] == [2]
