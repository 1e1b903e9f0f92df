"""J7: files go out as MMS or behind a link and come in; their addresses die with their message."""

from __future__ import annotations

import base64
from typing import Any

import requests
from playwright.sync_api import Page, expect

from cpaas.carriers.registry import get_carrier
from cpaas.tests.files import EXE, PDF, picture
from tests.e2e.clients import Device
from tests.e2e.conftest import every_carrier
from tests.e2e.staff_site import log_in, save
from tests.e2e.world import Tenant
from tests.sandbox_process import wait_for

PHOTO = picture("JPEG", (320, 240))
REMOTE = "+17036089795"


def upload(device: Device, name: str, content: bytes, status: int = 201) -> Any:
    return device.ok(status, device.call("POST", "attachments/", files={"file": (name, content)}))


def sent(device: Device, *files: Any, text: str = "Look") -> Any:
    """The message once the carrier has taken it."""
    message = device.send(REMOTE, text, attachments=[file["id"] for file in files])
    wait_for(lambda: device.message(message["id"])["status"] == "sent", what="sent")
    return device.message(message["id"])


@every_carrier
def test_j7_a_pdf_goes_behind_a_link_that_dies_with_its_message_s1_37_s1_39(tenant: Tenant) -> None:
    has_mms = get_carrier(tenant.carrier.kind.code).supports_mms
    tenant.platform(**({"mms": True} if has_mms else {}))
    number = tenant.number()
    device = tenant.device()
    # 1 A program is refused, with the list of what may be sent.
    refused = upload(device, "setup.exe", EXE, status=415)
    assert refused["code"] == "type_not_allowed"
    assert ".pdf, .jpeg, .jpg, .bmp, .png, .gif, .csv" in refused["detail"]
    # 2 A PDF: the text that goes out holds a link, and the link opens for everybody.
    message = sent(device, upload(device, "Offer 2026.pdf", PDF))
    [file] = message["attachments"]
    assert (message["kind"], file["as"], file["name"]) == ("sms", "link", "Offer 2026.pdf")
    [taken] = tenant.carrier.taken(number["number"])
    assert (taken["text"], taken["media_urls"]) == (f"Look\n{file['url']}", [])
    answer = requests.get(file["url"], timeout=60)
    assert (answer.status_code, answer.content) == (200, PDF)
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Length"] == str(len(PDF))
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    # It is gone with its message.
    tenant.staff.post(f"numbers/{number['id']}/delete-messages/", status=200)
    assert requests.get(file["url"], timeout=60).status_code == 404


def test_j7_a_picture_goes_as_mms_where_staff_have_it_on_s4_17_to_s4_19(page: Page, tenant: Tenant) -> None:
    platform = tenant.platform()
    number = tenant.number()
    device = tenant.device()
    # 3 With MMS off: a link.
    [file] = sent(device, upload(device, "photo.jpg", PHOTO))["attachments"]
    assert file["as"] == "link"
    # Staff switch it on for the platform: MMS, which the carrier fetches at once.
    log_in(page, tenant.administrator)
    page.goto(f"/platforms/{platform['id']}/change/")
    page.get_by_label("MMS Available").check()
    save(page)
    message = sent(device, upload(device, "photo.jpg", PHOTO))
    [file] = message["attachments"]
    assert (message["kind"], message["text"], file["as"]) == ("mms", "Look", "mms")
    taken = tenant.carrier.taken(number["number"])[-1]
    assert (taken["kind"], taken["text"], taken["media_urls"]) == ("mms", "Look", [file["url"]])
    assert taken["fetched"] == [
        {"url": file["url"], "http_status": 200, "content_type": "image/jpeg", "content_length": len(PHOTO)}
    ]
    assert requests.get(file["thumbnail_url"], timeout=60).headers["Content-Type"] == "image/jpeg"
    # Off for this number alone (R12).
    page.goto(f"/numbers/{number['id']}/change/")
    page.get_by_label("MMS").select_option("Off")
    save(page)
    expect(page.get_by_text("SMS").first).to_be_visible()
    [file] = sent(device, upload(device, "photo.jpg", PHOTO))["attachments"]
    assert file["as"] == "link"


def test_j7_a_picture_comes_in_with_mms_off_s4_18(tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number()
    device = tenant.device()
    # 4 The text is told at once, the picture as soon as it is here.
    item = {"name": "photo.jpg", "content_type": "image/jpeg", "base64": base64.b64encode(PHOTO).decode()}
    with device.stream() as stream:
        tenant.carrier.inbound(REMOTE, number["number"], "From the beach", media=[item])
        created = stream.wait_for("message.created", direction="in")
        assert (created["text"], created["kind"]) == ("From the beach", "mms")
        shown = stream.wait_for("message.updated", id=created["id"], media_waiting=0)
    [file] = shown["attachments"]
    assert (file["content_type"], file["size"], file["as"]) == ("image/jpeg", len(PHOTO), "mms")
    assert requests.get(file["url"], timeout=60).content == PHOTO
