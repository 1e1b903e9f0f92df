"""J1: the administrator of a system provider adds the first platform, in a browser."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.e2e.conftest import TenantMaker, every_carrier
from tests.e2e.staff_site import fill_platform, log_in, save
from tests.e2e.world import Tenant

ADD = "Add CPaaS Platform"


@every_carrier
def test_j1_first_platform_s4_9_s4_20_s4_22_r27(page: Page, make_tenant: TenantMaker) -> None:
    tenant = make_tenant(alerts=False)
    kind = tenant.carrier.kind
    home = f"/system-providers/{tenant.provider['id']}/"

    # 1 Profile page: no platform. 2 Nobody gets alerts: a text says so, and there is no button at all.
    log_in(page, tenant.administrator)
    page.goto(home)
    expect(page.get_by_text("CPaaS Platforms: none")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("no portal account of this system provider has Send Alerts")
    assert ADD not in page.content()

    # 3 Tick Send Alerts on the own account: the button is there.
    page.goto(f"/portal-accounts/{tenant.administrator['id']}/change/")
    page.get_by_label("Send Alerts").check()
    save(page)
    page.goto(home)
    page.get_by_role("button", name=ADD).click()

    # 4 A wrong key: the carrier's no is shown and nothing is saved.
    fill_platform(page, tenant, **{kind.secrets[0]: "wrong-key"})
    save(page)
    expect(page.get_by_text(f"{kind.label} did not accept").first).to_be_visible()
    assert tenant.staff.get("platforms/")["results"] == []

    # 5 The right keys: connected, with the secret masked.
    fill_platform(page, tenant)
    save(page)
    expect(page.get_by_role("link", name=f"{kind.label} · Connected")).to_be_visible()
    expect(page.get_by_text(kind.shown_secret).first).to_be_visible()
    assert not [secret for secret in kind.secret_values if secret in page.content()]
    assert len(tenant.staff.get("platforms/")["results"]) == 1


def test_j1_the_last_alert_account_stays_s4_21_r10(page: Page, tenant: Tenant) -> None:
    tenant.platform()
    first = tenant.administrator
    second = tenant.account("system_provider", tenant.provider["id"])

    # 6 The only one who gets alerts cannot untick it …
    log_in(page, first)
    page.goto(f"/portal-accounts/{first['id']}/change/")
    page.get_by_label("Send Alerts").uncheck()
    save(page)
    expect(page.get_by_text("must have Send Alerts enabled").first).to_be_visible()
    # … nor can somebody else delete that account.
    second_api = tenant.staff_api(second["username"])
    refused = second_api.call("DELETE", f"portal-accounts/{first['id']}/")
    assert (refused.status_code, refused.json()["code"]) == (409, "last_alert_account")

    # With a second account that gets alerts the first may go without.
    page.goto(f"/portal-accounts/{second['id']}/change/")
    page.get_by_label("Send Alerts").check()
    save(page)
    page.goto(f"/portal-accounts/{first['id']}/change/")
    page.get_by_label("Send Alerts").uncheck()
    save(page)
    page.goto(f"/portal-accounts/{first['id']}/change/")
    expect(page.get_by_label("Send Alerts")).not_to_be_checked()


def test_j1_a_carrier_that_is_away_keeps_the_old_values_s4_22(page: Page, tenant: Tenant) -> None:
    platform = tenant.platform()
    log_in(page, tenant.administrator)
    page.goto(f"/platforms/{platform['id']}/change/")
    # 7 The carrier is down: the edit is refused.
    tenant.carrier.set(state="refusing")
    page.get_by_role("textbox", name="Name").fill("Renamed meanwhile")
    save(page)
    expect(page.get_by_text("could not be reached").first).to_be_visible()
    assert tenant.staff.get(f"platforms/{platform['id']}/")["name"] == "Inteliquent"
    tenant.carrier.set(state="up")
    save(page)
    expect(page.get_by_role("heading", name="Renamed meanwhile")).to_be_visible()
