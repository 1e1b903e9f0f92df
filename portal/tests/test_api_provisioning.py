"""Provisioning of tenants, users, accounts and tokens over REST (contracts section 2)."""

from __future__ import annotations

import pytest

from portal.models import AuditEntry, EndUser, PortalAccount, StaffToken
from portal.tests.factories import PASSWORD, PortalAccountFactory
from portal.tests.tenants import LEVELS, Tenant
from portal.tests.test_api_conventions import problem

BASE = "/api/v1/provisioning/"
COLLECTIONS = ["system-providers", "resellers", "groups", "users", "portal-accounts"]


def row_of(tenant: Tenant, collection: str) -> str:
    rows = {
        "system-providers": tenant.system_provider,
        "resellers": tenant.reseller,
        "groups": tenant.group,
        "users": tenant.user,
        "portal-accounts": tenant.accounts["group", "read_only"],
    }
    return str(rows[collection].pk)


class TestIsolation:
    @pytest.mark.parametrize("level", LEVELS)
    def test_each_level_sees_itself_and_below(self, api, tenant: Tenant, level):
        client = api(tenant.staff_tokens[level, "administrator"])
        groups = {row["name"] for row in client.get(f"{BASE}groups/").json()["results"]}
        both = {tenant.group.name, tenant.other_group.name}
        assert groups == (both if level == "system_provider" else {tenant.group.name})
        providers = client.get(f"{BASE}system-providers/").json()["results"]
        assert len(providers) == (level == "system_provider")

    def test_an_operator_sees_all(self, api, two_tenants, operator):
        names = [row["name"] for row in api(operator).get(f"{BASE}system-providers/").json()["results"]]
        assert names == ["Zenith Telecom", "Acme Telecom"]

    @pytest.mark.parametrize(
        ("collection", "field", "foreign"),
        [("resellers", "system_provider", "system-providers"), ("groups", "reseller", "resellers"),
         ("users", "group", "groups"), ("portal-accounts", "scope", "groups")],
    )  # fmt: skip
    def test_a_post_with_a_strangers_id_is_404(self, api, two_tenants, collection, field, foreign):
        acme, zenith = two_tenants
        body = {"name": "x", field: row_of(zenith, foreign)}
        if collection == "users":
            body["login"] = "new@example.com"
        if collection == "portal-accounts":
            body |= {"level": "group", "username": "new", "email": "n@example.com", "password": PASSWORD}
        response = api(acme.token).post(f"{BASE}{collection}/", body)
        problem(response, 404, "not_found")
        assert "zenith" not in response.content.decode().lower()

    def test_a_list_of_ids_with_a_strangers_is_404(self, api, two_tenants):
        acme, zenith = two_tenants
        body = {"monitored": [str(acme.colleague.pk), str(zenith.user.pk)]}
        problem(api(acme.token).patch(f"{BASE}users/{acme.user.pk}/", body), 404, "not_found")


class TestRoles:
    @pytest.mark.parametrize("collection", COLLECTIONS)
    def test_who_may_only_read_may_not_write_their_own_rows(self, api, tenant: Tenant, collection):
        client = api(tenant.staff_tokens["system_provider", "read_only"])
        path = f"{BASE}{collection}/"
        own = f"{path}{row_of(tenant, collection)}/"
        assert client.get(own).status_code == 200
        for response in (client.post(path, {}), client.patch(own, {"name": "x"}), client.delete(own)):
            problem(response, 403, "read_only")

    def test_nobody_gives_a_level_above_their_own(self, api, tenant: Tenant):
        body = {"username": "boss", "email": "b@example.com", "level": "operator", "password": PASSWORD}
        problem(api(tenant.token).post(f"{BASE}portal-accounts/", body), 403, "not_allowed")

    def test_r42_only_the_system_provider_links_groups_into_an_enterprise(self, api, tenant: Tenant):
        path = f"{BASE}groups/{tenant.group.pk}/"
        for level in ("reseller", "group"):
            client = api(tenant.staff_tokens[level, "administrator"])
            problem(client.patch(path, {"enterprise": "Holding"}), 403, "not_allowed")
            assert client.patch(path, {"name": "Still ours", "enterprise": ""}).status_code == 200
        body = {"reseller": str(tenant.reseller.pk), "name": "New", "enterprise": "Holding"}
        reseller = api(tenant.staff_tokens["reseller", "administrator"])
        problem(reseller.post(f"{BASE}groups/", body), 403, "not_allowed")
        assert api(tenant.token).patch(path, {"enterprise": "Holding"}).json()["enterprise"] == "Holding"

    def test_only_operators_add_system_providers(self, api, tenant: Tenant):
        problem(api(tenant.token).post(f"{BASE}system-providers/", {"name": "x"}), 403, "not_allowed")


