"""CPaaS platforms on the staff site, against a simulated carrier: adding, changing and guarding them (J1)."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cpaas.carriers.registry import CARRIERS, get_carrier
from cpaas.models import CpaasPlatform
from cpaas.tests.factories import CREDENTIALS, CpaasNumberFactory, CpaasPlatformFactory
from portal.models import PortalAccount
from portal.tests.admin_walk import browser, url_of
from portal.tests.factories import PortalAccountFactory
from portal.tests.tenants import Tenant, make_tenant
from tests.sandbox_process import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def acme(transactional_db: None) -> Tenant:
    return make_tenant("Acme")


@pytest.fixture
def staff(acme: Tenant) -> Client:
    return browser(acme.administrator)


@pytest.fixture
def platform(acme: Tenant, sandbox: SandboxProcess) -> CpaasPlatform:
    return CpaasPlatformFactory(
        system_provider=acme.system_provider, credentials=sandbox.credentials, options=sandbox.options
    )


def add_url(tenant: Tenant) -> str:
    return reverse("admin:cpaas_cpaasplatform_add_below", args=[tenant.system_provider.pk])


def form_data(sandbox: SandboxProcess, **changes: Any) -> dict[str, Any]:
    data = {"carrier": "inteliquent", "name": "Inteliquent", "user_confirmation_required": "on"}
    data |= {f"inteliquent-{name}": value for name, value in sandbox.credentials.items()}
    data |= {f"option-{name}": value for name, value in sandbox.options.items()}
    return data | changes


def change_data(platform: CpaasPlatform, **changes: Any) -> dict[str, Any]:
    """What the browser sends of an unchanged platform: no secrets, the options that are set."""
    data = {"name": platform.name, "opt_in_prompt": platform.opt_in_prompt, "user_confirmation_required": "on"}
    return data | {f"option-{name}": value for name, value in platform.options.items()} | changes


def account_data(account: PortalAccount, **changes: Any) -> dict[str, Any]:
    data = {
        "username": account.username,
        "email": account.email,
        "level": "system_provider",
        "system_provider": account.system_provider_id,
        "role": "administrator",
        "is_active": "on",
        "send_alerts": "on",
    }
    return {name: value for name, value in (data | changes).items() if value is not None}


def test_j1_without_an_alert_account_there_is_no_button_and_no_way_in(acme: Tenant, staff: Client, sandbox) -> None:
    PortalAccount.objects.update(send_alerts=False)
    shown = staff.get(url_of(acme.system_provider, "detail")).content.decode()
    assert "CPaaS Platforms: none" in shown
    assert "Add CPaaS Platform" not in shown
    assert "no portal account of this system provider has Send Alerts enabled" in shown
    for response in (staff.get(add_url(acme)), staff.post(add_url(acme), form_data(sandbox))):
        assert response.status_code == 409
        assert "Send Alerts" in response.content.decode()
    assert not CpaasPlatform.objects.exists()


def test_r10_alerts_below_the_system_provider_do_not_count(acme: Tenant, staff: Client) -> None:
    PortalAccount.objects.filter(level="system_provider").update(send_alerts=False)
    PortalAccount.objects.filter(level="reseller").update(send_alerts=True)
    assert "Add CPaaS Platform" not in staff.get(url_of(acme.system_provider, "detail")).content.decode()


def test_j1_ticking_send_alerts_brings_the_button(acme: Tenant, staff: Client) -> None:
    PortalAccount.objects.update(send_alerts=False)
    staff.post(url_of(acme.administrator, "change"), account_data(acme.administrator))
    shown = staff.get(url_of(acme.system_provider, "detail")).content.decode()
    assert "Add CPaaS Platform" in shown
    assert "no portal account of this system provider" not in shown


def test_s4_22_wrong_keys_are_reported_and_nothing_is_saved(acme: Tenant, staff: Client, sandbox) -> None:
    response = staff.post(add_url(acme), form_data(sandbox, **{"inteliquent-api_key": "wrong-key-1234"}))
    assert response.status_code == 200
    assert response.context["form"].non_field_errors()
    assert not CpaasPlatform.objects.exists()
    assert "wrong-key-1234" not in response.content.decode()


def test_a_missing_key_is_told_at_its_field(acme: Tenant, staff: Client, sandbox) -> None:
    response = staff.post(add_url(acme), form_data(sandbox, **{"inteliquent-api_secret": ""}))
    assert "API Secret is needed" in str(response.context["form"].errors["inteliquent-api_secret"])


def test_j1_right_keys_make_a_connected_row_with_masked_secrets(acme: Tenant, staff: Client, sandbox) -> None:
    response = staff.post(add_url(acme), form_data(sandbox, mms="on"), follow=True)
    assert response.redirect_chain[-1][0] == url_of(acme.system_provider, "detail")
    shown = response.content.decode()
    assert "Inteliquent · Connected" in shown
    platform = CpaasPlatform.objects.get()
    assert (platform.mms, platform.user_confirmation_required, platform.user_can_block) == (True, True, False)
    for page in ("detail", "change"):
        shown += staff.get(url_of(platform, page)).content.decode()
    assert "••••-key" in shown
    for secret in sandbox.credentials.values():
        assert secret not in shown


def test_the_webhook_address_is_for_administrators_of_the_provider(acme: Tenant, platform, operator) -> None:
    shown = {
        who: browser(account).get(url_of(platform, "detail")).content.decode()
        for who, account in {
            "administrator": acme.administrator,
            "read_only": acme.accounts["system_provider", "read_only"],
            "operator": operator,
        }.items()
    }
    assert [who for who, text in shown.items() if platform.webhook_secret in text] == ["administrator"]


def test_r9_empty_secrets_are_kept_and_the_probe_uses_them(staff: Client, platform, sandbox) -> None:
    assert staff.post(url_of(platform, "change"), change_data(platform, name="Renamed")).status_code == 302
    platform.refresh_from_db()
    assert (platform.name, platform.credentials) == ("Renamed", sandbox.credentials)


def test_an_option_is_set_and_goes_back_to_its_default(staff: Client, platform) -> None:
    staff.post(url_of(platform, "change"), change_data(platform, **{"option-allowed_countries": "us, ca"}))
    platform.refresh_from_db()
    assert platform.options["allowed_countries"] == ["CA", "US"]
    data = change_data(platform, **{"option-allowed_countries": "", "option-per_number_per_minute": "0"})
    response = staff.post(url_of(platform, "change"), data)
    assert "whole number" in str(response.context["form"].errors["option-per_number_per_minute"])
    staff.post(url_of(platform, "change"), data | {"option-per_number_per_minute": ""})
    platform.refresh_from_db()
    assert "allowed_countries" not in platform.options


def test_j1_with_the_carrier_down_a_change_is_refused_and_the_old_values_stay(staff: Client, platform, sandbox) -> None:
    sandbox.carrier(state="refusing")
    response = staff.post(url_of(platform, "change"), change_data(platform, name="Renamed"))
    assert response.status_code == 200
    assert response.context["form"].non_field_errors()
    platform.refresh_from_db()
    assert platform.name != "Renamed"


def test_test_tells_what_the_carrier_said(staff: Client, platform, sandbox) -> None:
    assert "is connected" in staff.post(url_of(platform, "test"), follow=True).content.decode()
    sandbox.carrier(credentials={**sandbox.credentials, "api_key": "changed-at-carrier"})
    shown = staff.post(url_of(platform, "test"), follow=True).content.decode()
    assert "Failed" in shown
    platform.refresh_from_db()
    assert platform.state == "failed"


def test_s4_21_the_last_alert_account_cannot_be_unticked_nor_deleted(acme: Tenant, staff: Client, platform) -> None:
    first = acme.administrator
    response = staff.post(url_of(first, "change"), account_data(first, send_alerts=None))
    assert response.status_code == 200
    assert response.context["form"].non_field_errors()
    second = PortalAccountFactory(scope=acme.system_provider, username="second")
    client = browser(second)
    client.post(url_of(first, "delete"))
    assert PortalAccount.objects.filter(pk=first.pk, send_alerts=True).exists()
    client.post(url_of(second, "change"), account_data(second))
    assert staff.post(url_of(first, "change"), account_data(first, send_alerts=None)).status_code == 302
    first.refresh_from_db()
    assert not first.send_alerts


def test_a_platform_with_numbers_is_not_deleted(acme: Tenant, staff: Client, platform) -> None:
    number = CpaasNumberFactory(user=acme.user, platform=platform)
    assert "still has numbers" in staff.post(url_of(platform, "delete"), follow=True).content.decode()
    number.delete()
    assert "cannot be undone" in staff.get(url_of(platform, "delete")).content.decode()
    assert staff.post(url_of(platform, "delete"))["Location"] == url_of(acme.system_provider, "detail")
    assert not CpaasPlatform.objects.exists()


@pytest.mark.parametrize("page", ["add", "change"])
def test_s4_10_the_form_says_where_each_credential_is_found(
    acme: Tenant, staff: Client, platform: CpaasPlatform, page: str
) -> None:
    """On a platform's own page, and before: with what the adapter says, which is for the carrier's portal."""
    url = add_url(acme) if page == "add" else url_of(platform, "change")
    shown = re.sub(r"\s+", " ", unescape(staff.get(url).content.decode()))
    fields = get_carrier("inteliquent").credential_fields
    assert [field.label for field in fields] == ["API Key", "API Secret", "Outbound API Key", "Inbound API Key"]
    # A generated one that is stored says so instead.
    told = [field for field in fields if page == "add" or not field.generated]
    assert [field.label for field in told if field.help_text not in shown] == []


@pytest.mark.parametrize("carrier", list(CARRIERS))
def test_s4_10_the_form_of_a_new_platform_has_the_chosen_carriers_fields_only(
    acme: Tenant, staff: Client, carrier: str
) -> None:
    form = staff.get(add_url(acme), {"carrier": carrier}).context["form"]
    adapter = get_carrier(carrier)
    secrets = [name for name in form.fields if name.partition("-")[0] in CARRIERS]
    assert secrets == [f"{carrier}-{field.name}" for field in adapter.credential_fields]
    own = {*adapter.default_options, *(switch.name for switch in adapter.switches)}
    assert own <= {name.removeprefix("option-") for name in form.fields}
    assert ("mms" in form.fields) == adapter.supports_mms, "R13"
    assert form["carrier"].value() == carrier


def test_a_carrier_that_nobody_knows_is_not_chosen(acme: Tenant, staff: Client) -> None:
    assert staff.get(add_url(acme), {"carrier": "nobody"}).context["form"].carrier == "inteliquent"
    response = staff.post(add_url(acme), {"carrier": "twilio", "name": "T"})
    assert "Account SID is needed" in str(response.context["form"].errors["twilio-account_sid"])


def test_a_credential_that_is_no_secret_is_shown_where_it_is_changed(acme: Tenant, staff: Client) -> None:
    platform = CpaasPlatformFactory(
        system_provider=acme.system_provider,
        carrier="twilio",
        credentials={"account_sid": "AC-shown", "auth_token": "token-hidden"},
    )
    shown = staff.get(url_of(platform, "change")).content.decode()
    assert 'value="AC-shown"' in shown
    assert "token-hidden" not in shown


def test_a_failed_platform_is_on_the_landing_page(acme: Tenant, staff: Client) -> None:
    CpaasPlatformFactory(
        system_provider=acme.system_provider, credentials=CREDENTIALS, state="failed", state_detail="The key lapsed."
    )
    assert "The key lapsed." in staff.get("/").content.decode()
