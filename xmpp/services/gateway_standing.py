"""How the SMS gateway of a system provider stands, as far as anybody can know."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from portal.models import Lease
from portal.residents.resident import lease_name
from xmpp.models import SmsGateway
from xmpp.services.gateway_outbox import GATEWAY
from xmpp.states import GatewayStatus

NOBODY = "No worker runs the SMS gateway."


@dataclass(frozen=True)
class GatewayStanding:
    """The status ("" at first), and why it is so in words."""

    status: str
    detail: str


def standings_of(gateways: Collection[SmsGateway]) -> dict[uuid.UUID, GatewayStanding]:
    """What the worker of each said last, unless it said "online" and has been gone for longer than a lease lasts: one
    that is killed does not say that it has ended."""
    online = {lease_name(GATEWAY, row.pk) for row in gateways if row.status == GatewayStatus.ONLINE}
    since = Now() - timedelta(seconds=settings.LEASE_TTL_S)
    leases = Lease.objects.filter(name__in=online, deadline__gte=since)
    deserted = online - set(leases.values_list("name", flat=True)) if online else set()
    return {row.pk: _standing(row, lease_name(GATEWAY, row.pk) in deserted) for row in gateways}


def standing_of_gateway(gateway: SmsGateway) -> GatewayStanding:
    """The same of one."""
    return standings_of([gateway])[gateway.pk]


def _standing(row: SmsGateway, is_deserted: bool) -> GatewayStanding:
    if is_deserted:
        return GatewayStanding(GatewayStatus.UNREACHABLE, NOBODY)
    return GatewayStanding(row.status, row.status_detail)
