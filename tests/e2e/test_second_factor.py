"""Two-step login in a browser: set up, logged in with, turned off; wide, narrow and for a screen reader."""

from __future__ import annotations

import base64

from axe_playwright_python.sync_playwright import Axe
from django_otp.oath import totp
from playwright.sync_api import Page, expect

from tests.e2e.staff_site import log_in
from tests.e2e.world import PASSWORD, Tenant

PAGE = "/my-account/second-factor/"


def check(page: Page, name: str) -> None:
    """What holds of every page: clean for axe, and no wider than a telephone."""
    violations = Axe().run(page).response["violations"]
    assert not violations, (name, [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in violations])
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
    page.set_viewport_size({"width": 1280, "height": 900})


def test_two_step_login_from_set_up_to_turning_off(page: Page, tenant: Tenant) -> None:
    log_in(page, tenant.administrator)
    page.goto("/my-account/")
    page.get_by_role("link", name="Set up").click()
    check(page, "off")
    page.get_by_role("button", name="Set up two-step login").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    check(page, "set up")
    secret = page.get_by_label("Secret", exact=True).input_value().replace(" ", "")
    page.get_by_label("Code", exact=True).fill(code_of(secret))
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_text("This is the only time")).to_be_visible()
    codes = page.locator(".p-codes code").all_inner_texts()
    check(page, "recovery codes")
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("Recovery codes left")).to_be_visible()
    check(page, "on")

    page.context.clear_cookies()
    page.goto("/login/")
    page.get_by_label("Username").fill(tenant.administrator["username"])
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Code", exact=True)).to_be_visible()
    check(page, "login")
    page.get_by_label("Code", exact=True).fill("000000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This code is wrong")
    check(page, "login refused")
    page.get_by_label("Code", exact=True).fill(codes[0])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()

    page.goto(PAGE)
    off = page.locator("form", has=page.get_by_role("button", name="Turn off two-step login"))
    off.get_by_label("Present password").fill(PASSWORD)
    off.get_by_label("Code", exact=False).fill(codes[1])
    off.get_by_role("button").click()
    expect(page.get_by_text("Two-step login was turned off.")).to_be_visible()


def code_of(secret: str) -> str:
    """What an authenticator app shows."""
    return f"{totp(base64.b32decode(secret)):06d}"
