"""J3: the user is asked, postpones, declines, is asked again after a reset, and accepts."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.conftest import every_carrier
from tests.e2e.staff_site import log_in
from tests.e2e.world import Tenant
from tests.sandbox_process import wait_for


def the_number(tenant: Tenant, name: str) -> Any:
    """The number as a client that has just started sees it."""
    return tenant.device(name=name).session()["numbers"][0]


def mails(tenant: Tenant, account: Any, word: str) -> list[dict[str, Any]]:
    return [mail for mail in tenant.carrier.mails(account["email"]) if word in mail["subject"]]


def test_j3_opt_in_s1_2_to_s1_11_r3(page: Page, tenant: Tenant) -> None:
    tenant.platform()
    second = tenant.account("system_provider", tenant.provider["id"], send_alerts=True)
    number = tenant.number(answer="", friendly_name="Ann Desk")
    device = tenant.device()
    answer = f"numbers/{number['id']}/opt-in/"

    # 1 The session asks. 2 Nothing can be sent before the answer.
    asked = device.session()["numbers"][0]
    assert (asked["opt_in"]["state"], asked["usable"]) == ("pending", False)
    prompt = asked["opt_in"]["prompt"]
    assert number["national"] in prompt["text"]
    assert [choice["label"] for choice in prompt["choices"]] == ["Yes", "No", "Cancel"]
    refused = device.call("POST", "messages/", {"to": "2125550134", "text": "Hello"})
    assert (refused.status_code, refused.json()["code"]) == (409, "opt_in_pending")

    # 3 Cancel: postponed, one mail that says so, asked again at the next start; a second Cancel sends no second mail.
    assert (
        device.post(answer, {"answer": "cancel", "prompt": prompt["id"]}, status=200)["opt_in"]["state"] == "postponed"
    )
    wait_for(lambda: mails(tenant, tenant.administrator, "postponed"), what="the mail")
    assert the_number(tenant, "next start")["opt_in"]["prompt"]["id"] == prompt["id"]
    device.post(answer, {"answer": "cancel"}, status=200)

    # 4 No: declined, a mail to each account of the provider that gets alerts, with number and user (S1.9).
    declined = device.post(answer, {"answer": "no"}, status=200)
    assert (declined["opt_in"]["state"], declined["opt_in"]["prompt"], declined["usable"]) == ("declined", None, False)
    for account in (tenant.administrator, second):
        mail = wait_for(lambda to=account: mails(tenant, to, "declined"), what="the mail")[0]
        assert number["national"] in mail["subject"]
        assert all(word in mail["text"] for word in ("Ann Desk", tenant.user["login"], f"{tenant.mark} Works"))
        assert len(mails(tenant, account, "postponed")) == 1
    refused = device.call("POST", answer, {"answer": "yes"})
    assert (refused.status_code, refused.json()["code"]) == (409, "opt_in_closed")
    assert the_number(tenant, "not asked again")["opt_in"]["prompt"] is None

    # 5 Staff see it on the number's page and reset it.
    log_in(page, tenant.administrator)
    page.goto(f"/numbers/{number['id']}/")
    expect(page.get_by_text("Declined at").first).to_be_visible()
    page.get_by_role("button", name="Reset Opt-In State").click()
    expect(page.get_by_text("Pending").first).to_be_visible()
    expect(page.get_by_role("button", name="Reset Opt-In State")).to_have_count(0)

    # 6 The next start asks, Yes makes it usable at once, and the portal shows when and what was accepted (S4.38).
    fresh = the_number(tenant, "after the reset")
    assert fresh["opt_in"]["prompt"]["id"] != prompt["id"]
    accepted = device.post(answer, {"answer": "yes", "prompt": fresh["opt_in"]["prompt"]["id"]}, status=200)
    assert (accepted["opt_in"]["state"], accepted["usable"]) == ("accepted", True)
    assert device.send("2125550134", "Now it works")["status"] == "queued"
    page.reload()
    expect(page.get_by_text("Accepted at").first).to_be_visible()
    evidence = page.get_by_role("region", name="Opt-in evidence")
    expect(evidence.get_by_role("row").nth(1)).to_contain_text(fresh["opt_in"]["prompt"]["text"])
    answers = [row["answer"] for row in tenant.staff.get(f"numbers/{number['id']}/opt-in-history/")["results"]]
    assert answers == ["yes", "no", "cancel"]


@every_carrier
def test_j3_the_same_over_rest_with_each_carrier_r3(tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number(answer="")
    device = tenant.device()
    for answer, code in (("cancel", "opt_in_pending"), ("no", "opt_in_declined")):
        device.post(f"numbers/{number['id']}/opt-in/", {"answer": answer}, status=200)
        refused = device.call("POST", "messages/", {"to": "2125550134", "text": "Too early"})
        assert (refused.status_code, refused.json()["code"]) == (409, code)
    tenant.staff.post(f"numbers/{number['id']}/reset-opt-in/", {}, status=200)
    device.post(f"numbers/{number['id']}/opt-in/", {"answer": "yes"}, status=200)
    message = device.send("2125550134", "Now it works")
    wait_for(lambda: device.message(message["id"])["status"] == "sent", what="the text to be sent")
    assert [row["text"] for row in tenant.carrier.taken(number["number"])] == ["Now it works"]