class TestTenantTree:
    def test_a_whole_tenant_from_nothing(self, api, operator):
        client = api(operator)
        provider = client.post(f"{BASE}system-providers/", {"name": "Nova", "time_zone": "Europe/Berlin"}).json()
        assert provider["branding"] == {"auto_generate_xmpp_password": True}
        assert provider["default_country"] == "US"
        reseller = client.post(f"{BASE}resellers/", {"name": "R", "system_provider": provider["id"]}).json()
        group = client.post(f"{BASE}groups/", {"name": "G", "reseller": reseller["id"]}).json()
        assert (reseller["system_provider"], group["reseller"]) == (provider["id"], reseller["id"])
        assert group["enterprise"] == ""
        user = {"login": "ann@nova.example", "name": "Ann", "group": group["id"], "password": PASSWORD}
        response = client.post(f"{BASE}users/", user)
        assert response.status_code == 201
        made = response.json()
        assert "password" not in made
        assert (made["licence"], made["mailbox"], made["ring_seconds"], made["monitored"]) == ("desktop", True, 20, [])
        for path in (f"users/{made['id']}/", f"groups/{group['id']}/", f"resellers/{reseller['id']}/"):
            assert client.delete(BASE + path).status_code == 204
            problem(client.get(BASE + path), 404, "not_found")

    def test_patch_merges_branding_and_null_is_the_default(self, api, tenant: Tenant):
        client, path = api(tenant.token), f"{BASE}system-providers/{tenant.system_provider.pk}/"
        off = client.patch(path, {"branding": {"auto_generate_xmpp_password": False}})
        assert (off.status_code, off.json()["branding"]) == (200, {"auto_generate_xmpp_password": False})
        assert client.patch(path, {"branding": {}}).json()["branding"] == {"auto_generate_xmpp_password": False}
        back = client.patch(path, {"branding": {"auto_generate_xmpp_password": None}})
        assert back.json()["branding"] == {"auto_generate_xmpp_password": True}

    def test_unknown_branding_is_named(self, api, tenant: Tenant):
        response = api(tenant.token).patch(
            f"{BASE}system-providers/{tenant.system_provider.pk}/", {"branding": {"logo": "x"}}
        )
        assert list(problem(response, 400, "invalid")["errors"]) == ["branding.logo"]

    def test_what_is_in_use_is_kept(self, api, tenant: Tenant):
        body = problem(api(tenant.token).delete(f"{BASE}groups/{tenant.group.pk}/"), 409, "in_use")
        assert "Acme user" in body["detail"]

    def test_filters(self, api, tenant: Tenant):
        client = api(tenant.token)
        found = client.get(f"{BASE}users/", {"group": str(tenant.other_group.pk)}).json()["results"]
        assert [row["id"] for row in found] == [str(tenant.other_user.pk)]
        found = client.get(f"{BASE}users/", {"login": tenant.user.login}).json()["results"]
        assert [row["id"] for row in found] == [str(tenant.user.pk)]
        problem(client.get(f"{BASE}users/", {"group": "x"}), 400, "invalid")


