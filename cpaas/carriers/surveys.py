"""What some carriers can tell about all numbers of an account at once; an adapter may have any of these or none.

They spare the nightly comparison (R44) a call for each number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from cpaas.carriers.base import CarrierAccount, CarrierNumber, Operation


@runtime_checkable
class ListsNumbers(Protocol):
    """A carrier that lists what is on an account."""

    def list_numbers(self, account: CarrierAccount) -> Operation[list[CarrierNumber]]:
        """Every number of the account. Raises Refused, NotTaken."""
        ...


@runtime_checkable
class KnowsCampaigns(Protocol):
    """A carrier that knows the 10DLC campaigns of numbers."""

    def list_campaigns(self, account: CarrierAccount) -> Operation[Mapping[str, str]]:
        """The campaign of each number (E.164) that has one. Raises Refused, NotTaken."""
        ...
