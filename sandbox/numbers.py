"""The numbers that a carrier's account starts with."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.store import Number


def start_numbers(prefix: str) -> Iterator[Number]:
    """`prefix` with the last digits 760 to 799, without 789.

    770 to 774 have SMS only, 775 no messaging, 776 is pending, 777 is A2P without a campaign; the others have SMS and
    MMS.
    """
    for last in range(760, 800):
        if last != 789:
            yield _start_number(f"{prefix}{last}", last)


def _start_number(tn: str, last: int) -> Number:
    if 770 <= last <= 774:
        return Number(tn, messaging="SMS")
    if last == 775:
        return Number(tn, messaging="")
    if last == 776:
        return Number(tn, status="pending")
    if last == 777:
        return Number(tn, message_class="A2PLC")
    return Number(tn)
