"""What holds for the whole staff site: keyboard, menus, the viewer's time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from playwright.sync_api import Page, expect

from tests.e2e.conftest import TenantMaker
from tests.e2e.staff_site import log_in
from tests.e2e.world import PASSWORD, Tenant


def press_until(page: Page, name: str, icon: str = "") -> None:
    """Tab on until the focus is on what is called `name`, as somebody without a mouse does. `icon` stands before it."""
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "() => { const e = document.activeElement; return e.labels && e.labels.length"
            " ? e.labels[0].innerText : e.innerText || '' }"
        )
        if focused.strip().removeprefix(icon).removesuffix("*").strip() == name:
            return
    raise AssertionError(f"the keyboard does not reach {name}")


def test_a_number_is_added_with_the_keyboard_alone(page: Page, tenant: Tenant) -> None:
    tenant.platform()
    tn = tenant.carrier.new_number()
    page.goto("/login/")
    press_until(page, "Username")
    page.keyboard.type(tenant.administrator["username"])
    press_until(page, "Password")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()

    page.goto(f"/users/{tenant.user['id']}/")
    press_until(page, "Add CPaaS Number", icon="add")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Add CPaaS Number")).to_be_visible()
    press_until(page, "Number")
    page.keyboard.type(tn[2:])
    press_until(page, "Save")
    page.keyboard.press("Enter")
    expect(page.locator("tr[data-row]")).to_contain_text(tn[2:])


def test_menus_colours_and_choices_work_without_inline_code(page: Page, tenant: Tenant) -> None:
    log_in(page, tenant.administrator)
    account = page.get_by_role("button", name="Your account")
    account.click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_class("dark")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Log out")).to_be_hidden()
    expect(account).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type(tenant.user["name"])
    page.keyboard.press("Enter")
    page.get_by_role("main").get_by_role("link", name=tenant.user["name"]).click()
    expect(page.get_by_role("heading", name=tenant.user["name"], level=1)).to_be_visible()

    page.goto("/users/add/")
    expect(page.locator("html")).to_have_class("dark")
    page.get_by_role("combobox", name="Group").click()
    expect(page.locator(".select2-results__option").first).to_be_visible()

    page.set_viewport_size({"width": 360, "height": 740})
    page.goto("/")
    page.get_by_role("button", name="Show the menu").click()
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Users").click()
    expect(page.get_by_role("heading", name="Users", level=1)).to_be_visible()
    page.goto("/api/v1/docs/")
    expect(page.get_by_role("heading", name="Partner Portal API")).to_be_visible()


def test_times_are_shown_in_the_viewers_zone_r28(page: Page, make_tenant: TenantMaker) -> None:
    tenant = make_tenant(zone="Europe/London")
    tenant.platform()
    number = tenant.number()
    at = datetime.fromisoformat(number["opt_in"]["at"])
    tenant.staff.patch(f"portal-accounts/{tenant.administrator['id']}/", {"time_zone": "Europe/Berlin"})
    log_in(page, tenant.administrator)
    page.goto(f"/numbers/{number['id']}/")
    berlin = at.astimezone(ZoneInfo("Europe/Berlin"))
    expect(page.get_by_text(f"Accepted at {berlin:%d/%m/%Y %H:%M:%S}").first).to_be_visible()
    # Without a zone of one's own: the system provider's.
    tenant.staff.patch(f"portal-accounts/{tenant.administrator['id']}/", {"time_zone": ""})
    page.reload()
    london = at.astimezone(ZoneInfo("Europe/London"))
    expect(page.get_by_text(f"Accepted at {london:%d/%m/%Y %H:%M:%S}").first).to_be_visible()
