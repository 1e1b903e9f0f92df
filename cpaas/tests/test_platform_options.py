"""Options of a platform that only one carrier has (contracts section 2)."""

from __future__ import annotations

from typing import Any

import pytest

from cpaas.carriers.registry import CARRIERS
from cpaas.models import CpaasPlatform
from cpaas.services.platform_options import merge_options
from portal.problems import Problem

SWITCH = "split_at_160_bytes"


def test_a_switch_is_off_until_it_is_switched_on() -> None:
    platform = CpaasPlatform(carrier="restcomm", credentials={"account_sid": "AC-1", "auth_token": "x"})
    assert platform.account().switches == frozenset()
    platform.options = merge_options("restcomm", {}, {SWITCH: True})
    assert platform.account().switches == {SWITCH}
    assert merge_options("restcomm", platform.options, {SWITCH: None}) == {}
    platform.options = merge_options("restcomm", platform.options, {SWITCH: False})
    assert platform.account().switches == frozenset()


@pytest.mark.parametrize("value", ["yes", 1, [], "true"])
def test_a_switch_is_true_or_false(value: Any) -> None:
    with pytest.raises(Problem) as refused:
        merge_options("restcomm", {}, {SWITCH: value})
    assert refused.value.errors == {f"options.{SWITCH}": ["Give true or false."]}


@pytest.mark.parametrize("carrier", sorted(set(CARRIERS) - {"restcomm"}))
def test_another_carrier_does_not_have_it(carrier: str) -> None:
    with pytest.raises(Problem):
        merge_options(carrier, {}, {SWITCH: True})
