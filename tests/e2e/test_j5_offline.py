"""J5: texts come while the client is closed, and nothing is lost or doubled over a cut connection."""

from __future__ import annotations

from tests.e2e.conftest import every_carrier
from tests.e2e.world import Tenant

FIRST, SECOND = "+12125550134", "+12125550135"


@every_carrier
def test_j5_new_after_start_and_read_everywhere_s1_22_s1_52_to_s1_54(tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number()

    # 1 The client is closed, three texts come. 2 It starts: three are new, in two conversations, newest first.
    for sender, text in ((FIRST, "one"), (SECOND, "two"), (FIRST, "three")):
        tenant.carrier.inbound(sender, number["number"], text)
    device, other = tenant.device(name="desk"), tenant.device(name="home")
    session = device.session()
    assert (session["new"]["conversations"], session["new"]["messages"]) == (2, 3)
    new = device.get("conversations/", new=1)["results"]
    assert [(row["remote"]["number"], row["new_count"], row["last_message"]["text"]) for row in new] == [
        (FIRST, 2, "three"),
        (SECOND, 1, "two"),
    ]

    # 3 Opened: no longer new, on the second client too.
    with other.stream() as elsewhere:
        for row in new:
            device.post(f"conversations/{row['id']}/read/", {"up_to": row["last_message"]["id"]}, status=200)
            assert elsewhere.wait_for("conversation.updated", id=row["id"])["new_count"] == 0
    assert other.session()["new"] == {"conversations": 0, "messages": 0, "missed_calls": 0}
    assert device.get("conversations/", new=1)["results"] == []


def test_j5_a_cut_connection_loses_and_doubles_nothing_s1_22(tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number()
    device = tenant.device()
    start = device.session()["cursor"]
    for text in range(5):
        tenant.carrier.inbound(FIRST, number["number"], f"text {text}")

    # 4 The connection is cut after the first event; more comes while it is down; the client goes on where it was.
    stream = device.stream(after=start)
    stream.wait_for("message.created", text="text 0")
    stream.close()
    got = [event for event in stream.seen if event.get("id")]
    for text in range(5, 8):
        tenant.carrier.inbound(FIRST, number["number"], f"text {text}")
    with device.stream(after=got[-1]["id"]) as again:
        again.wait_for("message.created", text="text 7")
        got += [event for event in again.seen if event.get("id")]
    assert [event["id"] for event in got] == list(range(start + 1, start + 1 + len(got)))
    assert [event["data"]["text"] for event in got if event["type"] == "message.created"] == [
        f"text {text}" for text in range(8)
    ]
    # The same by polling, for clients that cannot hold a stream.
    polled = device.ok(200, device.call("GET", f"events/?after={start}", headers={"Accept": "application/json"}))
    assert [event["id"] for event in polled["events"]][: len(got)] == [event["id"] for event in got]
    assert not polled["reset"]
