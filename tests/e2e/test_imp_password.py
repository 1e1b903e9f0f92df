"""The IM&P password of a user, in a browser."""

from __future__ import annotations

from playwright.sync_api import Dialog, Page, expect

from tests.e2e.staff_site import log_in
from tests.e2e.world import Tenant


def test_a_password_that_is_not_saved_is_lost_only_after_a_question(page: Page, tenant: Tenant) -> None:
    """S0.14: whoever leaves is asked first; staying keeps what was typed, leaving loses it; saving asks nothing."""
    tenant.staff.patch(
        f"system-providers/{tenant.provider['id']}/", {"branding": {"auto_generate_xmpp_password": False}}
    )
    on = {"integrated_imp": {"assigned": True, "enabled": True}}
    tenant.staff.patch(f"users/{tenant.user['id']}/", on)
    log_in(page, tenant.administrator)
    page.goto(f"/users/{tenant.user['id']}/")
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.once("dialog", stay)
    page.get_by_label("IM&P Password", exact=True).fill("never saved at all")
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_label("IM&P Password", exact=True)).to_have_value("never saved at all")
    assert asked == ["beforeunload"]
    page.get_by_label("Re-type IM&P Password").fill("never saved at all")
    page.locator("form[data-unsaved]").get_by_role("button", name="Save").click()
    expect(page.get_by_text("was saved")).to_be_visible()
    page.get_by_role("link", name="Overview").click()
    expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()
    assert asked == ["beforeunload"]
