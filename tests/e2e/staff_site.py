"""Steps on the staff site that several journeys share."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.world import KEYS, PASSWORD, Tenant


def log_in(page: Page, account: Any) -> None:
    page.goto("/login/")
    page.get_by_label("Username").fill(account["username"])
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()
    page.wait_for_load_state()


def fill_platform(page: Page, tenant: Tenant, **keys: str) -> None:
    """Fill in the form of a new platform that leads to the sandbox."""
    given = KEYS | keys
    page.get_by_label("API Key", exact=True).fill(given["api_key"])
    page.get_by_label("API Secret", exact=True).fill(given["api_secret"])
    page.get_by_label("Outbound API Key", exact=True).fill(given["outbound_api_key"])
    advanced = page.get_by_label("Services URL")
    if not advanced.is_visible():
        page.get_by_text("Advanced").click()
    advanced.fill(tenant.carrier.options["services_url"])
    page.get_by_label("Message Broker URL").fill(tenant.carrier.options["broker_url"])


def save(page: Page) -> None:
    """Press the button of the form and wait for the page that answers."""
    with page.expect_navigation():
        page.get_by_role("button", name="Save", exact=True).click()
