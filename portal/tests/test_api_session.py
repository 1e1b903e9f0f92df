"""Login, devices, session and settings of end users (contracts section 4)."""

from __future__ import annotations

import pytest

from portal.models import Device
from portal.services import users
from portal.tests.factories import PASSWORD, device_token
from portal.tests.tenants import Tenant
from portal.tests.test_api_conventions import problem

pytestmark = pytest.mark.core
BASE = "/api/v1/"


def login(api, **changes):
    body = {"login": "user@acme.example", "password": PASSWORD, "device": "Desktop at home", **changes}
    return api(None).post(f"{BASE}login/", body)


class TestLogin:
    def test_a_token_for_login_and_password(self, api, tenant: Tenant):
        response = login(api)
        assert response.status_code == 200
        body = response.json()
        assert set(body) == {"token", "expires_at", "user"}
        assert body["user"]["login"] == tenant.user.login
        devices = api(body["token"]).get(f"{BASE}devices/").json()["results"]
        assert [(row["name"], row["current"]) for row in devices] == [("Desktop at home", True), ("desktop", False)]
        assert set(devices[0]) == {"id", "name", "created_at", "last_used_at", "current"}

    @pytest.mark.parametrize("wrong", [{"login": "nobody"}, {"password": "x"}, {"login": "colleague@zenith.example"}])
    def test_bad_credentials(self, api, tenant: Tenant, wrong):
        problem(login(api, **wrong), 401, "bad_credentials")

    def test_an_inactive_user(self, api, tenant: Tenant):
        users.update_user(actor=None, user=tenant.user, changes={"is_active": False})
        problem(login(api), 401, "bad_credentials")

    def test_missing_fields_are_named(self, api, db):
        response = api(None).post(f"{BASE}login/", {})
        assert set(problem(response, 400, "invalid")["errors"]) == {"login", "password", "device"}

    @pytest.mark.usefixtures("within_a_minute")
    def test_throttled_per_login(self, api, tenant: Tenant, settings):
        settings.LOGIN_ATTEMPTS_PER_MINUTE = 2
        for _ in range(5):
            last = login(api, password="x")
        problem(last, 429, "rate_limited")
        assert "Retry-After" in last

    def test_logout(self, api, tenant: Tenant):
        client = api(tenant.device_token)
        assert client.post(f"{BASE}logout/").status_code == 204
        problem(client.get(f"{BASE}session/"), 401, "unauthenticated")


class TestDevices:
    def test_another_device_is_ended(self, api, tenant: Tenant):
        other = device_token(tenant.user, name="phone")
        device = Device.objects.get(user=tenant.user, name="phone")
        assert api(tenant.device_token).delete(f"{BASE}devices/{device.pk}/").status_code == 204
        problem(api(other).get(f"{BASE}session/"), 401, "unauthenticated")

    def test_a_strangers_device_is_not_there(self, api, two_tenants):
        acme, zenith = two_tenants
        device = zenith.user.devices.get()
        problem(api(acme.device_token).delete(f"{BASE}devices/{device.pk}/"), 404, "not_found")
        colleague = acme.colleague.devices.get()
        problem(api(acme.device_token).delete(f"{BASE}devices/{colleague.pk}/"), 404, "not_found")

    def test_use_prolongs_a_token(self, api, tenant: Tenant):
        Device.objects.filter(user=tenant.user).update(last_used_at="2026-01-01T00:00:00Z")
        before = tenant.user.devices.get().expires_at
        api(tenant.device_token).get(f"{BASE}session/")
        assert tenant.user.devices.get().expires_at > before


class TestSession:
    def test_what_a_client_needs_at_start(self, api, tenant: Tenant):
        session = api(tenant.device_token).get(f"{BASE}session/").json()
        assert set(session) >= {"user", "licence", "features", "settings", "numbers", "new", "cursor"}
        assert set(session["features"]) == {"sms", "xmpp", "unique_account", "contact_centre"}
        assert session["new"] == {"conversations": 0, "messages": 0, "missed_calls": 0}
        assert session["licence"] == "desktop"
        assert (session["numbers"], session["cursor"]) == ([], 0)
        assert session["settings"] == api(tenant.device_token).get(f"{BASE}settings/").json()

    def test_the_cursor_counts_events(self, api, tenant: Tenant):
        users.update_settings(user=tenant.user, changes={"sms_docked": False})
        assert api(tenant.device_token).get(f"{BASE}session/").json()["cursor"] == 1


class TestSettings:
    def test_defaults(self, api, tenant: Tenant):
        assert api(tenant.device_token).get(f"{BASE}settings/").json() == {
            "allow_any_number": True,
            "default_country": "US",
            "country_code": "+1",
            "exclude_leading_zero": True,
            "sms_docked": True,
            "im_docked": True,
            "sms_alert_audio": True,
            "sms_alert_visual": True,
            "im_alert_audio": True,
            "im_alert_visual": True,
            "auto_subscribe_xmpp": False,
            "auto_accept_xmpp": False,
            "im_priority": "both",
            "call_waiting": True,
        }

    def test_a_country_brings_its_code(self, api, tenant: Tenant):
        changed = api(tenant.device_token).patch(f"{BASE}settings/", {"default_country": "GB"})
        assert (changed.status_code, changed.json()["country_code"]) == (200, "+44")

    def test_s1_15_it_follows_the_profile_until_another_one_was_chosen(self, api, tenant: Tenant):
        client = api(tenant.device_token)
        users.update_user(actor=None, user=tenant.user, changes={"country": "DE"})
        assert client.get(f"{BASE}settings/").json()["country_code"] == "+49"
        client.patch(f"{BASE}settings/", {"default_country": "FR"})
        users.update_user(actor=None, user=tenant.user, changes={"country": "IT"})
        assert client.get(f"{BASE}settings/").json()["default_country"] == "FR"

    @pytest.mark.parametrize(
        ("name", "value"),
        [("country_code", "+44"), ("colour", "red"), ("im_priority", "sometimes"), ("default_country", "XX"),
         ("sms_docked", "yes"), ("user", "x")],
    )  # fmt: skip
    def test_what_is_wrong_is_named(self, api, tenant: Tenant, name, value):
        response = api(tenant.device_token).patch(f"{BASE}settings/", {name: value})
        assert list(problem(response, 400, "invalid")["errors"]) == [name]
