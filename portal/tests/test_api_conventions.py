"""The conventions of contracts section 0: problems, strictness, paging, times, on routes of the portal itself."""

from __future__ import annotations

import re

import pytest
from django.db import OperationalError
from django.test import Client, override_settings

from portal.models import Group
from portal.tests.factories import GroupFactory, ResellerFactory, device_token, staff_token
from portal.tests.tenants import Tenant

GROUPS = "/api/v1/provisioning/groups/"


def problem(response, status: int, code: str) -> dict:
    body = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert response["Content-Type"] == "application/problem+json"
    assert body["status"] == status
    assert body["type"].endswith(f"/problems/{code}")
    assert body["title"]
    assert body["detail"]
    return body


class TestProblems:
    def test_without_a_token_it_is_unauthenticated(self, api, db):
        response = api(None).get(GROUPS)
        problem(response, 401, "unauthenticated")
        assert response["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        "header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer nonsense", "pps_x", "Bearer \xff"]
    )
    def test_a_header_that_is_no_token_is_unauthenticated(self, db, header):
        problem(Client(headers={"authorization": header}).get(GROUPS), 401, "unauthenticated")

    def test_an_expired_staff_token(self, api, tenant: Tenant):
        problem(api(staff_token(tenant.administrator, days=-1)).get(GROUPS), 401, "token_expired")

    def test_an_expired_device_token(self, api, tenant: Tenant):
        problem(api(device_token(tenant.user, days=-1)).get("/api/v1/session/"), 401, "token_expired")

    def test_the_two_kinds_of_token_do_not_open_each_others_doors(self, api, tenant: Tenant):
        problem(api(tenant.device_token).get(GROUPS), 401, "unauthenticated")
        problem(api(tenant.token).get("/api/v1/session/"), 401, "unauthenticated")

    def test_a_deactivated_account_is_out_at_once(self, api, tenant: Tenant):
        tenant.administrator.is_active = False
        tenant.administrator.save()
        problem(api(tenant.token).get(GROUPS), 401, "unauthenticated")

    @pytest.mark.parametrize("path", ["/api/", "/api/v1/nothing/", "/api/v1/provisioning/nothing/", GROUPS.rstrip("/")])
    @pytest.mark.parametrize("debug", [True, False])
    def test_a_path_that_is_none(self, api, tenant: Tenant, path, debug):
        with override_settings(DEBUG=debug):
            problem(api(tenant.token).get(path), 404, "not_found")

    def test_a_path_that_is_none_asks_for_no_form_token(self, db):
        problem(Client(enforce_csrf_checks=True).post("/api/v1/nothing/"), 404, "not_found")

    def test_a_host_that_is_not_ours(self, db):
        problem(Client(headers={"host": "evil.example"}).get("/api/v1/session/"), 400, "invalid")

    def test_an_error_outside_the_views(self, db, monkeypatch):
        def fail(*args):
            raise RuntimeError("a secret of the machine room")

        monkeypatch.setattr("portal.middleware.client_address", fail)
        response = Client(raise_request_exception=False).get("/api/v1/session/")
        problem(response, 500, "internal")
        assert "machine room" not in response.content.decode()

    @pytest.mark.parametrize("method", ["put", "delete", "patch", "options"])
    def test_a_method_that_is_none(self, api, tenant: Tenant, method):
        response = getattr(api(tenant.token), method)(GROUPS)
        problem(response, 405, "method_not_allowed")
        assert {word.strip() for word in response["Allow"].split(",")} == {"GET", "HEAD", "POST"}

    @pytest.mark.parametrize(
        "body",
        [b"{", b"", b'"text"', b"[]", b"nul", b"{\"a\": NaN}", b"\xff\xfe", b"[" * 100_000, b'{"name": "\\u0000"}',
         b'{"name": "\\ud800"}', b'{"\\udfff": 1}'],
    )  # fmt: skip
    def test_a_body_that_is_no_object_of_storable_text(self, api, tenant: Tenant, body):
        response = api(tenant.token).generic("POST", GROUPS, body, content_type="application/json")
        problem(response, 400, "invalid")

    def test_another_media_type(self, api, tenant: Tenant):
        response = api(tenant.token).generic("POST", GROUPS, "name=x", content_type="application/x-www-form-urlencoded")
        problem(response, 415, "unsupported_media_type")

    def test_too_large_a_body(self, api, tenant: Tenant):
        response = api(tenant.token).post(GROUPS, {"name": "x" * 1_100_000, "reseller": str(tenant.reseller.pk)})
        problem(response, 413, "too_large")

    def test_an_error_of_ours_tells_nothing(self, api, tenant: Tenant, monkeypatch):
        def fail(*args, **kwargs):
            raise RuntimeError("a secret of the machine room")

        monkeypatch.setattr("portal.api.provisioning.tenants.Groups.create", fail)
        body = {"name": "x", "reseller": str(tenant.reseller.pk)}
        response = api(tenant.token).post(GROUPS, body)
        problem(response, 500, "internal")
        assert "machine room" not in response.content.decode()

    def test_a_database_that_is_away_is_unavailable(self, api, tenant: Tenant, monkeypatch):
        def fail(*args, **kwargs):
            raise OperationalError("server at 10.0.0.3 closed the connection")

        monkeypatch.setattr("portal.api.provisioning.tenants.Groups.create", fail)
        body = {"name": "x", "reseller": str(tenant.reseller.pk)}
        response = api(tenant.token).post(GROUPS, body)
        problem(response, 503, "unavailable")
        assert "10.0.0.3" not in response.content.decode()


