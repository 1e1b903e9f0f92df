"""Which levels a text belongs to, for texts that an older release stored and still stores while it is replaced.

New code writes the ids of the levels with the text. A sweep places the others; a partial index finds them, which is
empty otherwise.
"""

from __future__ import annotations

from django.db.models import OuterRef, Subquery

from cpaas.models import CpaasNumber, Message

BATCH = 5_000


def place_messages(batch: int = BATCH) -> int:
    """Give texts without levels those of their number, a batch at a time; returns how many. Safe to run in parallel."""
    placed = 0
    while keys := list(
        Message.objects.filter(system_provider_id=None).order_by("id").values_list("pk", flat=True)[:batch]
    ):
        number = CpaasNumber.objects.filter(pk=OuterRef("number_id"))
        names = ("system_provider_id", "reseller_id", "group_id")
        levels = {name: Subquery(number.values(name)) for name in names}
        placed += Message.objects.filter(pk__in=keys).update(**levels)
    return placed
