"""What an answer must not tell: whether a row, a number, a login or an account exists that is a stranger's (S4.41)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import hashers
from django.test import Client

from cpaas.models import CpaasPlatform
from cpaas.tests.conftest import sandbox, sandbox_process
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from portal.models import EndUser, PortalAccount
from portal.tests.factories import EndUserFactory, PortalAccountFactory
from portal.tests.tenants import Tenant
from tests.sandbox_process import NUMBERS, SandboxProcess

__all__ = ["sandbox", "sandbox_process"]
BASE = "/api/v1/provisioning/"
NOT_OURS = ("2015550198", "2015550199")


@pytest.fixture
def platform(transactional_db: None, sandbox: SandboxProcess, tenant: Tenant) -> CpaasPlatform:
    """The tenant's platform, whose carrier is the sandbox."""
    return CpaasPlatformFactory(
        system_provider=tenant.system_provider, credentials=sandbox.credentials, options=sandbox.options
    )


def test_a_strangers_number_is_like_one_nobody_has(api, platform: CpaasPlatform, tenant: Tenant) -> None:
    """Of a number that is not on the own account at the carrier nobody learns whether another tenant uses it."""
    CpaasNumberFactory(number=f"+1{NOT_OURS[0]}", user__name="Zenith user")
    answers = [
        api(tenant.token).post(f"{BASE}numbers/", {"number": number, "user": str(tenant.user.pk)})
        for number in NOT_OURS
    ]
    assert answers[0].json()["code"] == "number_not_on_account"
    assert answers[0].content == answers[1].content


def test_a_number_is_not_available_whoever_has_it(api, platform: CpaasPlatform, two_tenants) -> None:
    tenant, zenith = two_tenants
    CpaasNumberFactory(number=NUMBERS[0], user=tenant.other_user, platform=platform)
    CpaasNumberFactory(number=NUMBERS[1], user=zenith.user)
    answers = [
        api(tenant.staff_tokens["group", "administrator"]).post(
            f"{BASE}numbers/", {"number": number, "user": str(tenant.user.pk)}
        )
        for number in NUMBERS[:2]
    ]
    assert answers[0].json()["code"] == "number_not_available"
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize("field", ["login", "username"])
def test_a_name_is_taken_whoever_has_it(api, two_tenants: tuple[Tenant, Tenant], field: str) -> None:
    """One's own and a stranger's get the same answer: it says that the name is not free, and nothing of its owner."""
    tenant, zenith = two_tenants
    taken = {
        "login": ("users", [tenant.colleague.login, zenith.user.login]),
        "username": (
            "portal-accounts",
            [of.accounts["group", "read_only"].username for of in (tenant, zenith)],
        ),
    }
    collection, names = taken[field]
    bodies: dict[str, dict[str, Any]] = {
        "users": {"group": str(tenant.group.pk), "name": "Somebody"},
        "portal-accounts": {
            "level": "group",
            "scope": str(tenant.group.pk),
            "email": "somebody@example.com",
            "password": "correct horse battery",
        },
    }
    answers = [api(tenant.token).post(f"{BASE}{collection}/", bodies[collection] | {field: name}) for name in names]
    assert answers[0].status_code == 400
    assert list(answers[0].json()["errors"]) == [field]
    assert answers[0].content == answers[1].content


class Hashing(hashers.MD5PasswordHasher):
    """Counts how often a password is hashed, which is what a login spends its time with."""

    count = 0

    def encode(self, password: str, salt: str) -> str:
        type(self).count += 1
        return super().encode(password, salt)


def _log_in_user(name: str) -> int:
    body = {"login": name, "password": "wrong horse battery", "device": "d"}
    return Client().post("/api/v1/login/", body, content_type="application/json").status_code


def _log_in_staff(name: str) -> int:
    body = {"username": name, "password": "wrong horse battery", "name": "n"}
    return Client().post(f"{BASE}tokens/", body, content_type="application/json").status_code


def _log_in_page(name: str) -> int:
    return Client().post("/login/", {"username": name, "password": "wrong horse battery"}).status_code


@pytest.mark.parametrize(
    ("log_in", "make"),
    [
        (_log_in_user, lambda **state: EndUserFactory(**state).login),
        (_log_in_staff, lambda **state: PortalAccountFactory(**state).username),
        (_log_in_page, lambda **state: PortalAccountFactory(**state).username),
    ],
    ids=["user", "staff token", "staff page"],
)
def test_a_wrong_login_costs_the_same_whoever_is_meant(
    db, settings, log_in: Callable[[str], int], make: Callable[..., str], monkeypatch
) -> None:
    """One hash each: for a wrong password, an unknown name, an inactive account and one without a password yet."""
    names = [make(), "nobody@example.com", make(is_active=False), make(password="")]
    settings.PASSWORD_HASHERS = [f"{__name__}.Hashing"]
    hashes, statuses = [], []
    for name in names:
        monkeypatch.setattr(Hashing, "count", 0)
        statuses.append(log_in(name))
        hashes.append(Hashing.count)
    assert len(set(statuses)) == 1
    assert hashes == [1, 1, 1, 1]
    assert EndUser.objects.count() + PortalAccount.objects.count() == 3