class TestStrictness:
    def test_unknown_parameters_are_named(self, api, tenant: Tenant):
        response = api(tenant.token).get(GROUPS + "?colour=red&limit=3")
        assert list(problem(response, 400, "invalid")["errors"]) == ["colour"]

    def test_unknown_parameters_of_a_post_are_named(self, api, tenant: Tenant):
        response = api(tenant.token).post(GROUPS + "?colour=red", {})
        assert list(problem(response, 400, "invalid")["errors"]) == ["colour"]

    def test_a_doubled_parameter(self, api, tenant: Tenant):
        problem(api(tenant.token).get(GROUPS + "?limit=1&limit=2"), 400, "invalid")

    def test_unknown_fields_are_named(self, api, tenant: Tenant):
        body = {"name": "x", "reseller": str(tenant.reseller.pk), "colour": "red"}
        assert list(problem(api(tenant.token).post(GROUPS, body), 400, "invalid")["errors"]) == ["colour"]

    @pytest.mark.parametrize("field", ["id", "created_at", "reseller"])
    def test_read_only_fields_are_named(self, api, tenant: Tenant, field):
        response = api(tenant.token).patch(f"{GROUPS}{tenant.group.pk}/", {field: str(tenant.group.pk)})
        assert list(problem(response, 400, "invalid")["errors"]) == [field]

    @pytest.mark.parametrize(
        ("field", "value"),
        [("licence", "gold"), ("licence", 5), ("is_active", "true"), ("ring_seconds", "20"), ("name", 5),
         ("ring_seconds", True), ("ring_seconds", -1), ("ring_seconds", 10**20), ("email", "nobody"), ("name", None)],
    )  # fmt: skip
    def test_a_value_of_another_kind(self, api, tenant: Tenant, field, value):
        response = api(tenant.token).patch(f"/api/v1/provisioning/users/{tenant.user.pk}/", {field: value})
        assert list(problem(response, 400, "invalid")["errors"]) == [field]

    @pytest.mark.parametrize("value", ["", 5, None, "abc", ["x"], {}])
    def test_a_malformed_foreign_id(self, api, tenant: Tenant, value):
        response = api(tenant.token).post(GROUPS, {"name": "x", "reseller": value})
        assert list(problem(response, 400, "invalid")["errors"]) == ["reseller"]

    def test_a_foreign_row_and_one_that_never_was_look_the_same(self, api, two_tenants):
        acme, zenith = two_tenants
        answers = [
            api(acme.token).post(GROUPS, {"name": "x", "reseller": key})
            for key in (str(zenith.reseller.pk), "01890000-0000-7000-8000-000000000000")
        ]
        assert answers[0].json() == answers[1].json()
        problem(answers[0], 404, "not_found")

    def test_times_are_utc_in_whole_seconds(self, api, tenant: Tenant):
        created = api(tenant.token).get(f"{GROUPS}{tenant.group.pk}/").json()["created_at"]
        assert created == tenant.group.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")