class TestUsers:
    def test_patch_changes_only_what_is_given(self, api, tenant: Tenant):
        path = f"{BASE}users/{tenant.user.pk}/"
        changed = api(tenant.token).patch(path, {"mobile": "201 992 0789", "monitored": [str(tenant.colleague.pk)]})
        assert changed.status_code == 200
        assert (changed.json()["mobile"], changed.json()["name"]) == ("+12019920789", tenant.user.name)
        assert changed.json()["monitored"] == [str(tenant.colleague.pk)]
        assert api(tenant.token).get(path).json() == changed.json()

    def test_a_login_is_unique_over_all_tenants(self, api, two_tenants):
        acme, zenith = two_tenants
        response = api(acme.token).patch(f"{BASE}users/{acme.user.pk}/", {"login": zenith.user.login})
        assert list(problem(response, 400, "invalid")["errors"]) == ["login"]

    @pytest.mark.parametrize("change", [{"password": "another long one"}, {"is_active": False}])
    def test_a_new_password_or_deactivation_ends_the_tokens(self, api, tenant: Tenant, change):
        assert api(tenant.token).patch(f"{BASE}users/{tenant.user.pk}/", change).status_code == 200
        problem(api(tenant.device_token).get("/api/v1/session/"), 401, "unauthenticated")


class TestAccounts:
    def test_an_account_of_each_level(self, api, tenant: Tenant):
        scopes = {
            "system_provider": tenant.system_provider,
            "reseller": tenant.reseller,
            "group": tenant.group,
        }
        for level, scope in scopes.items():
            body = {"username": f"new-{level}", "email": "n@example.com", "level": level, "scope": str(scope.pk)}
            response = api(tenant.token).post(f"{BASE}portal-accounts/", {**body, "password": PASSWORD})
            assert response.status_code == 201, response.json()
            made = response.json()
            assert {name: made[name] for name in body} == body
            assert (made["role"], made["send_alerts"], made["is_active"]) == ("administrator", False, True)
            assert "password" not in made

    def test_moving_an_account(self, api, tenant: Tenant):
        account = tenant.accounts["group", "read_only"]
        path = f"{BASE}portal-accounts/{account.pk}/"
        moved = api(tenant.token).patch(path, {"scope": str(tenant.other_group.pk)}).json()
        assert (moved["level"], moved["scope"]) == ("group", str(tenant.other_group.pk))
        problem(api(tenant.token).patch(path, {"level": "reseller"}), 400, "invalid")
        body = {"level": "reseller", "scope": str(tenant.reseller.pk)}
        assert api(tenant.token).patch(path, body).json()["level"] == "reseller"

    def test_me(self, api, tenant: Tenant, operator):
        me = api(tenant.staff_tokens["reseller", "read_only"]).get(f"{BASE}me/").json()
        assert (me["level"], me["scope"], me["role"]) == ("reseller", str(tenant.reseller.pk), "read_only")
        assert me["account"]["username"] == "acme-reseller-read_only"
        assert api(operator).get(f"{BASE}me/").json()["scope"] is None

    def test_a_new_password_ends_the_tokens(self, api, tenant: Tenant):
        account = tenant.accounts["group", "administrator"]
        path = f"{BASE}portal-accounts/{account.pk}/"
        assert api(tenant.token).patch(path, {"password": "another long one"}).status_code == 200
        problem(api(tenant.staff_tokens["group", "administrator"]).get(f"{BASE}me/"), 401, "unauthenticated")


