"""J2: a number is assigned to a user, in a browser."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.e2e.conftest import TenantMaker, every_carrier
from tests.e2e.staff_site import log_in, save
from tests.e2e.world import Tenant

NOT_ON_ACCOUNT = (
    "This number is not assigned to this {carrier} account, please check the number and try again or check with "
    "the {carrier} customer portal for more information"
)
NOTICE = "Please note it may take several minutes before this number is provisioned in {carrier}"


def national(tn: str) -> str:
    """As staff type it: `(201) 992-0789`."""
    return f"({tn[2:5]}) {tn[5:8]}-{tn[8:]}"


@every_carrier
def test_j2_number_to_a_user_s4_23_to_s4_31(page: Page, tenant: Tenant) -> None:
    kind, tn = tenant.carrier.kind, tenant.carrier.new_number()
    home = f"/users/{tenant.user['id']}/"
    log_in(page, tenant.administrator)

    # S4.23: without a platform there is no button.
    page.goto(home)
    expect(page.get_by_role("button", name="Add CPaaS Number")).to_have_count(0)
    platform = tenant.platform()

    # 1 User profile, Add CPaaS Number. 2 A number the carrier does not have: the exact text, nothing saved.
    page.goto(home)
    page.get_by_role("button", name="Add CPaaS Number").click()
    expect(page.get_by_text(NOTICE.format(carrier=kind.label))).to_be_visible()
    page.get_by_role("textbox", name="Number").fill("(201) 992-0789")
    save(page)
    expect(page.get_by_text(NOT_ON_ACCOUNT.format(carrier=kind.label)).first).to_be_visible()
    assert tenant.staff.get("numbers/")["results"] == []

    # 5 MMS: Default and Off only while the platform's is off (R12); it cannot be on where the carrier has none (R13).
    expect(page.get_by_label("MMS").locator("option")).to_have_text(["Default", "Off"])
    answer = tenant.staff.call("PATCH", f"platforms/{platform['id']}/", {"mms": True})
    assert answer.status_code == (200 if kind.has_mms else 400)
    page.goto(home)
    page.get_by_role("button", name="Add CPaaS Number").click()
    choices = ["Default", "On", "Off"] if kind.has_mms else ["Default", "Off"]
    expect(page.get_by_label("MMS").locator("option")).to_have_text(choices)

    # 3 One that exists: Provisioning, then Enabled, without a reload (R29); named like the number (S4.25).
    page.get_by_role("textbox", name="Number").fill(national(tn))
    busy = tenant.carrier.fault("hook", "status", status=503)
    save(page)
    row = page.locator("tr[data-row]")
    expect(row).to_contain_text("Provisioning")
    page.evaluate("window.notReloaded = true")
    tenant.carrier.mend(busy)
    expect(row).to_contain_text("Enabled")
    assert page.evaluate("window.notReloaded")
    expect(row.get_by_role("cell").nth(1)).to_have_text(tn[2:])
    expect(row).to_contain_text("MMS & SMS" if kind.has_mms else "SMS")

    # 4 The carrier has a hook that leads to us, for a TN with a leading 1 (S4.31, S4.32) or for all of the account's.
    [hook] = tenant.carrier.hooks(tn)
    assert hook["url"].startswith(f"{tenant.url}/webhooks/{kind.code}/{platform['id']}/")


def test_j2_a_number_is_used_once_over_all_tenants_s4_41(page: Page, make_tenant: TenantMaker) -> None:
    owner, stranger = make_tenant(), make_tenant()
    owner.platform()
    stranger.platform()
    number = owner.number(answer="")

    # 6 Refused, without a word of whose it is.
    log_in(page, stranger.administrator)
    page.goto(f"/users/{stranger.user['id']}/")
    page.get_by_role("button", name="Add CPaaS Number").click()
    page.get_by_role("textbox", name="Number").fill(number["national"])
    save(page)
    expect(page.get_by_text("This number is not available.").first).to_be_visible()
    assert owner.mark not in page.content()
    assert page.goto(f"/numbers/{number['id']}/").status == 404  # type: ignore[union-attr]


def test_j2_the_tab_lists_what_is_below_s4_34(page: Page, tenant: Tenant) -> None:
    tenant.platform()
    number = tenant.number(answer="", friendly_name="Front Desk")
    other = tenant.operator.post(
        "resellers/", {"system_provider": tenant.provider["id"], "name": f"{tenant.mark} Others"}
    )
    neighbour = tenant.account("reseller", other["id"])
    shown = f"Front Desk ({number['national']})"

    # 7 Group, reseller and system provider list it; another reseller's administrator does not see it.
    log_in(page, tenant.administrator)
    for level, row in (("groups", tenant.group), ("resellers", tenant.reseller), ("system-providers", tenant.provider)):
        page.goto(f"/{level}/{row['id']}/")
        page.get_by_role("tab", name="CPaaS Numbers").click()
        expect(page.get_by_role("link", name=shown)).to_be_visible()
    # S4.35: from the number to who has it.
    page.get_by_role("link", name=shown).click()
    page.get_by_role("link", name=f"{tenant.mark} Ann").first.click()
    expect(page.get_by_role("heading", name=f"{tenant.mark} Ann")).to_be_visible()

    page.context.clear_cookies()
    log_in(page, neighbour)
    page.goto(f"/resellers/{other['id']}/numbers/")
    assert shown not in page.content()
    assert page.goto(f"/numbers/{number['id']}/").status == 404  # type: ignore[union-attr]
    assert page.goto(f"/resellers/{tenant.reseller['id']}/numbers/").status == 404  # type: ignore[union-attr]
