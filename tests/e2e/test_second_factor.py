"""Two-step login in a browser: set up, logged in with, turned off; wide, narrow and for a screen reader."""

from __future__ import annotations

import base64

from django_otp.oath import totp
from playwright.sync_api import Page, expect

from tests.e2e.looking import Look
from tests.e2e.staff_site import log_in
from tests.e2e.world import PASSWORD, Tenant

PAGE = "/my-account/second-factor/"


def test_two_step_login_from_set_up_to_turning_off(page: Page, tenant: Tenant) -> None:
    look = Look(page)
    log_in(page, tenant.administrator)
    page.goto("/my-account/")
    page.get_by_role("link", name="Set up").click()
    expect(page.get_by_role("button", name="Set up two-step login")).to_be_visible()
    assert look.wrong() == [], "off"
    page.get_by_role("button", name="Set up two-step login").click()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    assert look.wrong() == [], "set up"
    secret = page.get_by_label("Secret", exact=True).input_value().replace(" ", "")
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_label("Code", exact=True).fill(code_of(secret))
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_text("This is the only time")).to_be_visible()
    codes = page.locator(".p-codes code").all_inner_texts()
    assert look.wrong() == [], "recovery codes"
    page.get_by_role("link", name="I have kept them").click()
    expect(page.get_by_text("Recovery codes left")).to_be_visible()
    assert look.wrong() == [], "on"

    page.context.clear_cookies()
    page.goto("/login/")
    page.get_by_label("Username").fill(tenant.administrator["username"])
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_label("Code", exact=True)).to_be_visible()
    assert look.wrong() == [], "login"
    page.get_by_label("Code", exact=True).fill("000000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("This code is wrong")
    assert look.wrong() == [], "login refused"
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
