"""Steps on the staff site that several journeys share."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from cpaas.carriers.registry import get_carrier
from tests.e2e.world import PASSWORD, Tenant

OPTIONS = {
    "services_url": "Services URL",
    "broker_url": "Message Broker URL",
    "base_url": "Base URL",
    "messaging_url": "Messaging URL",
    "dashboard_url": "Dashboard URL",
}


def log_in(page: Page, account: Any) -> None:
    page.goto("/login/")
    page.get_by_label("Username").fill(account["username"])
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Needs attention")).to_be_visible()
    page.wait_for_load_state()


def fill_platform(page: Page, tenant: Tenant, **wrong: str) -> None:
    """Fill in the form of a new platform that leads to the simulated carrier; `wrong` keys instead of its own."""
    kind = tenant.carrier.kind
    carriers = page.get_by_label("Carrier", exact=True)
    if carriers.input_value() != kind.code:
        # The form of another carrier has other fields.
        with page.expect_navigation():
            carriers.select_option(kind.code)
    page.get_by_role("textbox", name="Name", exact=True).fill(kind.label)
    labels = {field.name: field.label for field in get_carrier(kind.code).credential_fields}
    for name, value in {**kind.credentials, **wrong}.items():
        page.get_by_label(labels[name], exact=True).fill(value)
    options = tenant.carrier.options
    if not page.get_by_label(OPTIONS[next(iter(options))], exact=True).is_visible():
        page.get_by_text("Advanced").click()
    for name, url in options.items():
        page.get_by_label(OPTIONS[name], exact=True).fill(url)


def save(page: Page) -> None:
    """Press the button of the form and wait for the page that answers."""
    with page.expect_navigation():
        page.get_by_role("button", name="Save", exact=True).click()
