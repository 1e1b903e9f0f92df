"""The key that signs webhooks is replaced: no text is lost between our saving it and the carrier's using it (S4.43)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F

from cpaas.models import CpaasNumber, CpaasPlatform, Message
from cpaas.services.hooks import FORMER_KEYS_HOLD, set_due_hooks
from cpaas.services.platforms import update_platform

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.core]
REMOTE = "+17036089795"


@pytest.fixture
def changed(hooked: CpaasNumber) -> CpaasPlatform:
    """The platform of `hooked` with a new key, of which the carrier has not heard yet."""
    return replace_key(hooked, "a-new-key")


def replace_key(number: CpaasNumber, key: str) -> CpaasPlatform:
    platform = CpaasPlatform.objects.get(pk=number.platform_id)
    return update_platform(actor=None, platform=platform, changes={"credentials": {"inbound_api_key": key}})


def text_in(sandbox, number: CpaasNumber) -> int:
    answer = sandbox.inbound(**{"from": REMOTE, "to": number.number, "text": "Hi"})
    return answer["deliveries"][0]["http_status"]


def keys_at_the_carrier(sandbox) -> list[str]:
    return [hook["api_key"] for hook in sandbox.hooks()]


def test_the_former_key_counts_until_the_carrier_has_the_new_one(hooked, changed, sandbox) -> None:
    assert text_in(sandbox, hooked) == 200
    set_due_hooks()
    assert keys_at_the_carrier(sandbox) == ["a-new-key"]
    assert text_in(sandbox, hooked) == 200
    assert Message.objects.count() == 2


def test_a_carrier_that_is_away_is_asked_again(hooked, changed, sandbox) -> None:
    sandbox.carrier(state="unavailable")
    set_due_hooks()
    sandbox.carrier(state="up")
    set_due_hooks()  # not due yet
    assert keys_at_the_carrier(sandbox) != ["a-new-key"]
    CpaasPlatform.objects.update(hooks_due_at=F("keys_changed_at"))
    set_due_hooks()
    assert keys_at_the_carrier(sandbox) == ["a-new-key"]


def test_the_former_key_ends(hooked, changed, sandbox) -> None:
    old = sandbox.hooks()[0]["api_key"]
    earlier = changed.keys_changed_at - FORMER_KEYS_HOLD - timedelta(seconds=1)
    CpaasPlatform.objects.update(keys_changed_at=earlier, hooks_due_at=earlier)
    set_due_hooks()
    platform = CpaasPlatform.objects.get(pk=changed.pk)
    assert (platform.former_keys, platform.former_account(), platform.hooks_due_at) == ({}, None, None)
    assert old not in keys_at_the_carrier(sandbox)
    assert text_in(sandbox, hooked) == 200


def test_other_changes_ask_for_no_hooks(hooked) -> None:
    platform = CpaasPlatform.objects.get(pk=hooked.platform_id)
    changed = update_platform(actor=None, platform=platform, changes={"name": "Renamed"})
    assert (changed.former_keys, changed.hooks_due_at) == ({}, None)