class TestTokens:
    def credentials(self, account: PortalAccount, **more) -> dict:
        return {"username": account.username, "password": PASSWORD, "name": "script", **more}

    def test_a_token_is_made_used_listed_and_ended(self, api, tenant: Tenant):
        made = api(None).post(f"{BASE}tokens/", self.credentials(tenant.administrator, expires_in_days=30))
        assert made.status_code == 201
        assert set(made.json()) == {"id", "name", "token", "expires_at"}
        client = api(made.json()["token"])
        listed = client.get(f"{BASE}tokens/").json()["results"]
        assert set(listed[0]) == {"id", "name", "created_at", "last_used_at", "expires_at"}
        assert listed[0]["id"] == made.json()["id"]
        assert listed[0]["last_used_at"] is not None
        assert StaffToken.objects.get(pk=made.json()["id"]).digest not in str(listed)
        assert client.delete(f"{BASE}tokens/{made.json()['id']}/").status_code == 204
        problem(client.get(f"{BASE}me/"), 401, "unauthenticated")

    def test_wrong_credentials(self, api, tenant: Tenant):
        for wrong in ({"password": "wrong"}, {"username": "nobody"}):
            response = api(None).post(f"{BASE}tokens/", {**self.credentials(tenant.administrator), **wrong})
            problem(response, 401, "bad_credentials")

    @pytest.mark.parametrize("days", [0, 366, -1, "30"])
    def test_days_out_of_range(self, api, tenant: Tenant, days):
        response = api(None).post(f"{BASE}tokens/", self.credentials(tenant.administrator, expires_in_days=days))
        assert list(problem(response, 400, "invalid")["errors"]) == ["expires_in_days"]

    @pytest.mark.usefixtures("within_a_minute")
    def test_too_many_attempts(self, api, tenant: Tenant, settings):
        settings.LOGIN_ATTEMPTS_PER_MINUTE = 2
        wrong = {**self.credentials(tenant.administrator), "password": "wrong"}
        statuses = [api(None).post(f"{BASE}tokens/", wrong).status_code for _ in range(5)]
        assert statuses[:2] == [401, 401]
        response = api(None).post(f"{BASE}tokens/", wrong)
        problem(response, 429, "rate_limited")
        assert 1 <= int(response["Retry-After"]) <= 60

    def test_own_tokens_only(self, api, tenant: Tenant):
        other = tenant.accounts["group", "administrator"].tokens.get()
        problem(api(tenant.token).delete(f"{BASE}tokens/{other.pk}/"), 404, "not_found")

    def test_who_may_only_read_may_end_their_own(self, api, tenant: Tenant):
        client = api(tenant.staff_tokens["group", "read_only"])
        own = tenant.accounts["group", "read_only"].tokens.get()
        assert client.delete(f"{BASE}tokens/{own.pk}/").status_code == 204


class TestAudit:
    def test_who_did_what_before_and_after(self, api, tenant: Tenant):
        client = api(tenant.token)
        client.patch(f"{BASE}groups/{tenant.group.pk}/", {"name": "Renamed"})
        row = client.get(f"{BASE}audit/", {"object": str(tenant.group.pk)}).json()["results"][0]
        assert (row["action"], row["actor_name"], row["object_type"]) == (
            "update",
            tenant.administrator.username,
            "group",
        )
        assert (row["before"], row["after"]) == ({"name": "Acme Works"}, {"name": "Renamed"})
        assert row["actor"] == str(tenant.administrator.pk)
        assert row["ip"] == "127.0.0.1"

    def test_filters(self, api, tenant: Tenant):
        client = api(tenant.token)
        client.patch(f"{BASE}groups/{tenant.group.pk}/", {"name": "Renamed"})
        client.delete(f"{BASE}users/{tenant.other_user.pk}/")

        def actions(**query: str) -> list[str]:
            return [row["action"] for row in client.get(f"{BASE}audit/", query).json()["results"]]

        assert actions() == ["delete", "update"]
        assert actions(action="update") == ["update"]
        assert actions(actor=tenant.administrator.username) == ["delete", "update"]
        assert actions(actor=str(tenant.user.pk)) == []
        assert actions(after="2001-01-01T00:00:00Z", before="2100-01-01T00:00:00Z") == ["delete", "update"]
        assert actions(after="2100-01-01T00:00:00Z") == []
        assert actions(before="2001-01-01T00:00:00Z") == []
        problem(client.get(f"{BASE}audit/", {"after": "yesterday"}), 400, "invalid")

    def test_a_strangers_actions_are_not_seen(self, api, two_tenants):
        acme, zenith = two_tenants
        api(zenith.token).patch(f"{BASE}groups/{zenith.group.pk}/", {"name": "Renamed"})
        assert AuditEntry.objects.count() == 1
        assert api(acme.token).get(f"{BASE}audit/").json()["results"] == []


def test_a_deactivated_accounts_login_is_refused(api, db):
    account = PortalAccountFactory(is_active=False)
    body = {"username": account.username, "password": PASSWORD, "name": "x"}
    problem(api(None).post(f"{BASE}tokens/", body), 401, "bad_credentials")
    assert not EndUser.objects.exists()
