"""`Idempotency-Key` (contracts section 0)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from portal.models import Group, IdempotencyKey
from portal.tests.tenants import Tenant, make_tenant
from portal.tests.test_api_conventions import problem

pytestmark = pytest.mark.core
GROUPS = "/api/v1/provisioning/groups/"


def body_of(tenant: Tenant, name: str = "new") -> dict:
    return {"name": name, "reseller": str(tenant.reseller.pk)}


def post(api, tenant: Tenant, key: str = "k", *, token: str | None = None, **changes):
    body = {**body_of(tenant), **changes}
    return api(token or tenant.token).post(GROUPS, body, headers={"Idempotency-Key": key})


def test_the_same_again_gets_the_first_answer(api, tenant: Tenant):
    first, second = post(api, tenant), post(api, tenant)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert Group.objects.filter(name="new").count() == 1


def test_a_refusal_is_repeated_too(api, tenant: Tenant):
    first = post(api, tenant, name="")
    second = post(api, tenant, name="")
    assert problem(first, 400, "invalid") == problem(second, 400, "invalid")


def test_another_body_is_a_mismatch(api, tenant: Tenant):
    post(api, tenant)
    problem(post(api, tenant, name="other"), 409, "idempotency_mismatch")


def test_without_a_key_each_post_counts(api, tenant: Tenant):
    for _ in range(2):
        assert api(tenant.token).post(GROUPS, body_of(tenant)).status_code == 201
    assert Group.objects.filter(name="new").count() == 2


def test_keys_of_two_owners_and_two_paths_are_two(api, tenant: Tenant):
    assert post(api, tenant).status_code == 201
    assert post(api, tenant, token=tenant.staff_tokens["reseller", "administrator"]).status_code == 201
    other = api(tenant.token).post(
        "/api/v1/provisioning/resellers/",
        {"name": "r", "system_provider": str(tenant.system_provider.pk)},
        headers={"Idempotency-Key": "k"},
    )
    assert other.status_code == 201
    assert Group.objects.filter(name="new").count() == 2


def test_a_key_too_long(api, tenant: Tenant):
    assert post(api, tenant, key="k" * 200).status_code == 201
    problem(post(api, tenant, key="k" * 201), 400, "invalid")


def test_while_the_first_is_running(api, tenant: Tenant):
    post(api, tenant)
    IdempotencyKey.objects.update(status=None, answer=None)
    response = post(api, tenant)
    problem(response, 409, "idempotency_in_progress")
    assert response["Retry-After"] == "1"


def test_a_request_that_died_blocks_its_key_for_two_minutes_only(api, tenant: Tenant):
    post(api, tenant)
    Group.objects.filter(name="new").delete()
    IdempotencyKey.objects.update(status=None, answer=None, created_at=timezone.now() - timedelta(minutes=3))
    assert post(api, tenant).status_code == 201
    assert post(api, tenant).status_code == 201
    assert Group.objects.filter(name="new").count() == 1


def test_after_a_day_a_key_is_new(api, tenant: Tenant):
    post(api, tenant)
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert post(api, tenant, name="other").status_code == 201


def test_an_error_of_ours_is_not_kept(api, tenant: Tenant, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("portal.services.tenants.create_group", lambda **_: 1 / 0)
        problem(post(api, tenant), 500, "internal")
    assert post(api, tenant).status_code == 201


def test_a_failed_change_leaves_nothing_but_its_answer(api, tenant: Tenant, monkeypatch):
    """The change and its answer are one transaction: a crash between them leaves neither."""

    def crash(*args, **kwargs):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("portal.api.idempotency._keep", crash)
        problem(post(api, tenant), 500, "internal")
    assert not Group.objects.filter(name="new").exists()
    assert post(api, tenant).status_code == 201


def test_the_stored_answer_is_sealed_and_knows_its_object(api, tenant: Tenant):
    made = post(api, tenant, name="Nobody reads this").json()
    row = IdempotencyKey.objects.get()
    assert str(row.object_id) == made["id"]
    assert "Nobody" not in str(row.answer)


@pytest.mark.django_db(transaction=True)
def test_ten_at_once_make_one(api):
    tenant = make_tenant("Acme")
    start = threading.Barrier(10)

    def one(_: int) -> int:
        start.wait()
        try:
            return post(api, tenant).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(one, range(10)))
    # Nobody is sent away: the others wait for the first one's commit and get its answer.
    assert statuses == [201] * 10
    assert Group.objects.filter(name="new").count() == 1
    assert post(api, tenant).status_code == 201
