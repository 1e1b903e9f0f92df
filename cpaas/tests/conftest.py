"""Messaging tests against a real simulator of the carrier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from cpaas import transport
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber, CpaasPlatform
from cpaas.services.number_work import work_due_numbers
from cpaas.services.numbers import assign_number
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from cpaas.tests.running import DispatcherThread
from portal.tests.factories import EndUserFactory
from tests.sandbox_process import NUMBERS, CarrierControl, SandboxProcess
from tests.simulated_carriers import SIMULATED

WIRE_TN = "+15515550100"


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


@pytest.fixture(params=list(SIMULATED))
def wire(
    request: pytest.FixtureRequest, sandbox: SandboxProcess, live_server: LiveServer, settings: Any
) -> CarrierControl:
    """One of the carriers, each in turn, with `WIRE_TN` on its account; it reaches us at a live server of ours."""
    settings.PUBLIC_URL = live_server.url
    control = sandbox.of(request.param)
    control.carrier(retries=0)
    control.receipts(mode="manual")
    control.put_number(WIRE_TN)
    return control


@pytest.fixture
def wired(wire: CarrierControl) -> CpaasNumber:
    """`WIRE_TN` as a number of ours, set up at the carrier by ourselves."""
    platform = CpaasPlatformFactory(
        carrier=wire.kind.code,
        credentials=wire.credentials,
        options=wire.options,
        user_confirmation_required=False,
        mms=wire.kind.has_mms,
    )
    user = EndUserFactory(group__reseller__system_provider=platform.system_provider)
    row = assign_number(actor=None, user=user, number=WIRE_TN)
    work_due_numbers()
    row.refresh_from_db()
    assert row.status == "enabled", row.status_detail
    return row
