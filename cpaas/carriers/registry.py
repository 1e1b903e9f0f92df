"""Which carriers there are: one line each."""

from __future__ import annotations

from collections.abc import Mapping

from cpaas.carriers.bandwidth import Bandwidth
from cpaas.carriers.base import Carrier
from cpaas.carriers.inteliquent import Inteliquent
from cpaas.carriers.restcomm import Restcomm
from cpaas.carriers.twilio import Twilio

_ADAPTERS: tuple[Carrier, ...] = (Inteliquent(), Restcomm(), Twilio(), Bandwidth())

CARRIERS: Mapping[str, Carrier] = {adapter.code: adapter for adapter in _ADAPTERS}
CARRIER_LABELS: Mapping[str, str] = {adapter.code: adapter.label for adapter in _ADAPTERS}


def get_carrier(code: str) -> Carrier:
    """The adapter of a carrier code such as `inteliquent`. Raises KeyError for a code that no adapter has."""
    return CARRIERS[code]
