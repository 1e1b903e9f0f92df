"""One stack for all journeys of a test process; a tenant, and where needed a browser, for each journey."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.clients import Api, staff_api
from tests.e2e.world import PASSWORD, Carrier, Tenant
from tests.simulated_carriers import EVERY_SECRET, SIMULATED
from tests.stack_process import Stack, own_broker, own_database

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A loaded machine is slow; nothing that works waits this long.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
TenantMaker = Callable[..., Tenant]
# A journey that is made with each carrier.
every_carrier = pytest.mark.parametrize("carrier", list(SIMULATED), indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, broker_place: int) -> Iterator[Stack]:
    """The whole portal as `runstack` starts it, without demo data."""
    with own_database() as database_url:
        running = Stack(
            tmp_path_factory.mktemp("stack"),
            DATABASE_URL=database_url,
            PORTAL_LOGIN_ATTEMPTS_PER_MINUTE="1000",
            **own_broker(broker_place),
        )
        try:
            running.wait_until_ready()
            yield running
        finally:
            running.end()
        assert running.leaks(*EVERY_SECRET, PASSWORD) == set()


def first_operator(stack: Stack) -> Api:
    """The API as the first operator of a stack, made by `bootstrap`."""
    printed = stack.manage(
        "bootstrap", "--username", "first", "--email", "first@mail.example", PORTAL_BOOTSTRAP_PASSWORD=PASSWORD
    )
    return staff_api(stack.url, json.loads(printed)["token"])


@pytest.fixture(scope="session")
def operator(stack: Stack) -> Api:
    return first_operator(stack)


@pytest.fixture
def carrier(request: pytest.FixtureRequest, stack: Stack) -> Carrier:
    """The simulated carrier of the test, up and saying nothing on its own: Inteliquent, or each for `every_carrier`."""
    simulated = Carrier(stack.sandbox_port, SIMULATED[getattr(request, "param", "inteliquent")])
    simulated.reset()
    return simulated


@pytest.fixture
def make_tenant(stack: Stack, operator: Api, carrier: Carrier) -> TenantMaker:
    def make(**options: Any) -> Tenant:
        return Tenant(stack, operator, carrier, **options)

    return make


@pytest.fixture
def tenant(make_tenant: TenantMaker) -> Tenant:
    """A tenant of the test's own, its administrator gets alerts."""
    return make_tenant()


@pytest.fixture
def browser() -> Iterator[Browser]:
    # Started anew for each test: while it runs, this thread counts as asynchronous and Django's ORM refuses to work.
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """A page that fails the test when a script of ours fails, or when anything breaks the content security policy."""
    opened = browser.new_page(base_url=stack.url, viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(PATIENCE_MS)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
    yield opened
    assert not errors
