"""What hosts read from and write to the rows staff see on *Manage Services*."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence

from django.db import transaction

from portal import clock
from portal.models import Service, SystemProvider
from portal.residents.resident import Resident


def services_of(residents: Sequence[type[Resident]]) -> list[Service]:
    """The row of every resident, per system provider where there is one each; missing rows are made."""
    names = [resident.name for resident in residents]
    rows = list(Service.objects.filter(name__in=names))
    known = {(row.name, row.system_provider_id) for row in rows}
    missing = [
        Service(name=resident.name, system_provider_id=provider_id)
        for resident in residents
        for provider_id in _tenants_of(resident)
        if (resident.name, provider_id) not in known
    ]
    if not missing:
        return rows
    Service.objects.bulk_create(missing, ignore_conflicts=True)
    return list(Service.objects.filter(name__in=names))


def _tenants_of(resident: type[Resident]) -> list[uuid.UUID | None]:
    return list(SystemProvider.objects.values_list("pk", flat=True)) if resident.per_tenant else [None]


def report(service_id: uuid.UUID, *, actual: str, detail: str, holder: str, grown: Mapping[str, int]) -> None:
    """Write what a resident does now and add what its counters grew by.

    With several workers running it at once the row tells of the one that reported last; counters are sums of all.
    """
    with transaction.atomic():
        row = Service.objects.select_for_update().filter(pk=service_id).first()
        if row is None:
            return  # its system provider is gone
        now = clock.now()
        if row.actual != actual:
            row.since = now
        row.actual, row.detail, row.holder, row.seen_at = actual, detail[:300], holder, now
        row.counters = dict(Counter(row.counters) + Counter(grown))
        row.save(update_fields=["actual", "detail", "holder", "seen_at", "since", "counters"])