class TestPaging:
    @pytest.fixture
    def names(self, tenant: Tenant) -> list[str]:
        """Of 25 groups, newest first."""
        Group.objects.filter(pk=tenant.other_group.pk)
        reseller = ResellerFactory(system_provider=tenant.system_provider)
        made = [GroupFactory(reseller=reseller, name=f"g{n:02d}") for n in range(25)]
        return [group.name for group in reversed(made)] + [tenant.other_group.name, tenant.group.name]

    @staticmethod
    def page(client, **query) -> dict:
        return client.get(GROUPS, query).json()

    def test_walking_forward_and_back_sees_everything_once(self, api, tenant: Tenant, names):
        client, seen, pages = api(tenant.token), [], []
        page = self.page(client, limit=10)
        assert page["previous"] is None
        while True:
            pages.append([row["name"] for row in page["results"]])
            seen += pages[-1]
            if page["next"] is None:
                break
            page = self.page(client, limit=10, cursor=page["next"])
        assert seen == names
        back = []
        while page["previous"] is not None:
            page = self.page(client, limit=10, cursor=page["previous"])
            back.append([row["name"] for row in page["results"]])
        assert back == [pages[1], pages[0]]
        assert page["next"] is not None

    def test_rows_that_come_meanwhile_shift_nothing(self, api, tenant: Tenant, names):
        client = api(tenant.token)
        first = self.page(client, limit=10)
        GroupFactory(reseller=tenant.reseller, name="late")
        second = self.page(client, limit=10, cursor=first["next"])
        assert [row["name"] for row in second["results"]] == names[10:20]
        back = self.page(client, limit=10, cursor=second["previous"])
        assert [row["name"] for row in back["results"]] == names[:10]

    def test_the_default_and_the_largest_page(self, api, tenant: Tenant):
        Group.objects.bulk_create(
            Group(reseller=tenant.reseller, system_provider=tenant.system_provider, name=f"n{n}") for n in range(230)
        )
        client = api(tenant.token)
        assert len(self.page(client)["results"]) == 50
        assert len(self.page(client, limit=200)["results"]) == 200
        assert len(self.page(client, limit=10**9)["results"]) == 200

    @pytest.mark.parametrize("limit", ["0", "-1", "ten", "", "1.5"])
    def test_a_limit_that_is_none(self, api, tenant: Tenant, limit):
        response = api(tenant.token).get(f"{GROUPS}?limit={limit}")
        assert list(problem(response, 400, "invalid")["errors"]) == ["limit"]

    def test_a_damaged_cursor(self, api, tenant: Tenant, names):
        client = api(tenant.token)
        cursor = self.page(client, limit=10)["next"]
        ends = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
        for damaged in (ends, cursor[1:], "x", "!", "", "\0", "x" * 2000):
            problem(client.get(GROUPS, {"cursor": damaged}), 400, "invalid_cursor")

    def test_a_cursor_of_another_list_filter_or_caller(self, api, two_tenants, names):
        acme, zenith = two_tenants
        GroupFactory(reseller=zenith.reseller)
        cursor = self.page(api(zenith.token), limit=1)["next"]
        problem(api(acme.token).get(GROUPS, {"cursor": cursor}), 400, "invalid_cursor")
        problem(api(zenith.token).get("/api/v1/provisioning/users/", {"cursor": cursor}), 400, "invalid_cursor")
        filtered = {"cursor": cursor, "reseller": str(zenith.reseller.pk)}
        problem(api(zenith.token).get(GROUPS, filtered), 400, "invalid_cursor")

    def test_a_page_costs_the_same_number_of_queries(self, api, tenant: Tenant, names, django_assert_max_num_queries):
        with django_assert_max_num_queries(3):
            api(tenant.token).get(GROUPS)


class TestDocumentation:
    def test_the_page_needs_no_inline_script_or_style(self, client):
        page = client.get("/api/v1/docs/").content.decode()
        assert "<style" not in page
        scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
        assert scripts
        assert all("src=" in attributes and not body.strip() for attributes, body in scripts)
        for source in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert not source.startswith("http")

    def test_the_document_has_the_routes_of_all_apps(self, client):
        document = client.get("/api/v1/schema/?format=json").json()
        assert {"/api/v1/events/", "/api/v1/session/", "/api/v1/provisioning/numbers/"} <= set(document["paths"])
        assert set(document["components"]["securitySchemes"]) == {"staffToken", "deviceToken"}
