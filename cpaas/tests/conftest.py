"""Messaging tests against a real simulator of the carrier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from cpaas import transport
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber, CpaasPlatform
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from cpaas.tests.running import DispatcherThread
from portal.tests.factories import EndUserFactory
from tests.sandbox_process import NUMBERS, SandboxProcess


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    process = SandboxProcess()
    yield process
    process.stop()


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess, settings: Any) -> SandboxProcess:
    """The sandbox as it starts: all its numbers, no hooks, no faults, receipts by hand; our mail goes to it."""
    sandbox_process.reset()
    sandbox_process.receipts(mode="manual")
    settings.PORTAL_ALLOW_PRIVATE_URLS = True
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", sandbox_process.mail_port
    return sandbox_process


@pytest.fixture
def platform(transactional_db: None, sandbox: SandboxProcess) -> CpaasPlatform:
    """A platform whose carrier is the sandbox."""
    return CpaasPlatformFactory(credentials=sandbox.credentials, options=sandbox.options)


@pytest.fixture
def number(platform: CpaasPlatform, sandbox: SandboxProcess) -> CpaasNumber:
    """An enabled number of a licensed user that accepted, with its hook at the carrier."""
    user = EndUserFactory(group__reseller__system_provider=platform.system_provider)
    return CpaasNumberFactory(number=NUMBERS[0], user=user, platform=platform)


@pytest.fixture
def dispatcher(transactional_db: None) -> Iterator[DispatcherThread]:
    """A running dispatcher."""
    with DispatcherThread() as running:
        yield running


@pytest.fixture
def hooked(number: CpaasNumber, live_server: LiveServer, settings: Any, sandbox: SandboxProcess) -> CpaasNumber:
    """`number` whose hook at the carrier leads to a live server of ours."""
    settings.PUBLIC_URL = live_server.url
    transport.run(get_carrier("inteliquent").set_hook(number.platform.account(), number.number))
    return number
