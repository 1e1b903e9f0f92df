"""J10: Integrated IM&P, from the staff's switch to UC-One. The bridge is that of the stack's worker, the server a real
Prosody, and what is on the other side are programs that share no code with ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.clients import Device, Stream
from tests.e2e.conftest import TenantMaker
from tests.e2e.imp_town import OLD_PASSWORD, ImpTown, same_as_login
from tests.e2e.looking import Look
from tests.e2e.staff_site import log_in, save
from tests.e2e.world import Tenant
from tests.prosody import Prosody
from tests.sandbox_process import wait_for
from tests.xmpp_peer import UcOne, listening, send_with

CHOSEN = "what the user has chosen"
SHORTEST_GENERATED = 15


@pytest.fixture
def town(tenant: Tenant, prosody: Prosody) -> Iterator[ImpTown]:
    made = ImpTown(tenant, prosody)
    yield made
    made.close()


@pytest.fixture
def connected(town: ImpTown) -> ImpTown:
    """Connected by staff; users choose their passwords."""
    town.connect()
    town.generate_passwords(False)
    return town


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name)


def value_of(place: Locator, name: str) -> Locator:
    return place.locator(f"dt:has-text('{name}') + dd")


def switch_on(page: Page, user: Any) -> None:
    """*Additional Information* on the user's page."""
    page.goto(f"/users/{user['id']}/")
    page.get_by_label("Integrated IM&P assigned").check()
    page.get_by_label("Integrated IM&P enabled").check()
    with page.expect_navigation():
        section(page, "Additional Information").get_by_role("button", name="Save").click()


def set_branding(page: Page, tenant: Tenant, *, generated: bool) -> None:
    page.goto(f"/system-providers/{tenant.provider['id']}/change/")
    page.get_by_label("Auto-generate the XMPP password").set_checked(generated)
    save(page)


def connect_broadworks(page: Page, town: ImpTown) -> None:
    """*Connect BroadWorks* on the system provider's page; the IM&P domain is what BroadWorks says."""
    wanted = town.connection()
    page.goto(f"/system-providers/{town.tenant.provider['id']}/")
    page.get_by_role("link", name="Connect BroadWorks").click()
    for label, name in (("Host", "host"), ("Port", "port"), ("Username", "username"), ("Password", "password")):
        page.get_by_label(label, exact=True).fill(str(wanted[name]))
    page.get_by_label("XMPP server").fill(wanted["xmpp_host"])
    page.get_by_label("XMPP port").fill(str(wanted["xmpp_port"]))
    page.get_by_text("Advanced").click()
    page.get_by_label("Certificate authority").fill(wanted["xmpp_ca"])
    assert Look(page).wrong() == []
    save(page)
    expect(section(page, "BroadWorks")).to_contain_text("Connected")
    expect(section(page, "BroadWorks")).to_contain_text(town.prosody.domain)


def texts_of(device: Device, conversation: str) -> list[str]:
    return [row["text"] for row in device.get(f"im/conversations/{conversation}/messages/")["results"]]


def only_scram(prosody: Prosody, jid: str) -> bool:
    return set(prosody.mechanisms(jid)) <= {"SCRAM-SHA-1", "SCRAM-SHA-256"}


def actions_on(tenant: Tenant, user: Any) -> set[str]:
    return {row["action"] for row in tenant.staff.get("audit/", object=user["id"])["results"]}


def test_j10_from_the_switch_to_online_s0_5_to_s0_17(page: Page, town: ImpTown, make_tenant: TenantMaker) -> None:
    tenant, user = town.tenant, town.new_user("ann")
    log_in(page, tenant.administrator)
    connect_broadworks(page, town)
    set_branding(page, tenant, generated=False)
    device = tenant.device(user)
    additional = section(page, "Additional Information")

    # 2 The service is off: no ID for staff, no menu for the user.
    page.goto(f"/users/{user['id']}/")
    expect(additional.get_by_text("IM&P ID")).to_have_count(0)
    assert device.session()["features"]["xmpp"] is False
    assert device.call("GET", "xmpp/").status_code == 404
    assert device.call("POST", "xmpp/password/", same_as_login()).status_code == 404

    # 1, 2 On: staff see the ID and cannot write it, the client has the menu and says offline.
    with device.stream() as stream:
        switch_on(page, user)
        stream.wait_for("session.updated")
    jid = f"{user['login'].partition('@')[0]}@{town.prosody.domain}"
    expect(value_of(additional, "IM&P ID")).to_have_text(jid)
    expect(additional.get_by_role("textbox", name="IM&P ID")).to_have_count(0)
    refused = tenant.staff.call("PATCH", f"users/{user['id']}/", {"imp_id": f"else@{town.prosody.domain}"})
    assert (refused.status_code, tenant.staff.get(f"users/{user['id']}/")["imp_id"]) == (400, jid)
    assert Look(page).wrong() == []
    assert device.session()["features"]["xmpp"] is True
    shown = device.get("xmpp/")
    assert (shown["jid"], shown["status"], shown["password_managed"]) == (jid, "offline", False)

    # 3 The login password is refused and so are two that differ; a good one notifies and leads to online.
    for body, code in ((same_as_login(), "same_as_login"), ({"password": CHOSEN, "retype": "another"}, "mismatch")):
        wrong = device.call("POST", "xmpp/password/", body)
        assert (wrong.status_code, wrong.json()["code"]) == (400, code)
    assert town.in_broadworks(user)["imp_password"] == OLD_PASSWORD
    with device.stream() as stream:
        device.post("xmpp/password/", {"password": CHOSEN, "retype": CHOSEN}, status=200)
        stream.wait_for("xmpp.updated")
        stream.wait_for("xmpp.updated", status="online")
    assert town.in_broadworks(user)["imp_password"] == CHOSEN
    page.reload()
    expect(value_of(additional, "XMPP status")).to_have_text("Online")
    assert only_scram(town.prosody, jid)

    # Each write left a row, and a stranger finds nothing.
    assert {"integrated_imp", "imp_password"} <= actions_on(tenant, user)
    stranger = make_tenant()
    for path in (f"users/{user['id']}/", f"broadworks/{tenant.provider['id']}/"):
        assert stranger.staff.call("GET", path).status_code == 404
    assert stranger.staff.call("POST", f"users/{user['id']}/generate-imp-password/", {}).status_code == 404


