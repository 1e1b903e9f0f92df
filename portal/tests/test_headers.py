"""What every answer tells the browser, the caches on the way, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client, RequestFactory

from portal.middleware import client_address
from portal.models import AuditEntry
from portal.tests.admin_walk import browser
from portal.tests.factories import PASSWORD
from portal.tests.tenants import Tenant

pytestmark = pytest.mark.django_db
EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def doors(tenant: Tenant, api: Callable[..., Any]) -> dict[str, Any]:
    """One answer of every kind."""
    return {
        "page": browser(tenant.administrator).get("/"),
        "login": Client().get("/login/"),
        "redirect": Client().get("/"),
        "missing page": browser(tenant.administrator).get("/users/none/"),
        "api": api(tenant.token).get("/api/v1/provisioning/me/"),
        "refused": api(None).get("/api/v1/session/"),
        "no path": Client().get("/api/v1/none/"),
        "webhook": Client().post("/webhooks/inteliquent/none/none/", {}, content_type="application/json"),
        "health": Client().get("/healthz"),
    }


def test_every_answer_has_the_headers_and_none_may_be_kept(tenant: Tenant, api: Callable[..., Any]) -> None:
    for name, answer in doors(tenant, api).items():
        given = {header: answer.get(header) for header in EVERYWHERE}
        assert given == EVERYWHERE, name
        assert "no-store" in answer["Cache-Control"], name
        assert "camera=()" in answer["Permissions-Policy"], name
        assert "script-src 'self';" in answer["Content-Security-Policy"], name
        assert "unsafe" not in answer["Content-Security-Policy"], name


def test_static_files_may_be_kept(settings: Any) -> None:
    assert finders.find("portal/staff.css")
    answer = Client().get("/static/portal/staff.css")
    assert (answer.status_code, "no-store" in answer["Cache-Control"]) == (200, False)
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_https_is_told_for_a_year_and_asked_for(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 31536000
    settings.TRUSTED_PROXIES, settings.SECURE_PROXY_SSL_HEADER = ["127.0.0.1"], ("HTTP_X_FORWARDED_PROTO", "https")
    plain = Client().get("/login/")
    assert (plain.status_code, plain["Location"]) == (301, "https://testserver/login/")
    secure = Client(headers={"x-forwarded-proto": "https"}).get("/login/")
    assert (secure.status_code, secure["Strict-Transport-Security"][:16]) == (200, "max-age=31536000")
    assert Client().get("/healthz").status_code == 200
    # Only our own proxies say what came by https.
    assert Client(REMOTE_ADDR="192.0.2.1", headers={"x-forwarded-proto": "https"}).get("/login/").status_code == 301


@pytest.mark.parametrize(
    ("peer", "hops", "address"),
    [
        ("192.0.2.1", "203.0.113.7", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "198.51.100.9, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7, nonsense", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
    ],
)
def test_the_callers_address_is_what_our_own_proxy_saw(settings: Any, peer: str, hops: str, address: str) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.1", "10.0.0.2"]
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers={"x-forwarded-for": hops})
    assert client_address(request) == address


def test_a_forged_hop_is_not_written_anywhere(tenant: Tenant, settings: Any, api: Callable[..., Any]) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    body = {"username": tenant.administrator.username, "password": PASSWORD, "name": "script"}
    headers = {"x-forwarded-for": "'; DROP TABLE"}
    assert api(None).post("/api/v1/provisioning/tokens/", body, headers=headers).status_code == 201
    assert AuditEntry.objects.get().ip == "127.0.0.1"


def test_metrics_are_for_the_machine_itself_or_the_token(settings: Any) -> None:
    far = Client(REMOTE_ADDR="192.0.2.1")
    assert Client().get("/metrics").status_code == 200
    assert far.get("/metrics").status_code == 403
    assert far.get("/metrics", headers={"authorization": "Bearer "}).status_code == 403
    settings.METRICS_TOKEN = "a-token-for-prometheus"
    assert far.get("/metrics", headers={"authorization": "Bearer a-token-for-prometheus"}).status_code == 200
    assert far.get("/metrics", headers={"authorization": "Bearer a-token-for-prometheuß"}).status_code == 403
    # A proxy on the same machine does not make everybody local.
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    assert Client(headers={"x-forwarded-for": "203.0.113.7"}).get("/metrics").status_code == 403
