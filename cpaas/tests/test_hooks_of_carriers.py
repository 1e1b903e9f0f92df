"""Keys and hooks at each carrier over real HTTP: tried, lost, set again, given back, replaced (S4.22, S4.40, R44)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import requests
from pytest_django.live_server_helper import LiveServer

from cpaas import transport
from cpaas.carriers.base import NotTaken, Refused
from cpaas.carriers.registry import get_carrier
from cpaas.models import CpaasNumber, CpaasPlatform, Message
from cpaas.services.hooks import set_due_hooks, set_missing_hooks
from cpaas.services.number_work import work_due_numbers
from cpaas.services.numbers import delete_number
from cpaas.services.platforms import update_platform
from cpaas.tests.factories import CpaasNumberFactory, CpaasPlatformFactory
from portal.tests.factories import EndUserFactory
from tests.sandbox_process import CarrierControl, SandboxProcess
from tests.simulated_carriers import SIMULATED

FIRST, SECOND = "+15515550101", "+15515550102"
REMOTE = "+17036089795"
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]


@pytest.fixture(params=list(SIMULATED))
def wire(request: pytest.FixtureRequest, sandbox: SandboxProcess) -> CarrierControl:
    """One of the carriers, with two numbers of ours on its account."""
    control = sandbox.of(request.param)
    for tn in (FIRST, SECOND):
        control.put_number(tn)
    return control


@pytest.fixture
def platform(wire: CarrierControl, live_server: LiveServer, settings: Any) -> CpaasPlatform:
    settings.PUBLIC_URL = live_server.url
    return CpaasPlatformFactory(carrier=wire.kind.code, credentials=wire.credentials, options=wire.options)


def add(platform: CpaasPlatform, tn: str) -> CpaasNumber:
    """The number, added and set up at the carrier."""
    user = EndUserFactory(group__reseller__system_provider=platform.system_provider)
    number = CpaasNumberFactory(number=tn, user=user, platform=platform, status="provisioning")
    work_due_numbers()
    number.refresh_from_db()
    assert number.status == "enabled"
    return number


def remove(number: CpaasNumber) -> None:
    delete_number(actor=None, number=number)
    work_due_numbers()
    assert not CpaasNumber.objects.filter(pk=number.pk).exists()


def arrives(wire: CarrierControl, tn: str) -> bool:
    """Whether a text to the number comes to us and is stored."""
    before = Message.objects.count()
    wire.inbound(**{"from": REMOTE, "to": tn, "text": "Hi"})
    Message.objects.update(created_at="2026-01-01T00:00:00Z")
    return Message.objects.count() == before + 1


def test_s4_22_right_keys_are_taken_and_each_wrong_one_is_not(platform: CpaasPlatform, wire: CarrierControl) -> None:
    carrier, account = get_carrier(platform.carrier), platform.account()
    transport.run(carrier.verify(account))
    checked = [field.name for field in carrier.credential_fields if field.required and not field.generated]
    for name in checked:
        platform.credentials = {**wire.credentials, name: "wrong-key-0000"}
        with pytest.raises(Refused):
            transport.run(carrier.verify(platform.account()))
    wire.carrier(state="unavailable")
    with pytest.raises(NotTaken):
        transport.run(carrier.verify(account))


def test_r44_a_hook_that_the_carrier_lost_is_set_again(platform: CpaasPlatform, wire: CarrierControl) -> None:
    add(platform, FIRST)
    add(platform, SECOND)
    transport.run(get_carrier(platform.carrier).remove_hook(platform.account(), FIRST, {}))
    assert set_missing_hooks(platform) == (2 if wire.kind.one_hook else 1)
    assert set_missing_hooks(platform) == 0
    assert arrives(wire, FIRST)
    assert arrives(wire, SECOND)


@pytest.mark.parametrize("wire", ["bandwidth"], indirect=True)
def test_an_applications_former_addresses_are_kept_by_whoever_is_left(
    platform: CpaasPlatform, wire: CarrierControl
) -> None:
    carrier = get_carrier("bandwidth")
    other = CpaasPlatformFactory(carrier="bandwidth", credentials=wire.credentials, options=wire.options).account()
    transport.run(carrier.set_hook(other, FIRST))
    first, second = add(platform, FIRST), add(platform, SECOND)
    assert "all numbers of the application" in first.status_detail
    assert second.status_detail == ""
    remove(first)
    second.refresh_from_db()
    assert second.former_hook["InboundCallbackUrl"] == other.inbound_url
    remove(second)
    assert [hook["url"] for hook in wire.hooks()] == [other.inbound_url]


@pytest.mark.parametrize("wire", ["bandwidth"], indirect=True)
def test_s4_43_a_new_callback_password_goes_to_the_carrier_and_the_old_one_holds_meanwhile(
    platform: CpaasPlatform, wire: CarrierControl
) -> None:
    number = add(platform, FIRST)
    changes = {"credentials": {"callback_password": "another-password"}}
    platform = update_platform(actor=None, platform=platform, changes=changes)
    assert arrives(wire, number.number), "signed with the former password"
    set_due_hooks()
    (hook,) = wire.hooks()
    right = base64.b64encode(b"test-callback-user:another-password").decode()
    assert hook["header_value"] == f"Basic {right}"
    assert arrives(wire, number.number)
    wrong = {"Authorization": "Basic " + base64.b64encode(b"test-callback-user:wrong").decode()}
    assert requests.post(platform.inbound_url, json=[], headers=wrong, timeout=30).status_code == 403