def wait_for_presence(stream: Stream, user: Any, status: str, message: str) -> None:
    """It comes live."""

    def shown(event: dict[str, Any]) -> bool:
        if event["type"] != "presence.updated" or event["data"]["user"] != user["id"]:
            return False
        data = event["data"]
        return (data["status"], data["message"]) == (status, message) and data["rich"]["source"] == "xmpp"

    # It may have come before the event that was waited for.
    if not any(map(shown, stream.seen)):
        stream.wait(shown)


def requests_to(peer: UcOne, jid: str) -> int:
    return sum(heard.type == "subscribe" for heard in peer.presences_of(jid))


def test_j10_presence_of_uc_one_is_live_s0_25_to_s0_27(page: Page, connected: ImpTown) -> None:
    town, tenant = connected, connected.tenant
    ann, bob = town.new_user("ann"), town.new_user("bob")
    jid = town.switch_on(ann)
    town.switch_on(bob)
    tenant.staff.patch(f"users/{ann['id']}/", {"monitored": [bob["id"]]})
    device, uc_one = town.online(ann, CHOSEN), town.uc_one(bob)
    uc_one.presence("away", "At lunch")

    # 4 *Add XMPP presence*: UC-One is asked once, and nothing is shown before it accepts.
    with device.stream() as stream:
        asked = device.post("xmpp/subscriptions/", {"user": bob["id"]})
        assert asked["state"] == "pending"
        uc_one.wait(lambda: requests_to(uc_one, jid) == 1, "the request")
        assert device.get(f"presence/{bob['id']}/")["rich"]["source"] == "own"
        uc_one.accept(jid)
        stream.wait_for("subscription.updated", id=asked["id"], state="accepted")
        wait_for_presence(stream, bob, "away", "At lunch")
        uc_one.presence("dnd", "With a customer until three")
        wait_for_presence(stream, bob, "dnd", "With a customer until three")
        log_in(page, tenant.administrator)
        page.goto(f"/users/{bob['id']}/")
        expect(section(page, "Presence")).to_contain_text("With a customer until three")

        # *Remove XMPP presence* stands in the same place.
        again = device.post("xmpp/subscriptions/", {"user": bob["id"]}, status=200)
        device.delete(f"xmpp/subscriptions/{again['id']}/")
        stream.wait(lambda event: event["type"] == "presence.updated" and event["data"]["message"] == "")
    assert device.get("xmpp/subscriptions/")["results"] == []
    assert {"add_xmpp_presence", "remove_xmpp_presence"} <= actions_on(tenant, ann)
    assert requests_to(uc_one, jid) == 1


