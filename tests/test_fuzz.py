"""Whatever bytes come in, the answer is ours: a refusal that says why, never a server error, and nothing half stored.

`make fuzz` runs these with 10,000 examples each. tests/test_schema.py does the same for bodies that follow the API's
schema; here is what follows none.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from cpaas import spool
from cpaas.models import CpaasPlatform, Message, WebhookEvent
from cpaas.services.platform_options import OPTIONS, merge_options
from cpaas.tests.factories import CREDENTIALS, CpaasNumberFactory, CpaasPlatformFactory
from portal.models import PortalAccount
from portal.problems import Problem
from portal.tests.factories import staff_token
from portal.tests.tenants import Tenant

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fuzz, pytest.mark.same_values]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
BYTES = st.binary(max_size=400) | JSON.map(lambda value: json.dumps(value).encode())
# What a header or a path can hold at all on the wire.
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=120)
NUMBER = "+12019920781"


@pytest.fixture
def platform(tenant: Tenant) -> CpaasPlatform:
    found = CpaasPlatformFactory(system_provider=tenant.system_provider)
    CpaasNumberFactory(number=NUMBER, user=tenant.user, platform=found)
    return found


def signed(body: bytes, nonce: str) -> dict[str, str]:
    token = hashlib.sha256((CREDENTIALS["inbound_api_key"] + nonce).encode()).hexdigest()
    return {"HTTP_MESSAGEID": nonce, "HTTP_VERIFICATIONTOKEN": token}


def texts(fields: dict[str, Any]) -> bytes:
    return json.dumps({"referenceId": str(uuid.uuid4()), "from": "17036089795", "to": [NUMBER[1:]], **fields}).encode()


FIELDS = st.dictionaries(st.sampled_from(["referenceId", "from", "to", "text", "mediaUrls", "deliveryReceipt"]), JSON)


def test_no_signed_webhook_is_a_server_error_and_each_is_stored_whole_or_not(platform: CpaasPlatform) -> None:
    url = f"/webhooks/inteliquent/{platform.pk}/{platform.webhook_secret}/"
    client = Client(raise_request_exception=False)

    @given(body=BYTES | FIELDS.map(texts), kind=st.sampled_from(["application/json", "text/plain", "", "a/b; c=\xff"]))
    def post(body: bytes, kind: str) -> None:
        taken = WebhookEvent.objects.exclude(state="unreadable")
        before = taken.count(), Message.objects.count()
        answer = client.post(url, body, content_type=kind, **signed(body, str(uuid.uuid4())))
        assert answer.status_code in (200, 400, 413), (answer.status_code, body)
        calls, messages = taken.count() - before[0], Message.objects.count() - before[1]
        assert calls == (answer.status_code == 200)
        assert messages <= calls

    post()


def test_no_forged_webhook_is_taken_or_a_server_error(platform: CpaasPlatform) -> None:
    client = Client(raise_request_exception=False)

    @given(
        carrier=st.just("inteliquent") | PRINTABLE,
        platform_id=st.just(str(platform.pk)) | PRINTABLE,
        secret=st.just(platform.webhook_secret) | PRINTABLE,
        nonce=PRINTABLE,
        token=PRINTABLE,
        body=BYTES,
    )
    def post(carrier: str, platform_id: str, secret: str, nonce: str, token: str, body: bytes) -> None:
        url = "/".join(["/webhooks", *(quote(part, safe="") for part in (carrier, platform_id, secret)), ""])
        headers = {"HTTP_MESSAGEID": nonce, "HTTP_VERIFICATIONTOKEN": token}
        answer = client.post(url, body, content_type="application/json", **headers)
        assert answer.status_code in (403, 404), (answer.status_code, url)

    post()
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("path", ["/api/v1/messages/", "/api/v1/login/", "/api/v1/messages/preview/"])
def test_no_body_of_a_user_is_a_server_error(tenant: Tenant, path: str) -> None:
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {tenant.device_token}"})

    @given(body=BYTES, key=PRINTABLE)
    def post(body: bytes, key: str) -> None:
        answer = client.post(path, body, content_type="application/json", HTTP_IDEMPOTENCY_KEY=key)
        assert answer.status_code in (400, 401, 409, 413, 429), (answer.status_code, body, key)

    post()


@pytest.mark.parametrize("collection", ["users", "numbers", "platforms", "portal-accounts", "media-streams"])
def test_no_body_of_staff_is_a_server_error(operator: PortalAccount, collection: str) -> None:
    token = staff_token(operator)
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {token}"})

    @given(body=BYTES)
    def post(body: bytes) -> None:
        answer = client.post(f"/api/v1/provisioning/{collection}/", body, content_type="application/json")
        assert 400 <= answer.status_code < 500, (answer.status_code, body)

    post()


def test_no_query_is_a_server_error(tenant: Tenant, platform: CpaasPlatform) -> None:
    client = Client(raise_request_exception=False, headers={"Authorization": f"Bearer {tenant.device_token}"})

    @given(name=st.sampled_from(["cursor", "limit", "q", "number", "new"]) | PRINTABLE, value=st.text(max_size=60))
    def get(name: str, value: str) -> None:
        answer = client.get("/api/v1/conversations/", {name: value.encode("utf-8", "replace").decode()})
        assert answer.status_code in (200, 400, 404), (answer.status_code, name, value)

    get()


def test_no_authorization_is_a_server_error(tenant: Tenant) -> None:
    client = Client(raise_request_exception=False)

    @given(value=PRINTABLE | PRINTABLE.map("Bearer {}".format), path=st.sampled_from(["session/", "provisioning/me/"]))
    def get(value: str, path: str) -> None:
        assert client.get(f"/api/v1/{path}", HTTP_AUTHORIZATION=value).status_code == 401

    get()


def test_no_path_is_a_server_error(tenant: Tenant) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(tenant.administrator)
    prefixes = st.sampled_from(
        ["/", "/api/v1/", "/api/v1/provisioning/", "/users/", "/numbers/", "/files/", "/static/"]
    )

    @given(prefix=prefixes, rest=st.text(max_size=60), query=st.text(max_size=30))
    def get(prefix: str, rest: str, query: str) -> None:
        path = prefix + quote(rest.encode("utf-8", "replace"))
        answer = client.get(f"{path}?{quote(query.encode('utf-8', 'replace'))}")
        assert answer.status_code < 500, (answer.status_code, path)

    get()


def test_an_unreadable_spool_file_is_kept_aside_and_holds_nothing_up(settings: Any, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path
    (tmp_path / "spool").mkdir()

    @given(content=st.binary(max_size=300))
    def drain(content: bytes) -> None:
        (tmp_path / "spool" / "first.call").write_bytes(content)
        assert spool.drain() == 0
        assert (tmp_path / "spool" / "first.bad").read_bytes() == content

    drain()


@given(options=st.dictionaries(st.sampled_from(sorted(OPTIONS)) | st.sampled_from(["services_url", "x"]), JSON))
def test_options_are_taken_or_refused_by_name(options: dict[str, Any]) -> None:
    try:
        merged = merge_options("inteliquent", {}, options)
    except Problem as problem:
        named = {name.removeprefix("options.") for name in problem.errors}
    else:
        named = set(merged)
    assert named <= set(options)
