"""Fixtures of all apps' tests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.utils import timezone
from hypothesis import HealthCheck, settings
from rest_framework.test import APIClient

from portal import collector
from portal.models import PortalAccount
from portal.tests.factories import PortalAccountFactory, staff_token
from portal.tests.tenants import Tenant, make_tenant
from tests.prosody import Prosody

# Tests make no statement about time: a loaded machine must not fail them. `make fuzz` asks for more examples, and for
# other ones at each run.
FUZZ_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
settings.register_profile(
    "portal",
    max_examples=FUZZ_EXAMPLES,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    database=None,
    deadline=None,
    # Database fixtures are made once for all examples of a test, and on purpose.
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("portal")


@pytest.fixture(scope="session", autouse=True)
def _collector() -> None:
    """As in every process of the portal: a tenth of the tests' time went into looking through what stays."""
    collector.spare_what_stays()


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Login attempts counted for one test are not the next one's, nor another worker's that shares the Redis."""
    monkeypatch.setattr(caches["default"], "key_prefix", f"test-{uuid.uuid4()}")


@pytest.fixture
def within_a_minute(time_machine: Any) -> None:
    """Attempts are counted by the minute, and none ends in the middle of the test."""
    time_machine.move_to(timezone.now().replace(second=15, microsecond=0), tick=False)


@pytest.fixture
def tenant(db: None) -> Tenant:
    """One complete tenant."""
    return make_tenant("Acme")


@pytest.fixture
def two_tenants(tenant: Tenant) -> tuple[Tenant, Tenant]:
    """Two complete tenants that know nothing of each other; the first is `tenant`."""
    return tenant, make_tenant("Zenith")


@pytest.fixture
def operator(db: None) -> PortalAccount:
    """An operator with the role administrator."""
    return PortalAccountFactory(username="operator")


@pytest.fixture
def api() -> Callable[[str | PortalAccount | None], APIClient]:
    """`api(token)` is a client that sends that token; an account stands for a new token of it, None for no token."""

    def client(token: str | PortalAccount | None) -> APIClient:
        plain = staff_token(token) if isinstance(token, PortalAccount) else token
        made = APIClient(raise_request_exception=False)
        if plain:
            made.credentials(HTTP_AUTHORIZATION=f"Bearer {plain}")
        return made

    return client


@pytest.fixture(scope="session")
def prosody() -> Iterator[Prosody]:
    """An XMPP server for all tests that use accounts of their own and leave it running."""
    with Prosody() as server:
        yield server


@pytest.fixture
def own_prosody() -> Iterator[Prosody]:
    """An XMPP server that the test may stop, break and start again."""
    with Prosody() as server:
        yield server