def test_j10_one_bubble_whatever_carries_it_s0_32_to_s0_38(connected: ImpTown) -> None:
    town, tenant, prosody = connected, connected.tenant, connected.prosody
    ann, bob = town.new_user("ann"), town.new_user("bob")
    jid, bobs_jid = town.switch_on(ann), town.switch_on(bob)
    device, other = town.online(ann, CHOSEN), tenant.device(bob)
    uc_one = town.uc_one(bob)
    with (
        device.stream() as here,
        other.stream() as there,
        listening(prosody, bobs_jid, OLD_PASSWORD) as printed,
    ):
        # 5 Both: our client, UC-One and a program of somebody else have it, and it is one message.
        message = device.post("im/messages/", {"to": bob["id"], "text": "Lunch at noon?"}, status=202)
        assert message["platforms"] == ["own", "xmpp"]
        there.wait_for("im.created", id=message["id"])
        uc_one.wait_text("Lunch at noon?")
        wait_for(lambda: "Lunch at noon?" in printed(), what="go-sendxmpp to print the text")
        here.wait_for("im.updated", id=message["id"], status="delivered")
        # The answers come into the same window, whichever program they are written in.
        uc_one.send(jid, "With pleasure")
        answer = here.wait_for("im.created", text="With pleasure")
        assert (answer["conversation"], answer["platforms"]) == (message["conversation"], ["xmpp"])
        send_with("go-sendxmpp", prosody, bobs_jid, OLD_PASSWORD, jid, "I bring a friend")
        last = here.wait_for("im.created", text="I bring a friend")
        assert last["sender"]["user"] == bob["id"]
        assert texts_of(device, message["conversation"]) == ["I bring a friend", "With pleasure", "Lunch at noon?"]

        # 7 Tooltips: the platform on the name, when the last message was received on the log.
        conversation = device.get(f"im/conversations/{message['conversation']}/")
        [participant] = conversation["participants"]
        assert (participant["name"], participant["platforms"]) == (bob["name"], ["own", "xmpp"])
        assert conversation["last_message_received_at"] == last["at"]
        assert device.get("xmpp/")["last_message_received_at"] == last["at"]

        # 5 *XMPP only*: our client of the peer does not get it; *own only*: UC-One does not.
        device.patch("settings/", {"im_priority": "xmpp"})
        hidden = device.post("im/messages/", {"to": bob["id"], "text": "Only in UC-One"}, status=202)
        assert hidden["platforms"] == ["xmpp"]
        uc_one.wait_text("Only in UC-One")
        device.patch("settings/", {"im_priority": "own"})
        assert device.get(f"im/conversations/{message['conversation']}/")["participants"][0]["platforms"] == ["own"]
        plain = device.post("im/messages/", {"to": bob["id"], "text": "Only in our client"}, status=202)
        there.wait_for("im.created", id=plain["id"])
        came = [event["data"]["id"] for event in there.seen if event["type"] == "im.created"]
        assert plain["id"] in came
        assert hidden["id"] not in came
        uc_one.sync()
        assert "Only in our client" not in uc_one.texts_from(jid)
    assert "Only in UC-One" not in texts_of(other, message["conversation"])
    assert texts_of(device, message["conversation"])[:2] == ["Only in our client", "Only in UC-One"]
    assert only_scram(prosody, jid)


def test_j10_generated_passwords_need_nobody_s0_18_to_s0_24(page: Page, connected: ImpTown) -> None:
    town, tenant = connected, connected.tenant
    user = town.new_user("dora")
    jid = town.switch_on(user)
    uc_one = town.uc_one(user)
    device = tenant.device(user)
    log_in(page, tenant.administrator)
    additional = section(page, "Additional Information")
    page.goto(f"/users/{user['id']}/")
    expect(additional.get_by_label("Re-type IM&P Password")).to_be_visible()

    # 6 The brand generates: nobody types one any more.
    set_branding(page, tenant, generated=True)
    page.goto(f"/users/{user['id']}/")
    expect(additional.get_by_label("Re-type IM&P Password")).to_have_count(0)
    assert device.get("xmpp/")["password_managed"] is True
    typed = device.call("POST", "xmpp/password/", {"password": CHOSEN, "retype": CHOSEN})
    assert (typed.status_code, typed.json()["code"]) == (409, "password_managed")

    # The client's first start makes one, in BroadWorks and in the file of UC-One, which stays where it is.
    with device.stream() as stream:
        device.session()
        stream.wait_for("xmpp.updated", status="online")
    first = generated_password(town, user, jid)
    uc_one.sync()
    assert uc_one.online
    assert uc_one.failures == []

    # Later starts change nothing; staff may have it made anew.
    device.session()
    assert town.in_broadworks(user)["imp_password_set_count"] == 1
    logins = len(town.prosody.mechanisms(jid))
    with page.expect_navigation():
        additional.get_by_role("button", name="Generate anew").click()
    expect(page.get_by_text("has a new IM&P password")).to_be_visible()
    assert generated_password(town, user, jid) != first
    wait_for(lambda: len(town.prosody.mechanisms(jid)) > logins, what="a login with the new password")
    wait_for(lambda: device.get("xmpp/")["status"] == "online", what="online with it")
    uc_one.sync()
    assert uc_one.online
    assert "imp_password" in actions_on(tenant, user)


def generated_password(town: ImpTown, user: Any, jid: str) -> str:
    """The password that BroadWorks has, once the configuration file of UC-One has it too."""

    def written() -> Any:
        there = town.in_broadworks(user)
        tags = {"%XMPP_USERNAME%": jid, "%XMPP_PASSWORD%": there["imp_password"]}
        return there["imp_password"] if there["device"]["tags"] == tags and there["device"]["rebuilt"] else None

    password: str = wait_for(written, what="the device configuration")
    assert len(password) >= SHORTEST_GENERATED
    assert password != OLD_PASSWORD
    return password
